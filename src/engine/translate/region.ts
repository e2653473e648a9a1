import { type Decoded, decode, isCompressed } from '../../isa/decode.ts';

/** A place outside of the region. */
export const OUTSIDE = -1;

/** Instructions that follow each other. Control enters at the first one only. */
export interface RegionBlock {
  /** Address of the first instruction, relative to that of the region's entry, in bytes. */
  readonly offset: number;
  /** The instructions' bits. */
  readonly code: readonly number[];
  /** Block that the branch or jump at the end leads to; OUTSIDE if there is none, or it is not in the region. */
  taken: number;
  /** Block that follows if there is no jump. */
  next: number;
  /** Blocks that the indirect jump at the end may lead to: their offsets are what the target is compared with, in turn. */
  likely: readonly number[];
  /** Block behind the call at the end, which is one of the region's own entry: the function calls itself. */
  returns: number;
}

/**
 * Guest code that becomes one WebAssembly function: basic blocks, of which the first is the only entry. It names no
 * addresses, so that the same code at another place, or of another guest, is the same region.
 *
 * Invariant: every block can be reached from the first one.
 */
export interface Region {
  readonly blocks: readonly RegionBlock[];
  /**
   * True: groups of memory accesses often lie on two pages, so that each access can be made by itself. Otherwise the region is
   * left to the interpreter then, and is a third less to compile.
   */
  readonly straddles: boolean;
}

const STRADDLES = 'straddles;';

/** What two regions have in common when, and only when, they are the same. */
export const regionKey = ({ blocks, straddles }: Region): string =>
  (straddles ? STRADDLES : '') +
  blocks.map((b) => `${b.offset}:${[b.taken, b.next, b.returns, ...b.likely].join()}:${b.code.join()}`).join(';');

/** A number by which regions differ, mostly. */
export const regionNumber = ({ blocks }: Region): number =>
  blocks.reduce((of, { code }) => code.reduce((sum, bits) => Math.imul(sum ^ bits, 0x9e37_79b1), of), 0) >>> 16;

/** The region that a key names. */
export function regionOfKey(key: string): Region {
  const straddles = key.startsWith(STRADDLES);
  const numbers = (list: string): number[] => list.split(',').map(Number);
  const blocks = (straddles ? key.slice(STRADDLES.length) : key).split(';').map((block): RegionBlock => {
    const [offset, edges, code] = block.split(':') as [string, string, string];
    const [taken, next, returns, ...likely] = numbers(edges) as [number, number, number, ...number[]];
    return { offset: Number(offset), code: numbers(code), taken, next, returns, likely };
  });
  return { blocks, straddles };
}

/** The region that a key names, for groups of accesses that lie on two pages; undefined if it is one already. */
export function straddlingRegion(key: string): Region | undefined {
  return key.startsWith(STRADDLES) ? undefined : { ...regionOfKey(key), straddles: true };
}

export const instructionLength = (bits: number): 2 | 4 => (isCompressed(bits) ? 2 : 4);

/** What has been decoded, by bits as a signed number, which V8 finds sooner; null: no instruction. */
const DECODED = new Map<number, Decoded | null>();
const MOST_DECODED = 1 << 14;

/** Decodes instruction bits, remembering what was asked for lately. */
export function decodeBits(bits: number): Decoded | undefined {
  const key = bits | 0;
  let decoded = DECODED.get(key);
  if (decoded === undefined) {
    if (DECODED.size >= MOST_DECODED) DECODED.clear();
    decoded = decode(bits) ?? null;
    DECODED.set(key, decoded);
  }
  return decoded ?? undefined;
}

/** For a hart that has become idle: what it has decoded is a megabyte. */
export function forgetDecoded(): void {
  DECODED.clear();
}
