import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { constants, getPriority } from 'node:os';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from '../../src/index.ts';

const TIMEOUT_MS = 20_000;
/** Field of /proc/PID/task/TID/stat (proc(5)), counted behind the name. */
const NICE = 16;
/** A thread's name has 15 characters. */
const TRANSLATOR = '(ballonet transl)';

/** The priorities of the translators' threads that there are now. */
function priorities(): number[] {
  const found: number[] = [];
  for (const task of readdirSync('/proc/self/task')) {
    let stat: string;
    try {
      stat = readFileSync(`/proc/self/task/${task}/stat`, 'utf8');
    } catch {
      continue; // It has ended.
    }
    if (stat.includes(TRANSLATOR)) found.push(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[NICE]));
  }
  return found;
}

for (const translatorYields of [false, true]) {
  const name = `the translator ${translatorYields ? 'gives way' : 'is as important as guests'}`;
  test(name, { skip: process.platform !== 'linux' && 'other systems have no priorities of threads' }, async () => {
    await using host = await Host.create({ machineMemory: '64M', translatorYields });
    assert.equal(host.config.translatorYields, translatorYields);
    const own = getPriority();
    const wanted = translatorYields ? Math.max(own, constants.priority.PRIORITY_BELOW_NORMAL) : own;
    const deadline = Date.now() + TIMEOUT_MS;
    while (priorities().join() !== String(wanted)) {
      assert.ok(Date.now() < deadline, `the priorities are ${priorities().join()} and not ${wanted}`);
      await sleep(20);
    }
  });
}
