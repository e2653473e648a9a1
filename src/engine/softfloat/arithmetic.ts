/** Addition, multiplication, division, square root and fused multiply-add (IEEE 754-2019, 5.4.1) on bit patterns. */
import type { Exact, FlagSink, FloatFormat } from './format.ts';
import {
  bitLength,
  infinity,
  invalid,
  isInfinite,
  isNan,
  isNegative,
  isSignalingNan,
  isZero,
  roundAndPack,
  unpack,
  zero,
} from './format.ts';
import { FloatFlag, RoundingMode } from './ops.ts';

/** The canonical NaN that an operation with a NaN operand gives; NV if one of them signals. */
function propagate(format: FloatFormat, sink: FlagSink, a: bigint, b: bigint): bigint {
  if (isSignalingNan(format, a) || isSignalingNan(format, b)) sink.flags |= FloatFlag.NV;
  return format.nan;
}

/**
 * Adds two exact values and rounds once. Where one is so much smaller that it can't matter but for being there, it
 * becomes a sticky bit, so that the sum of 2^1000 and 2^-1000 does not take two thousand bits.
 */
function addExact(format: FloatFormat, x: Exact, y: Exact, rm: number, sink: FlagSink): bigint {
  const xTop = x.exponent + bitLength(x.significand);
  const yTop = y.exponent + bitLength(y.significand);
  const [large, small] = xTop >= yTop ? [x, y] : [y, x];
  const smallTop = Math.min(xTop, yTop);
  const room = format.precision + 4;
  if (smallTop < large.exponent - room) {
    const shifted = large.significand << BigInt(room);
    const significand = large.negative === small.negative ? shifted + 1n : shifted - 1n;
    return roundAndPack(format, { negative: large.negative, significand, exponent: large.exponent - room }, rm, sink);
  }
  const exponent = Math.min(x.exponent, y.exponent);
  const xAligned = x.significand << BigInt(x.exponent - exponent);
  const yAligned = y.significand << BigInt(y.exponent - exponent);
  const sum = (x.negative ? -xAligned : xAligned) + (y.negative ? -yAligned : yAligned);
  if (sum === 0n) return zero(format, rm === RoundingMode.RDN);
  return roundAndPack(format, { negative: sum < 0n, significand: sum < 0n ? -sum : sum, exponent }, rm, sink);
}

/** a + b */
export function add(format: FloatFormat, a: bigint, b: bigint, rm: number, sink: FlagSink): bigint {
  if (isNan(format, a) || isNan(format, b)) return propagate(format, sink, a, b);
  if (isInfinite(format, a)) return isInfinite(format, b) && a !== b ? invalid(format, sink) : a;
  if (isInfinite(format, b)) return b;
  if (isZero(format, a)) {
    if (!isZero(format, b)) return b;
    return a === b ? a : zero(format, rm === RoundingMode.RDN);
  }
  if (isZero(format, b)) return a;
  return addExact(format, unpack(format, a), unpack(format, b), rm, sink);
}

/** a - b */
export function sub(format: FloatFormat, a: bigint, b: bigint, rm: number, sink: FlagSink): bigint {
  return add(format, a, b ^ format.signBit, rm, sink);
}

function multiplyExact(x: Exact, y: Exact): Exact {
  return {
    negative: x.negative !== y.negative,
    significand: x.significand * y.significand,
    exponent: x.exponent + y.exponent,
  };
}

/** a * b */
export function mul(format: FloatFormat, a: bigint, b: bigint, rm: number, sink: FlagSink): bigint {
  if (isNan(format, a) || isNan(format, b)) return propagate(format, sink, a, b);
  const negative = isNegative(format, a) !== isNegative(format, b);
  const hasZero = isZero(format, a) || isZero(format, b);
  if (isInfinite(format, a) || isInfinite(format, b)) {
    return hasZero ? invalid(format, sink) : infinity(format, negative);
  }
  if (hasZero) return zero(format, negative);
  return roundAndPack(format, multiplyExact(unpack(format, a), unpack(format, b)), rm, sink);
}

