import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RemoteFence } from '../../src/firmware/sbi/types.ts';
import { type Forgetful, fencePart, forgetPart, writesPart } from '../../src/machine/flush-part.ts';

/** A hart that tells what it forgets. */
class Recorder implements Forgetful {
  seen: unknown[] = [];

  forgetPages(gva: bigint, pages: number, asid: number | undefined): void {
    this.seen.push(['pages', gva, pages, asid]);
  }

  forgetSpace(asid: number): void {
    this.seen.push(['space', asid]);
  }

  forgetCode(): void {
    this.seen.push(['code']);
  }

  flush(): void {
    this.seen.push(['everything']);
  }

  forgetWrites(mfn: number): void {
    this.seen.push(['writes', mfn]);
  }
}

/** What a hart forgets by a fence. */
function forgotten(fence: RemoteFence): unknown {
  const part = fencePart(fence);
  const hart = new Recorder();
  forgetPart(hart, [part[0] | 0, part[1] | 0, part[2] | 0]);
  assert.equal(hart.seen.length, 1);
  return hart.seen[0];
}

const address = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const asids = fc.option(fc.integer({ min: 0, max: 0xffff }), { nil: undefined });

test('a fence of few pages names all that it touches, a larger one an address space or everything', () => {
  fc.assert(
    fc.property(address, fc.bigInt({ min: 1n, max: 50n * 4096n }), asids, (start, size, asid) => {
      const fence = { kind: 'sfence.vma' as const, range: { start, size } };
      const seen = forgotten(asid === undefined ? fence : { ...fence, asid: BigInt(asid) });
      const first = start / 4096n;
      const pages = Number((start + size - 1n) / 4096n - first + 1n);
      if (pages <= 32) assert.deepEqual(seen, ['pages', first * 4096n, pages, asid]);
      else assert.deepEqual(seen, asid === undefined ? ['everything'] : ['space', asid]);
    }),
  );
});

test('fences without a range, fence.i, and writes to a frame', () => {
  assert.deepEqual(forgotten({ kind: 'sfence.vma' }), ['everything']);
  assert.deepEqual(forgotten({ kind: 'sfence.vma', asid: 0xffffn }), ['space', 0xffff]);
  assert.deepEqual(forgotten({ kind: 'sfence.vma', asid: 0n }), ['space', 0]);
  assert.deepEqual(forgotten({ kind: 'fence.i' }), ['code']);
  const hart = new Recorder();
  forgetPart(hart, writesPart(0xf_ffff));
  assert.deepEqual(hart.seen, [['writes', 0xf_ffff]]);
});
