/** Conversions between the formats and between floats and integers, with RISC-V's results for what does not fit. */
import type { FlagSink, FloatFormat } from './format.ts';
import {
  infinity,
  isInfinite,
  isNan,
  isNegative,
  isSignalingNan,
  isZero,
  roundAndPack,
  roundShift,
  unpack,
  zero,
} from './format.ts';
import { FloatFlag } from './ops.ts';

/** A float of one format as one of another, rounded where that is narrower. */
export function convertFormat(from: FloatFormat, to: FloatFormat, a: bigint, rm: number, sink: FlagSink): bigint {
  if (isNan(from, a)) {
    if (isSignalingNan(from, a)) sink.flags |= FloatFlag.NV;
    return to.nan;
  }
  const negative = isNegative(from, a);
  if (isInfinite(from, a)) return infinity(to, negative);
  if (isZero(from, a)) return zero(to, negative);
  return roundAndPack(to, unpack(from, a), rm, sink);
}

/** An integer (any BigInt) as a float; zero gives +0. */
export function fromInteger(format: FloatFormat, value: bigint, rm: number, sink: FlagSink): bigint {
  if (value === 0n) return 0n;
  const negative = value < 0n;
  return roundAndPack(format, { negative, significand: negative ? -value : value, exponent: 0 }, rm, sink);
}

/**
 * A float as an integer of `width` bits, rounded. What does not fit gives the nearest end of the range, a NaN the
 * upper end, both with NV alone.
 */
export function toInteger(
  format: FloatFormat,
  a: bigint,
  width: 32 | 64,
  signed: boolean,
  rm: number,
  sink: FlagSink,
): bigint {
  const top = signed ? (1n << BigInt(width - 1)) - 1n : (1n << BigInt(width)) - 1n;
  const bottom = signed ? -top - 1n : 0n;
  if (isNan(format, a)) {
    sink.flags |= FloatFlag.NV;
    return top;
  }
  const negative = isNegative(format, a);
  if (isZero(format, a)) return 0n;
  const value = isInfinite(format, a) ? undefined : unpack(format, a);
  // 2^64 and above is out of every range, so no shift below is longer than a subnormal needs.
  if (value === undefined || value.exponent > 64) {
    sink.flags |= FloatFlag.NV;
    return negative ? bottom : top;
  }
  const { significand, exponent } = value;
  const whole = exponent >= 0 ? significand << BigInt(exponent) : roundShift(significand, -exponent, negative, rm);
  const result = negative ? -whole : whole;
  if (result > top || result < bottom) {
    sink.flags |= FloatFlag.NV;
    return negative ? bottom : top;
  }
  if (exponent < 0 && whole << BigInt(-exponent) !== significand) sink.flags |= FloatFlag.NX;
  return result;
}