/** a / b; DZ for a finite non-zero a over zero. */
export function div(format: FloatFormat, a: bigint, b: bigint, rm: number, sink: FlagSink): bigint {
  if (isNan(format, a) || isNan(format, b)) return propagate(format, sink, a, b);
  const negative = isNegative(format, a) !== isNegative(format, b);
  if (isInfinite(format, a)) return isInfinite(format, b) ? invalid(format, sink) : infinity(format, negative);
  if (isInfinite(format, b)) return zero(format, negative);
  if (isZero(format, b)) {
    if (isZero(format, a)) return invalid(format, sink);
    sink.flags |= FloatFlag.DZ;
    return infinity(format, negative);
  }
  if (isZero(format, a)) return zero(format, negative);
  const x = unpack(format, a);
  const y = unpack(format, b);
  // The dividend is made long enough for precision + 3 quotient bits even if it was 1 and the divisor all ones.
  const room = 2 * format.precision + 3;
  const dividend = x.significand << BigInt(room);
  const quotient = dividend / y.significand;
  const sticky = quotient * y.significand === dividend ? 0n : 1n;
  // One place more for the sticky bit, which must not be added to an exact quotient bit.
  const significand = (quotient << 1n) | sticky;
  return roundAndPack(format, { negative, significand, exponent: x.exponent - y.exponent - room - 1 }, rm, sink);
}

/** Largest integer whose square is at most n. */
function integerSqrt(n: bigint): bigint {
  // n has at most 2 * (53 + 4) + 1 bits here: a double's guess and one Newton step are within a few units.
  let root = BigInt(Math.floor(Math.sqrt(Number(n))));
  root = (root + n / root) >> 1n;
  while (root * root > n) root -= 1n;
  while ((root + 1n) * (root + 1n) <= n) root += 1n;
  return root;
}

/** Square root of a; invalid below -0. */
export function sqrt(format: FloatFormat, a: bigint, rm: number, sink: FlagSink): bigint {
  if (isNan(format, a)) return propagate(format, sink, a, a);
  if (isZero(format, a)) return a;
  if (isNegative(format, a)) return invalid(format, sink);
  if (isInfinite(format, a)) return a;
  const x = unpack(format, a);
  let room = 2 * (format.precision + 4) - bitLength(x.significand);
  if ((x.exponent - room) % 2 !== 0) room += 1;
  const radicand = x.significand << BigInt(room);
  const root = integerSqrt(radicand);
  const sticky = root * root === radicand ? 0n : 1n;
  const exponent = (x.exponent - room) / 2 - 1;
  return roundAndPack(format, { negative: false, significand: (root << 1n) | sticky, exponent }, rm, sink);
}

/**
 * a * b + c with one rounding. Infinity times zero is invalid even if c is a quiet NaN.
 * The other three forms of the instruction are this one with the signs of a and c flipped by the caller.
 */
export function fusedMultiplyAdd(
  format: FloatFormat,
  a: bigint,
  b: bigint,
  c: bigint,
  rm: number,
  sink: FlagSink,
): bigint {
  const hasZero = isZero(format, a) || isZero(format, b);
  const hasInfinity = isInfinite(format, a) || isInfinite(format, b);
  if (hasZero && hasInfinity) return invalid(format, sink);
  if (isNan(format, a) || isNan(format, b) || isNan(format, c)) {
    if (isSignalingNan(format, c)) sink.flags |= FloatFlag.NV;
    return propagate(format, sink, a, b);
  }
  const negative = isNegative(format, a) !== isNegative(format, b);
  if (hasInfinity) {
    const product = infinity(format, negative);
    return isInfinite(format, c) && c !== product ? invalid(format, sink) : product;
  }
  if (isInfinite(format, c)) return c;
  if (hasZero) {
    if (!isZero(format, c)) return c;
    return isNegative(format, c) === negative ? c : zero(format, rm === RoundingMode.RDN);
  }
  const product = multiplyExact(unpack(format, a), unpack(format, b));
  if (isZero(format, c)) return roundAndPack(format, product, rm, sink);
  return addExact(format, product, unpack(format, c), rm, sink);
}
