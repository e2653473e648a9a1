/** Comparisons, minimum, maximum and classification on bit patterns. */
import type { FlagSink, FloatFormat } from './format.ts';
import { isInfinite, isNan, isNegative, isSignalingNan, isZero, magnitude } from './format.ts';
import { FloatFlag } from './ops.ts';

/** a before b in the total order of non-NaN patterns in which -0 stands before +0. */
function precedes(format: FloatFormat, a: bigint, b: bigint): boolean {
  const aNegative = isNegative(format, a);
  if (aNegative !== isNegative(format, b)) return aNegative;
  return aNegative ? a > b : a < b;
}

function bothZero(format: FloatFormat, a: bigint, b: bigint): boolean {
  return isZero(format, a) && isZero(format, b);
}

function unordered(format: FloatFormat, a: bigint, b: bigint, signaling: boolean, sink: FlagSink): boolean {
  if (!isNan(format, a) && !isNan(format, b)) return false;
  if (signaling || isSignalingNan(format, a) || isSignalingNan(format, b)) sink.flags |= FloatFlag.NV;
  return true;
}

/** compareQuietEqual: NV only for signaling NaNs. */
export function equal(format: FloatFormat, a: bigint, b: bigint, sink: FlagSink): boolean {
  if (unordered(format, a, b, false, sink)) return false;
  return a === b || bothZero(format, a, b);
}

/** compareSignalingLess: NV for any NaN. */
export function less(format: FloatFormat, a: bigint, b: bigint, sink: FlagSink): boolean {
  if (unordered(format, a, b, true, sink)) return false;
  return precedes(format, a, b) && !bothZero(format, a, b);
}

/** compareSignalingLessEqual: NV for any NaN. */
export function lessOrEqual(format: FloatFormat, a: bigint, b: bigint, sink: FlagSink): boolean {
  if (unordered(format, a, b, true, sink)) return false;
  return !precedes(format, b, a) || bothZero(format, a, b);
}

/**
 * minimumNumber (or maximumNumber): a NaN loses against a number, two give the canonical NaN, -0 is below +0,
 * a signaling NaN raises NV even if the other operand is the result.
 */
export function minMax(format: FloatFormat, a: bigint, b: bigint, maximum: boolean, sink: FlagSink): bigint {
  if (isSignalingNan(format, a) || isSignalingNan(format, b)) sink.flags |= FloatFlag.NV;
  if (isNan(format, a)) return isNan(format, b) ? format.nan : b;
  if (isNan(format, b)) return a;
  return precedes(format, a, b) === maximum ? b : a;
}

/**
 * The one-hot class: bit 0 -infinity, 1 negative normal, 2 negative subnormal, 3 -0, 4 +0, 5 positive subnormal,
 * 6 positive normal, 7 +infinity, 8 signaling NaN, 9 quiet NaN.
 */
export function classify(format: FloatFormat, a: bigint): bigint {
  if (isNan(format, a)) return isSignalingNan(format, a) ? 1n << 8n : 1n << 9n;
  const negative = isNegative(format, a);
  if (isInfinite(format, a)) return negative ? 1n : 1n << 7n;
  if (isZero(format, a)) return negative ? 1n << 3n : 1n << 4n;
  if (magnitude(format, a) <= format.fractionMask) return negative ? 1n << 2n : 1n << 5n;
  return negative ? 1n << 1n : 1n << 6n;
}
