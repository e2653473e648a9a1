import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { NO_INSTRUMENTS } from '../../src/engine/observer.ts';
import { regionKey } from '../../src/engine/translate/region.ts';
import type { ToTranslator, Translated } from '../../src/host/messages.ts';
import { TranslatorLink } from '../../src/host/translator-link.ts';
import { encode } from '../../src/isa/encode.ts';

const BLOCK = {
  offset: 0,
  code: [encode('addi', { rd: 10, rs1: 10, imm: 1 })],
  ...{ taken: -1, next: -1, likely: [], returns: -1 },
};

/** Nice values of the threads of a name in this process (proc_pid_stat(5)): its first 15 characters. */
function nicenessOf(name: string): number[] {
  const stats = readdirSync('/proc/self/task').map((task) => readFileSync(`/proc/self/task/${task}/stat`, 'latin1'));
  const their = stats.filter((stat) => stat.includes(`(${name.slice(0, 15)})`));
  return their.map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
}

test('its thread is as nice as it is to be, and no other', {
  skip: process.platform !== 'linux',
  timeout: 60_000,
}, async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const link = new TranslatorLink({ memory, instruments: NO_INSTRUMENTS, niceness: 3 }, (error) =>
    assert.fail(String(error)),
  );
  const before = getPriority();
  const port = link.attach();
  link.start();
  port.postMessage(regionKey({ blocks: [BLOCK], straddles: false }));
  await once(port, 'message');
  assert.deepEqual(nicenessOf('ballonet translator'), [Math.min(before + 3, 19)]);
  assert.equal(getPriority(), before);
  port.close();
  await link.close();
});

test('a hart that has ended before the translator starts is not in the way of others', {
  timeout: 60_000,
}, async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const link = new TranslatorLink({ memory, instruments: NO_INSTRUMENTS, niceness: 0 }, (error) =>
    assert.fail(String(error)),
  );
  const ended = link.attach();
  const other = link.attach();
  ended.close();
  // The other end is closed some turns of the event loop later.
  await setTimeout(50);
  link.start();
  const request: ToTranslator = regionKey({ blocks: [BLOCK], straddles: false });
  other.postMessage(request);
  const [{ names }] = (await once(other, 'message')) as [Translated];
  assert.deepEqual(
    names.map(([key]) => key),
    [request],
  );
  other.close();
  await link.close();
});
