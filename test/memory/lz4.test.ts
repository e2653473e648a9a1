import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PAGE_SIZE } from '../../src/memory/layout.ts';
import { decompressPage, PageCompressor } from '../../src/memory/lz4.ts';
import { noise } from './small.ts';

const compressor = new PageCompressor();

/** Compresses with no limit but what LZ4 needs at worst, and compares what comes back; returns the number of bytes. */
function roundTrip(page: Uint8Array): number {
  compressor.page.set(page);
  const bytes = new Uint8Array(PAGE_SIZE + 64).fill(0xcc);
  const length = compressor.compress(bytes, 3, PAGE_SIZE + 32);
  assert.ok(length > 0);
  assert.deepEqual(bytes.subarray(3 + length), new Uint8Array(bytes.length - 3 - length).fill(0xcc));
  const out = new Uint8Array(PAGE_SIZE + 8).fill(0xdd);
  decompressPage(bytes, 3, out, 4);
  assert.equal(Buffer.compare(out.subarray(4, 4 + PAGE_SIZE), page), 0);
  assert.deepEqual([...out.subarray(0, 4), ...out.subarray(-4)], new Array(8).fill(0xdd));
  return length;
}

test('any page comes back, whatever repeats in it', () => {
  const piece = fc.record({
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    times: fc.integer({ min: 1, max: 300 }),
  });
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 40 }), (pieces) => {
      const page = new Uint8Array(PAGE_SIZE);
      let at = 0;
      for (let i = 0; at < PAGE_SIZE; i++) {
        const { bytes, times } = pieces[i % pieces.length]!;
        for (let n = 0; n < times && at < PAGE_SIZE; n++) {
          page.set(bytes.subarray(0, PAGE_SIZE - at), at);
          at += bytes.length;
        }
      }
      roundTrip(page);
    }),
    { numRuns: 1000 },
  );
});

test('what is known to be small is small, and a limit is kept to', () => {
  const text = new TextEncoder().encode('the quick brown fox jumps over the lazy dog. ');
  const page = new Uint8Array(PAGE_SIZE).map((_, i) => text[i % text.length]!);
  assert.ok(roundTrip(page) < 100);
  const pointers = new BigUint64Array(PAGE_SIZE / 8).map((_, i) => 0xffff_ffd6_0480_0000n + BigInt(i * 192));
  assert.ok(roundTrip(new Uint8Array(pointers.buffer)) < 0.7 * PAGE_SIZE);
  assert.ok(roundTrip(noise(1)) > PAGE_SIZE);
  compressor.page.set(noise(1));
  const small = new Uint8Array(PAGE_SIZE).fill(0xcc);
  assert.equal(compressor.compress(small, 0, 2044), 0);
  assert.ok(small.subarray(2044).every((byte) => byte === 0xcc));
});

test('literals and matches of every length around the borders of the format', () => {
  for (let literals = 0; literals < 300; literals += literals < 20 || literals > 250 ? 1 : 50) {
    for (const match of [4, 5, 18, 19, 20, 273, 274, 275, 276]) {
      const page = noise(literals * 1000 + match);
      page.copyWithin(1000 + literals, 300, 300 + match);
      page.copyWithin(1000 + literals + match, 700, 700 + match);
      roundTrip(page);
    }
  }
});

test('a page of one value is seen', () => {
  compressor.page.fill(7);
  assert.equal(compressor.uniform, true);
  assert.equal(compressor.value, 0x07070707);
  compressor.page[PAGE_SIZE - 1] = 8;
  assert.equal(compressor.uniform, false);
});
