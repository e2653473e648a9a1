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
  const blocks: RegionBlock[] = [];
  while (at < key.length) {
    const [offset, taken, next, returns] = [word(), block(), block(), block()];
    const likely: number[] = [];
    for (let left = unit(); left > 0; left--) likely.push(unit());
    const code: number[] = [];
    for (let left = unit(); left > 0; left--) code.push(word() >>> 0);
    blocks.push({ offset, code, taken, next, likely, returns });
  }
  return { blocks, straddles: straddlesInKey(key) };
}

/** The region that a key names, for groups of accesses that lie on two pages; undefined if it is one already. */
export function straddlingRegion(key: string): Region | undefined {
  return straddlesInKey(key) ? undefined : { ...regionOfKey(key), straddles: true };
}

export const instructionLength = (bits: number): 2 | 4 => (isCompressed(bits) ? 2 : 4);

const PLACE_BITS = 14;
/** What was decoded lately: bits, and what they are (null: no instruction), at a place that follows from the bits. */
const DECODED_BITS = new Int32Array(1 << PLACE_BITS);
const DECODED: (Decoded | null | undefined)[] = Array.from({ length: 1 << PLACE_BITS });

/** Decodes instruction bits, remembering what was asked for lately. */
export function decodeBits(bits: number): Decoded | undefined {
  const key = bits | 0;
  const place = Math.imul(key, 0x9e37_79b1) >>> (32 - PLACE_BITS);
  let decoded = DECODED[place];
  if (decoded === undefined || DECODED_BITS[place] !== key) {
    decoded = decode(bits) ?? null;
    DECODED[place] = decoded;
    DECODED_BITS[place] = key;
  }
  return decoded ?? undefined;
}

const INSTRUCTIONS_OF = new WeakMap<Region, readonly (readonly Decoded[])[]>();

/** The instructions of a region, block by block. All that looks at a region asks for them, and they are looked up once. */
export function instructionsOf(region: Region): readonly (readonly Decoded[])[] {
  let instructions = INSTRUCTIONS_OF.get(region);
  if (instructions === undefined) {
    instructions = region.blocks.map(({ code }) => code.map((bits) => decodeBits(bits)!));
    INSTRUCTIONS_OF.set(region, instructions);
  }
  return instructions;
}

/** For a hart that has become idle: what it has decoded is a megabyte. */
export function forgetDecoded(): void {
  DECODED.fill(undefined);
}
