/** What the engine's tests say holds when hot code is translated as soon as it can be. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TIER_VARIABLE } from './tiers.ts';

/** Tests that say the tier themselves, or need none. */
const WITHOUT_TIER = /^(tiers|counters|observer|hammer|float-inline|float-native)\.test\.ts$/;

test('the tests of the engine, translated', () => {
  const files = globSync('*.test.ts', { cwd: import.meta.dirname }).filter((file) => !WITHOUT_TIER.test(file));
  assert.ok(files.length > 10);
  // With the context of this test's runner the other one would speak its language.
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--test', '--test-concurrency=2', ...files.map((file) => join(import.meta.dirname, file))],
    { encoding: 'utf8', env: { ...environment, [TIER_VARIABLE]: 'translator' }, maxBuffer: 2 ** 26 },
  );
  assert.equal(status, 0, stdout);
});
