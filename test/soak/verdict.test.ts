import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fittedRise, judge, type Sample } from './verdict.ts';

const MINUTE = 60_000;
const series = (value: (minute: number) => number): Sample[] =>
  Array.from({ length: 241 }, (_, i) => ({ ms: (i * MINUTE) / 4, values: { value: value(i / 4) } }));
const grows = (value: (minute: number) => number): boolean =>
  judge(series(value), 'value', { absolute: 8, share: 0.05 }).grows;

test('the rise of a line is that of its points', () => {
  assert.equal(fittedRise([]), 0);
  assert.equal(fittedRise([[5, 1]]), 0);
  assert.ok(
    Math.abs(
      fittedRise([
        [0, 1],
        [1, 3],
        [2, 5],
      ]) - 4,
    ) < 1e-9,
  );
});

test('what stays, what comes to a level, and what is emptied from time to time do not grow', () => {
  assert.ok(!grows(() => 100));
  assert.ok(!grows((minute) => 300 * (1 - Math.exp(-minute / 6))));
  assert.ok(!grows((minute) => 100 + 40 * ((minute % 7) / 7)));
  assert.ok(!grows((minute) => 200 - minute));
  assert.ok(!grows((minute) => (minute > 50 && minute < 51 ? 130 : 100)));
  // Garbage that is collected less and less often.
  assert.ok(!grows((minute) => 100 + (minute % 3) * (minute / 2)));
});

test('what is given up at a number that is known has a level, however little is seen of it', () => {
  const judged = (value: (minute: number) => number) =>
    judge(series(value), 'value', { absolute: 8, share: 0.05, by: 'greatest' });
  // Emptied every three minutes; one time in the third quarter, a sample is taken right after.
  const emptied = (minute: number): number => (minute === 36 ? 0 : 60 + 40 * ((minute % 3) / 3));
  assert.ok(!judged((minute) => emptied(minute) + minute / 10).grows);
  assert.ok(
    judge(
      series((minute) => emptied(minute) + minute / 10),
      'value',
      { absolute: 2, share: 0 },
    ).grows,
  );
  assert.ok(judged((minute) => emptied(minute) + 2 * minute).grows);
});

test('a slow leak grows, and so does one under what goes up and down', () => {
  assert.ok(grows((minute) => 100 + 2 * minute));
  assert.ok(grows((minute) => 100 + 2 * minute + 40 * ((minute % 7) / 7)));
});

test('a leak of less than is allowed is not told from noise', () => {
  assert.ok(!grows((minute) => 100 + minute / 8));
});
