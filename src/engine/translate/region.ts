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

/**
 * What two regions have in common when, and only when, they are the same: a string of 16-bit numbers.
 *   0   1 if the region straddles
 * and for each block
 *   0, 1  offset, lower half first
 *   2..4  taken, next, returns; 0xffff: OUTSIDE
 *   5     number of `likely`, which come next
 *   then  number of instructions, and the bits of each, lower half first
 * A guest's thread makes one for each hot place, of some hundred numbers; in decimals it took 35 us.
 */
export function regionKey({ blocks, straddles }: Region): string {
  const units = [straddles ? 1 : 0];
  for (const { offset, code, taken, next, returns, likely } of blocks) {
    units.push(offset & 0xffff, offset >>> 16, taken & 0xffff, next & 0xffff, returns & 0xffff);
    units.push(likely.length, ...likely, code.length);
    for (const bits of code) units.push(bits & 0xffff, bits >>> 16);
  }
  return String.fromCharCode(...units);
}

/** A number by which regions differ, mostly. */
export const regionNumber = ({ blocks }: Region): number =>
  blocks.reduce((of, { code }) => code.reduce((sum, bits) => Math.imul(sum ^ bits, 0x9e37_79b1), of), 0) >>> 16;

const straddlesInKey = (key: string): boolean => key.charCodeAt(0) === 1;

/** The region that a key names. */
export function regionOfKey(key: string): Region {
  let at = 1;
  const unit = (): number => key.charCodeAt(at++);
  const word = (): number => unit() | (unit() << 16);
  const block = (): number => (unit() << 16) >> 16;
  const list = (length: number, each: () => number): number[] => Array.from({ length }, each);
  const blocks: RegionBlock[] = [];
  while (at < key.length) {
    const [offset, taken, next, returns] = [word(), block(), block(), block()];
    const likely = list(unit(), unit);
    const code = list(unit(), () => word() >>> 0);
    blocks.push({ offset, code, taken, next, likely, returns });
  }
  return { blocks, straddles: straddlesInKey(key) };
}

/** The region that a key names, for groups of accesses that lie on two pages; undefined if it is one already. */
export function straddlingRegion(key: string): Region | undefined {
  return straddlesInKey(key) ? undefined : { ...regionOfKey(key), straddles: true };
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
