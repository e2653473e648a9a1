import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { exitOffset, exitStatus, exitUnexecuted, exitWord } from '../../../src/engine/translate/status.ts';
import { i32, i64 } from '../../../src/wasm/index.ts';
import { build } from '../../wasm/build.ts';

test('an exit word has its parts', () => {
  const { f, memory } = build(['i64'], 'i32', (code) => {
    const word = code.parameter(0, 'i64').get;
    code.store(4, i32.const(0), exitStatus(word));
    code.store(4, i32.const(4), exitUnexecuted(word));
    code.store(8, i32.const(8), exitOffset(word));
    code.return(i32.const(0));
  });
  const offsets = fc.oneof(fc.integer(), fc.integer({ min: -3000, max: 3000 }));
  fc.assert(
    fc.property(fc.nat(7), fc.nat(511), offsets, (status, unexecuted, offset) => {
      f(BigInt(exitWord(status, unexecuted, offset)));
      const parts = [memory.getInt32(0, true), memory.getInt32(4, true), memory.getBigInt64(8, true)];
      assert.deepEqual(parts, [status, unexecuted, BigInt(offset)]);
    }),
  );
  assert.ok(i64.const(exitWord(2, 220, -500_000)).constant !== undefined, 'short for code that is near');
  assert.throws(() => exitWord(0, 512, 0), /too many for a block/);
});
