import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EscapeKeys } from '../../src/cli/terminal.ts';

/** Types pieces and tells what came of them. */
function typed(...pieces: string[]): string[] {
  const events: string[] = [];
  const note = (kind: string, bytes: Uint8Array): void => {
    const text = Buffer.from(bytes).toString('latin1');
    const last = events.at(-1);
    if (last?.startsWith(`${kind}:`)) events[events.length - 1] = last + text;
    else events.push(`${kind}:${text}`);
  };
  const keys = new EscapeKeys({
    input: (bytes) => note('guest', bytes),
    quit: () => events.push('quit'),
    openMonitor: () => events.push('monitor'),
    closeMonitor: () => events.push('back'),
    monitorInput: (bytes) => note('line', bytes),
  });
  for (const piece of pieces) keys.feed(Buffer.from(piece, 'latin1'));
  return events;
}

test('keys go to the guest as they are', () => {
  assert.deepEqual(typed('ls\r', '\x03\x1b[A'), ['guest:ls\r\x03\x1b[A']);
});

test('Ctrl-A x ends, also when the two keys come apart', () => {
  assert.deepEqual(typed('a\x01xb'), ['guest:a', 'quit', 'guest:b']);
  assert.deepEqual(typed('a\x01', 'x'), ['guest:a', 'quit']);
});

test('Ctrl-A twice is one for the guest, Ctrl-A and another key is nothing', () => {
  assert.deepEqual(typed('a\x01\x01xb'), ['guest:a\x01xb']);
  assert.deepEqual(typed('\x01', '\x01'), ['guest:\x01']);
  assert.deepEqual(typed('a\x01qb'), ['guest:ab']);
});

test('after Ctrl-A c keys go to the monitor', () => {
  assert.deepEqual(typed('a\x01cinfo', ' memory\r'), ['guest:a', 'monitor', 'line:info memory\r']);
  assert.deepEqual(typed('\x01cq\x01x'), ['monitor', 'line:q', 'quit']);
  assert.deepEqual(typed('\x01chelp\r\x01cls'), ['monitor', 'line:help\r', 'back', 'guest:ls']);
});

test('bytes without Ctrl-A all arrive, in whatever pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.integer({ min: 2, max: 255 }), { minLength: 1 })), (pieces) => {
      const texts = pieces.map((piece) => String.fromCharCode(...piece));
      const all = texts.join('');
      assert.deepEqual(typed(...texts), all === '' ? [] : [`guest:${all}`]);
    }),
  );
});
