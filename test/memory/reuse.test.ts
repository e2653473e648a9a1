import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MissCurve, ReuseStack } from '../../src/memory/reuse.ts';
import { isSampled } from '../../src/memory/usage.ts';

test('distances are those of a list that is searched', () => {
  const step = fc.record({ page: fc.nat(11), remove: fc.integer({ min: 0, max: 9 }).map((n) => n === 0) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const stack = new ReuseStack(12);
      let list: number[] = [];
      for (const { page, remove } of steps) {
        const place = list.indexOf(page);
        list = list.filter((each) => each !== page);
        if (remove) {
          stack.remove(page);
        } else {
          assert.equal(stack.use(page), place);
          list.unshift(page);
        }
        assert.equal(stack.size, list.length);
      }
    }),
  );
});

/** Pages of a trace, in looks; each look has rising page numbers, once each. */
type Trace = readonly (readonly number[])[];

/** Numbers from 0 up to 1, always the same (Park and Miller). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 0x7fff_ffff;
    return state / 0x7fff_ffff;
  };
}

const PAGES = 32_768;

/** Access patterns, 120 looks each. */
function traces(): Record<string, Trace> {
  const random = randomNumbers(7);
  const looks = (draw: (look: number) => Iterable<number>): Trace =>
    Array.from({ length: 120 }, (_, look) => [...new Set(draw(look))].sort((a, b) => a - b));
  const many = (count: number, draw: () => number) => Array.from({ length: count }, draw);
  // Hot pages lie anywhere, as those of Linux do.
  const place = (page: number) => (page * 7919) % PAGES;
  return {
    loop: looks((look) => many(2000, () => 0).map((_, i) => place((look * 2000 + i) % 20_000))),
    skewed: looks(() => many(6000, () => place(Math.floor(PAGES ** random())))),
    uniform: looks(() => many(3000, () => Math.floor(random() * 16_000))),
    phases: looks((look) => many(4000, () => place((look < 60 ? 0 : 12_000) + Math.floor(8000 * random() ** 2)))),
  };
}

function curveOf(trace: Trace, sampled: readonly number[]): number[] {
  const numbers = new Map(sampled.map((page, i) => [page, i]));
  const curve = new MissCurve(sampled.length, PAGES, 60_000);
  for (const look of trace) {
    curve.age(1000);
    for (const page of look) {
      const number = numbers.get(page);
      if (number !== undefined) curve.use(number);
    }
  }
  return curve.missRatios();
}

const all = Array.from({ length: PAGES }, (_, page) => page);
for (const [name, trace] of Object.entries(traces())) {
  test(`a sixteenth of the pages tells the miss-ratio curve: ${name}`, () => {
    const exact = curveOf(trace, all);
    const estimated = curveOf(
      trace,
      all.filter((page) => isSampled(page, 1 / 16)),
    );
    const error = exact.reduce((sum, ratio, i) => sum + Math.abs(ratio - estimated[i]!), 0) / exact.length;
    assert.ok(error < 0.02, `mean absolute error ${error}`);
    assert.ok(exact.every((ratio, i) => i === 0 || ratio <= exact[i - 1]! + 1e-12) && exact[0]! > 0.99);
  });
}

test('a curve forgets, by time', () => {
  const curve = new MissCurve(64, 64, 1000);
  for (let look = 0; look < 200; look++) {
    curve.age(100);
    for (let page = 0; page < 32; page++) curve.use(page);
  }
  // 32 pages, ten times a second.
  assert.ok(Math.abs(curve.missesPerSecond()[0]! - 320) < 20, `${curve.missesPerSecond()[0]} uses a second`);
  assert.equal(curve.missesPerSecond()[32], 0);
  assert.equal(curve.footprint, 32);
  curve.age(5000);
  assert.ok(curve.missesPerSecond()[0]! < 5);
});
