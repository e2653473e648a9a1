import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DemoAccount } from '../../src/cli/demo/account.ts';
import { v8Flags } from '../v8-flags.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** Time for six guests on a slow and busy machine, milliseconds. */
const TIMEOUT_MS = 20 * 60_000;

test('six guests on half of what they are configured for compute what they should', { timeout: TIMEOUT_MS }, () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...v8Flags, MAIN, 'demo', '--machine-memory', '768M', '--rounds', '1', '--json'],
    { encoding: 'utf8', timeout: TIMEOUT_MS, maxBuffer: 2 ** 26 },
  );
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  const account = JSON.parse(stdout) as DemoAccount;
  assert.equal(account.verdict, 'right');
  assert.equal(account.guests.length, 6);
  assert.equal(account.overcommit, 2);
  for (const guest of account.guests) {
    assert.equal(guest.exit.reason, 'poweroff', guest.name);
    assert.equal(guest.right, guest.expected, guest.name);
    assert.ok(guest.expected >= 2, guest.name);
    assert.deepEqual(guest.problems, [], guest.name);
  }
  const { reclaimed, savedBySharing, swapIns } = account;
  assert.ok(reclaimed.sharing > 10_000, `pages reclaimed by sharing: ${reclaimed.sharing}`);
  assert.ok(savedBySharing > 10_000, `pages saved by sharing: ${savedBySharing}`);
  assert.ok(reclaimed.balloon > 1000, `pages reclaimed by balloons: ${reclaimed.balloon}`);
  assert.ok(reclaimed.swap > 1000, `pages reclaimed by swapping: ${reclaimed.swap}`);
  assert.ok(swapIns > 0, `swap-ins: ${swapIns}`);
});
