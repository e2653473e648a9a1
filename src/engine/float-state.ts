import { type I32, type I64, i32, i64, select } from '../wasm/index.ts';
import type { HartFields } from './emit.ts';
import { offset64 } from './state.ts';

/** FS (bits 13 and 14 of mstatus) as it stands in the second byte of mstatus: 0 is Off, all of it Dirty. */
const FS_BYTE_OFFSET = offset64('mstatus') + 1;
export const FS_MASK = 0x60;
/**
 * The upper half of a register that holds a single-precision number; what is in a register without it reads as the canonical NaN
 * (unprivileged specification, 21.2).
 */
const NAN_BOX = 0xffffffffn << 32n;
const CANONICAL_NAN = 0x7fc00000;

/** The FS field, in the bits of FS_MASK. */
export const readFs = (h: HartFields): I32 => i32.and(i32.load8_u(h.hart, FS_BYTE_OFFSET), i32.const(FS_MASK));

/** Makes FS Dirty. */
export function setDirty(h: HartFields): void {
  const byte = i32.load8_u(h.hart, FS_BYTE_OFFSET);
  h.code.store(1, h.hart, i32.or(byte, i32.const(FS_MASK)), FS_BYTE_OFFSET);
}

/** The single-precision number in a register; `bits` is used twice. */
export const unbox = (bits: I64): I32 =>
  select(i64.ge_u(bits, i64.const(NAN_BOX)), i32.wrap(bits), i32.const(CANONICAL_NAN));

/** What a register holds for a single-precision number. */
export const box = (bits: I32): I64 => i64.or(i64.extend_i32_u(bits), i64.const(NAN_BOX));
