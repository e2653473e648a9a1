/**
 * The two IEEE 754 interchange formats, taking bit patterns apart, and the one place where results are rounded.
 *
 * Everything here works on bit patterns held in non-negative BigInts. A finite non-zero value is carried between
 * operations as an exact `sign, significand * 2^exponent`, however many bits the significand needs, so that only
 * `roundAndPack` ever loses anything.
 */
import { FloatFlag, RoundingMode } from './ops.ts';

/** An IEEE 754 binary interchange format. */
export interface FloatFormat {
  /** width of the pattern in bits */
  readonly width: number;
  /** significand bits with the hidden one: 24 or 53 */
  readonly precision: number;
  /** exponent of the least significant bit of a subnormal: value = significand * 2^quantum */
  readonly quantum: number;
  /** exponent of the smallest normal number */
  readonly minExponent: number;
  /** stored significand bits, as a shift count */
  readonly fractionBits: bigint;
  readonly fractionMask: bigint;
  /** exponent field of infinities and NaNs, unshifted */
  readonly exponentMask: number;
  readonly signBit: bigint;
  /** pattern of plus infinity; also the first pattern above the finite ones */
  readonly infinity: bigint;
  /** the canonical quiet NaN */
  readonly nan: bigint;
  /** the fraction bit that makes a NaN quiet */
  readonly quietBit: bigint;
}

function makeFormat(width: number, precision: number): FloatFormat {
  const fractionBits = BigInt(precision - 1);
  const exponentMask = 2 ** (width - precision) - 1;
  const bias = (exponentMask - 1) / 2;
  const infinity = BigInt(exponentMask) << fractionBits;
  const quietBit = 1n << (fractionBits - 1n);
  return {
    width,
    precision,
    quantum: 1 - bias - (precision - 1),
    minExponent: 1 - bias,
    fractionBits,
    fractionMask: (1n << fractionBits) - 1n,
    exponentMask,
    signBit: 1n << BigInt(width - 1),
    infinity,
    nan: infinity | quietBit,
    quietBit,
  };
}

/** binary32, the S format */
export const BINARY32: FloatFormat = makeFormat(32, 24);
/** binary64, the D format */
export const BINARY64: FloatFormat = makeFormat(64, 53);

/** Where operations put the flags they raise; bits as in `fflags`. */
export interface FlagSink {
  flags: number;
}

/** An exact finite value other than zero: (-1)^negative * significand * 2^exponent, significand > 0. */
export interface Exact {
  negative: boolean;
  significand: bigint;
  exponent: number;
}

export function isNegative(format: FloatFormat, bits: bigint): boolean {
  return (bits & format.signBit) !== 0n;
}

/** The pattern with its sign bit cleared. Patterns of non-NaN magnitudes order like the values. */
export function magnitude(format: FloatFormat, bits: bigint): bigint {
  return bits & (format.signBit - 1n);
}

export function isNan(format: FloatFormat, bits: bigint): boolean {
  return magnitude(format, bits) > format.infinity;
}

export function isSignalingNan(format: FloatFormat, bits: bigint): boolean {
  return isNan(format, bits) && (bits & format.quietBit) === 0n;
}

export function isInfinite(format: FloatFormat, bits: bigint): boolean {
  return magnitude(format, bits) === format.infinity;
}

export function isZero(format: FloatFormat, bits: bigint): boolean {
  return magnitude(format, bits) === 0n;
}

export function zero(format: FloatFormat, negative: boolean): bigint {
  return negative ? format.signBit : 0n;
}

export function infinity(format: FloatFormat, negative: boolean): bigint {
  return negative ? format.signBit | format.infinity : format.infinity;
}

/** The canonical NaN as the result of an invalid operation. */
export function invalid(format: FloatFormat, sink: FlagSink): bigint {
  sink.flags |= FloatFlag.NV;
  return format.nan;
}

/** Takes a finite pattern other than zero apart. */
export function unpack(format: FloatFormat, bits: bigint): Exact {
  const fraction = bits & format.fractionMask;
  const field = Number(bits >> format.fractionBits) & format.exponentMask;
  const negative = isNegative(format, bits);
  if (field === 0) return { negative, significand: fraction, exponent: format.quantum };
  return { negative, significand: fraction | (format.fractionMask + 1n), exponent: format.quantum + field - 1 };
}

/** Number of bits of a non-negative integer; 0 for 0. */
export function bitLength(value: bigint): number {
  let length = 0;
  let rest = value;
  while (rest > 0xffff_ffffn) {
    rest >>= 32n;
    length += 32;
  }
  return length + 32 - Math.clz32(Number(rest));
}

/**
 * Drops the low `shift` bits (> 0) of a magnitude in the given rounding mode.
 * The lowest bit may stand for "something non-zero from here on down" as long as shift is at least 2.
 */
export function roundShift(significand: bigint, shift: number, negative: boolean, rm: number): bigint {
  const count = BigInt(shift);
  const kept = significand >> count;
  const rest = significand - (kept << count);
  if (rest === 0n) return kept;
  switch (rm) {
    case RoundingMode.RTZ:
      return kept;
    case RoundingMode.RDN:
      return negative ? kept + 1n : kept;
    case RoundingMode.RUP:
      return negative ? kept : kept + 1n;
    default: {
      const half = 1n << (count - 1n);
      if (rest < half) return kept;
      if (rest > half || rm === RoundingMode.RMM) return kept + 1n;
      return kept + (kept & 1n);
    }
  }
}

/**
 * Rounds an exact value to the format and packs it, raising NX, OF and UF.
 *
 * Underflow is detected after rounding, as RISC-V requires: a result is tiny when, rounded as if the exponent had no
 * lower bound, it is still below the smallest normal number.
 *
 * The significand's lowest bit may be sticky (see `roundShift`) if it has at least precision + 3 bits.
 */
export function roundAndPack(format: FloatFormat, value: Exact, rm: number, sink: FlagSink): bigint {
  const { negative, significand, exponent } = value;
  const { precision } = format;
  const sign = zero(format, negative);
  const length = bitLength(significand);
  const normalQuantum = exponent + length - precision;
  const quantum = Math.max(normalQuantum, format.quantum);
  const shift = quantum - exponent;

  let rounded: bigint;
  let inexact = false;
  if (shift <= 0) {
    rounded = significand << BigInt(-shift);
  } else {
    rounded = roundShift(significand, shift, negative, rm);
    inexact = rounded << BigInt(shift) !== significand;
  }
  // The hidden bit of `rounded` adds one to the exponent field; a carry out of the significand adds one more.
  const bits = (BigInt(quantum - format.quantum) << format.fractionBits) + rounded;
  if (bits >= format.infinity) {
    sink.flags |= FloatFlag.OF | FloatFlag.NX;
    const away =
      rm === RoundingMode.RNE ||
      rm === RoundingMode.RMM ||
      (rm === RoundingMode.RDN && negative) ||
      (rm === RoundingMode.RUP && !negative);
    return sign | (away ? format.infinity : format.infinity - 1n);
  }
  if (inexact) {
    sink.flags |= FloatFlag.NX;
    if (normalQuantum < format.quantum) {
      const unboundedShift = normalQuantum - exponent;
      const carries =
        normalQuantum === format.quantum - 1 &&
        unboundedShift > 0 &&
        roundShift(significand, unboundedShift, negative, rm) === 1n << BigInt(precision);
      if (!carries) sink.flags |= FloatFlag.UF;
    }
  }
  return sign | bits;
}
