import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteSink } from '../../src/wasm/sink.ts';

/** Reads LEB128 as the core specification defines it (5.2.2). */
function decoded(bytes: Uint8Array, signed: boolean): bigint {
  let value = 0n;
  for (const [index, byte] of bytes.entries()) value |= BigInt(byte & 0x7f) << BigInt(7 * index);
  const last = bytes.at(-1)!;
  assert.ok(last < 0x80);
  const bits = BigInt(7 * bytes.length);
  return signed && (last & 0x40) !== 0 ? value - (1n << bits) : value;
}

const written = (write: (sink: ByteSink) => void): Uint8Array => {
  const sink = new ByteSink();
  write(sink);
  assert.equal(sink.length, sink.finish().length);
  return sink.finish();
};

test('integers come back from LEB128, in as few bytes as they need', () => {
  const edges = [0, 1, 63, 64, 127, 128, 8191, 8192, 16383, 16384];
  const i32 = fc.oneof(fc.integer(), fc.constantFrom(...edges.flatMap((n) => [n, -n])));
  const i64 = fc.oneof(fc.bigInt(-(1n << 63n), (1n << 63n) - 1n), i32.map(BigInt));
  const shortest = (value: bigint, signed: boolean): number => {
    for (let bytes = 1; ; bytes++) {
      const bits = BigInt(7 * bytes);
      if (signed ? value >= -(1n << (bits - 1n)) && value < 1n << (bits - 1n) : value < 1n << bits) return bytes;
    }
  };
  const check = (value: bigint, bytes: Uint8Array, signed: boolean): void => {
    assert.equal(decoded(bytes, signed), value);
    assert.equal(bytes.length, shortest(value, signed));
  };
  fc.assert(
    fc.property(i32, (value) =>
      check(
        BigInt(value),
        written((s) => s.signed32(value)),
        true,
      ),
    ),
  );
  fc.assert(
    fc.property(i32, (value) =>
      check(
        BigInt(value >>> 0),
        written((s) => s.unsigned(value >>> 0)),
        false,
      ),
    ),
  );
  fc.assert(
    fc.property(i64, (value) =>
      check(
        value,
        written((s) => s.signed64(Number(value >> 32n), Number(BigInt.asIntN(32, value)))),
        true,
      ),
    ),
  );
});

test('it grows, and finish gives a copy', () => {
  const sink = new ByteSink();
  for (let i = 0; i < 3000; i++) sink.byte(i & 0xff);
  sink.append(new Uint8Array(5000).fill(7));
  sink.name('é');
  const bytes = sink.finish();
  assert.equal(bytes.length, 8003);
  assert.deepEqual([bytes[1], bytes[2999], bytes[7999]], [1, 2999 & 0xff, 7]);
  assert.deepEqual([...bytes.subarray(8000)], [2, 0xc3, 0xa9]);
  sink.byte(1);
  assert.equal(bytes.length, 8003);
});

test('a sink that is given back is empty when it is taken again, however long it was', () => {
  for (const bytes of [10, 1 << 20]) {
    const sink = ByteSink.take();
    sink.append(new Uint8Array(bytes).fill(7));
    assert.deepEqual([sink.length, sink.written.length, sink.written[0]], [bytes, bytes, 7]);
    ByteSink.give(sink);
    const next = ByteSink.take();
    assert.deepEqual([next.length, next.finish().length], [0, 0]);
  }
  assert.notEqual(ByteSink.take(), ByteSink.take());
});
