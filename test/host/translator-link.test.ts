import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { NO_INSTRUMENTS } from '../../src/engine/observer.ts';
import { regionKey } from '../../src/engine/translate/region.ts';
import type { ToTranslator, Translated } from '../../src/host/messages.ts';
import { TranslatorLink } from '../../src/host/translator-link.ts';
import { encode } from '../../src/isa/encode.ts';

test('a hart that has ended before the translator starts is not in the way of others', {
  timeout: 60_000,
}, async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const link = new TranslatorLink(memory, NO_INSTRUMENTS, (error) => assert.fail(String(error)));
  const ended = link.attach();
  const other = link.attach();
  ended.close();
  // The other end is closed some turns of the event loop later.
  await setTimeout(50);
  link.start();
  const code = [encode('addi', { rd: 10, rs1: 10, imm: 1 })];
  const block = { offset: 0, code, taken: -1, next: -1, likely: [], returns: -1 };
  const request: ToTranslator = regionKey({ blocks: [block], straddles: false });
  other.postMessage(request);
  const [{ names }] = (await once(other, 'message')) as [Translated];
  assert.deepEqual(
    names.map(([key]) => key),
    [request],
  );
  other.close();
  await link.close();
});
