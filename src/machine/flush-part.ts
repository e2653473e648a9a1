import type { Hart } from '../engine/hart.ts';
import type { RemoteFence } from '../firmware/sbi/types.ts';
import type { FlushPart } from '../memory/shootdown.ts';

/**
 * Kinds of parts, in the low bits of the first word; above them number of pages, whether there is an ASID, the ASID. 0 is
 * the memory manager's.
 */
const [PAGES, SPACE, CODE, WRITES, EVERYTHING] = [1, 2, 3, 4, 5];
const PAGES_SHIFT = 4;
/** More pages are not forgotten one by one. */
const MOST_PAGES = 32;
const HAS_ASID = 1 << 15;
const ASID_SHIFT = 16;

const PAGE_BITS = 12n;

/** A hart that decodes code of a frame wants to hear of stores to it. */
export const writesPart = (mfn: number): FlushPart => [WRITES, mfn, 0];

/** What a remote fence takes away. */
export function fencePart({ kind, range, asid }: RemoteFence): FlushPart {
  if (kind === 'fence.i') return [CODE, 0, 0];
  const space = asid === undefined ? 0 : HAS_ASID | (Number(BigInt.asUintN(16, asid)) << ASID_SHIFT);
  if (range !== undefined) {
    const first = range.start >> PAGE_BITS;
    const pages = ((range.start + range.size + 0xfffn) >> PAGE_BITS) - first;
    if (pages <= MOST_PAGES) {
      const low = Number(BigInt.asIntN(32, first));
      const high = Number(BigInt.asIntN(32, first >> 32n));
      return [PAGES | (Number(pages) << PAGES_SHIFT) | space, low, high];
    }
  }
  return asid === undefined ? [EVERYTHING, 0, 0] : [SPACE | space, 0, 0];
}

/** What of a hart can forget parts. */
export type Forgetful = Pick<Hart, 'forgetPages' | 'forgetSpace' | 'forgetCode' | 'forgetWrites' | 'flush'>;

/** Has a hart forget a part, on its own thread. */
export function forgetPart(hart: Forgetful, [word, low, high]: FlushPart): void {
  const asid = (word & HAS_ASID) === 0 ? undefined : word >>> ASID_SHIFT;
  switch (word & ((1 << PAGES_SHIFT) - 1)) {
    case PAGES: {
      const first = (BigInt(high) << 32n) | BigInt(low >>> 0);
      hart.forgetPages(first << PAGE_BITS, (word >>> PAGES_SHIFT) & (2 * MOST_PAGES - 1), asid);
      break;
    }
    case SPACE:
      hart.forgetSpace(asid!);
      break;
    case CODE:
      hart.forgetCode();
      break;
    case WRITES:
      hart.forgetWrites(low);
      break;
    default:
      hart.flush();
  }
}
