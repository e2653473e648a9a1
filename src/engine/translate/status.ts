import { type I32, type I64, i32, i64 } from '../../wasm/index.ts';

/** What a translated region returns: what the interpreter does next. pc and the registers are in memory then. */
export const REGION_STATUS = {
  /** Goes on at pc. */
  continue: 0,
  /** Goes on at pc; the address space, privilege or enabled interrupts have changed. */
  fetch: 1,
  /** Executes the instruction at pc itself: it is not for a region, or not now. */
  interpret: 2,
  /** To a region that waits, never to the interpreter: the address on top of the return stack has been jumped to. */
  returned: 3,
} as const;

/**
 * How and where a region is left by the way that is seldom taken, in one number:
 *   0..2   status
 *   3..11  instructions of the block that were counted and not executed
 *   12..   offset of pc from the entry in bytes, signed
 * Most offsets are so small that all of it has 32 bits: a shorter constant, of which a region has one for each access.
 */
export function exitWord(status: number, unexecuted: number, offset: number): number {
  if (unexecuted > EXIT_UNEXECUTED) throw new Error(`${unexecuted} instructions are too many for a block of a region`);
  return offset * 2 ** EXIT_OFFSET_SHIFT + ((unexecuted << EXIT_UNEXECUTED_SHIFT) | status);
}

const EXIT_UNEXECUTED_SHIFT = 3;
const EXIT_OFFSET_SHIFT = 12;
const EXIT_STATUS = 0x7;
const EXIT_UNEXECUTED = 0x1ff;

/** The parts of an `exitWord`. */
export const exitStatus = (word: I64): I32 => i32.and(i32.wrap(word), i32.const(EXIT_STATUS));
export const exitUnexecuted = (word: I64): I32 =>
  i32.and(i32.shr_u(i32.wrap(word), i32.const(EXIT_UNEXECUTED_SHIFT)), i32.const(EXIT_UNEXECUTED));
export const exitOffset = (word: I64): I64 => i64.shr_s(word, i64.const(EXIT_OFFSET_SHIFT));
