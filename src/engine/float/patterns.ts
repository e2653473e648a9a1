import type { FloatFormat } from '../../isa/context.ts';
import { type F64, type FunctionBuilder, type I32, type I64, i32, i64 } from '../../wasm/index.ts';

/** Tests on the bit patterns of both formats; a single stands in the low half of an i64, the high half being 0. */

interface Layout {
  /** Moves the sign bit out at the top. */
  readonly shift: number;
  /** What follows is moved alike. The smallest normal number, infinity, and the smallest quiet NaN: */
  readonly normal: bigint;
  readonly infinity: bigint;
  readonly quiet: bigint;
}

const LAYOUT: Record<FloatFormat, Layout> = {
  S: { shift: 33, normal: 1n << 56n, infinity: 0xffn << 56n, quiet: 0x1ffn << 55n },
  D: { shift: 1, normal: 1n << 53n, infinity: 0x7ffn << 53n, quiet: 0xfffn << 52n },
};

export const CANONICAL_NAN: Record<FloatFormat, bigint> = { S: 0x7fc00000n, D: 0x7ff8n << 48n };
export const SIGN: Record<FloatFormat, bigint> = { S: 1n << 31n, D: 1n << 63n };

/** Bits below the exponent of a double, and the bit that its pattern leaves out. */
export const FRACTION_BITS = 52;
const HIDDEN_BIT = 1n << 52n;

/** The pattern without its sign, at the top of an i64. As unsigned numbers these order like the magnitudes. */
const magnitude = (format: FloatFormat, bits: I64): I64 => i64.shl(bits, i64.const(LAYOUT[format].shift));

export const isFiniteNumber = (format: FloatFormat, bits: I64): I32 =>
  i64.lt_u(magnitude(format, bits), i64.const(LAYOUT[format].infinity));

export const isInfinite = (format: FloatFormat, bits: I64): I32 =>
  i64.eq(magnitude(format, bits), i64.const(LAYOUT[format].infinity));

export const isNan = (format: FloatFormat, bits: I64): I32 =>
  i64.gt_u(magnitude(format, bits), i64.const(LAYOUT[format].infinity));

export const isZero = (format: FloatFormat, bits: I64): I32 => i64.eqz(magnitude(format, bits));

export const isNormalOrAbove = (format: FloatFormat, bits: I64): I32 =>
  i64.ge_u(magnitude(format, bits), i64.const(LAYOUT[format].normal));

export const isQuietNan = (format: FloatFormat, bits: I64): I32 =>
  i64.ge_u(magnitude(format, bits), i64.const(LAYOUT[format].quiet));

export function isSignalingNan(format: FloatFormat, bits: I64): I32 {
  const { infinity, quiet } = LAYOUT[format];
  const above = i64.sub(magnitude(format, bits), i64.const(infinity + 1n));
  return i64.lt_u(above, i64.const(quiet - infinity - 1n));
}

/** Twice the smallest normal number: what is at least that big was above underflow before it was rounded, too. */
const wellAboveUnderflow = (format: FloatFormat): bigint => 2n * LAYOUT[format].normal;

/** Finite, and so far above the subnormal numbers that the result can't have underflowed. */
export function isOrdinary(format: FloatFormat, bits: I64): I32 {
  const least = wellAboveUnderflow(format);
  return i64.lt_u(i64.sub(magnitude(format, bits), i64.const(least)), i64.const(LAYOUT[format].infinity - least));
}

/**
 * The limit of `isBelow` and `isOrdinaryBelow` when it is not 0. It serves both formats and both tests, so that it can be
 * kept in one local; for that, numbers from 2^1001 (singles: 2^126) on are not below it.
 */
export const LIMIT = 0xfdn << 56n;

/** Finite and not among the largest, if the limit is `LIMIT`; false if it is 0. */
export const isBelow = (format: FloatFormat, bits: I64, limit: I64): I32 => i64.lt_u(magnitude(format, bits), limit);

/** As `isBelow`, and the result can't have underflowed. */
export const isOrdinaryBelow = (format: FloatFormat, bits: I64, limit: I64): I32 =>
  i64.lt_u(i64.sub(magnitude(format, bits), i64.const(wellAboveUnderflow(format))), limit);

/** The exponent field of a double: 0 for zero and subnormal numbers, 2047 for infinities and NaNs. */
export const exponentField = (bits: I64): I64 => i64.and(i64.shr_u(bits, i64.const(FRACTION_BITS)), i64.const(0x7ff));

/** The significand of a normal double, 2^52 to 2^53 - 1. */
export const significand = (bits: I64): I64 => i64.or(i64.and(bits, i64.const(HIDDEN_BIT - 1n)), i64.const(HIDDEN_BIT));

/** A local with the bits of a double. */
export const bitsOf = (code: FunctionBuilder, value: F64): I64 => code.local('i64', i64.reinterpret(value)).get;

export const any = (...conditions: I32[]): I32 => conditions.reduce((all, next) => i32.or(all, next));
export const all = (...conditions: I32[]): I32 => conditions.reduce((every, next) => i32.and(every, next));
