import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALLOWANCES, soak } from './soak.ts';

/** Milliseconds. Whether a guest's process stays level takes an hour: `npm run test:soak`. */
const DURATION_MS = 20_000;

test('a short soak: the work has the right results, and its figures are taken', async () => {
  const { works, translated, samples } = await soak({ ms: DURATION_MS, sampleMs: 1000 });
  assert.ok(works >= 3, `${works} pieces of work`);
  assert.ok(translated > 0.3, `${translated.toFixed(2)} of the instructions were translated`);
  assert.ok(samples.length >= 5);
  const last = samples.at(-1)!;
  assert.ok(last.ms > DURATION_MS / 2);
  assert.deepEqual(Object.keys(last.values), Object.keys(ALLOWANCES));
  for (const [name, value] of Object.entries(last.values)) assert.ok(value > 0, name);
});
