import { type F64, type FunctionBuilder, f64, type I64, i32, i64, select } from '../../wasm/index.ts';
import { bitsOf, exponentField, FRACTION_BITS, SIGN, significand } from './patterns.ts';

/**
 * The rounding errors of sums and products are numbers themselves; here they are computed. Operands are locals: they are
 * read several times.
 */

/** A rounded result, and the exact result less the rounded one. */
export interface Split {
  readonly value: F64;
  readonly error: F64;
}

/**
 * a + b = value + error (Knuth, The Art of Computer Programming 2, 4.2.2, theorem B). If a is the largest number, an
 * intermediate sum may overflow though a + b does not; the error is infinite or a NaN then, and a + b is inexact, since no
 * step rounds when it is exact.
 */
export function twoSum(code: FunctionBuilder, a: F64, b: F64): Split {
  const value = code.local('f64', f64.add(a, b)).get;
  return { value, error: sumError(code, a, b, value) };
}

export function sumError(code: FunctionBuilder, a: F64, b: F64, sum: F64): F64 {
  const shadow = code.local('f64', f64.sub(sum, a)).get;
  return code.local('f64', f64.add(f64.sub(a, f64.sub(sum, shadow)), f64.sub(b, shadow))).get;
}

/** Least exponent field of a product for which `productError` holds. */
export const LEAST_PRODUCT_EXPONENT = 107;

/**
 * a * b - product. The low 64 bits of the product of the significands are enough, since the error has 53 at most.
 * a and b are normal; the exponent field of the product is at least `LEAST_PRODUCT_EXPONENT` and not that of infinity.
 */
export function productError(code: FunctionBuilder, a: I64, b: I64, product: I64): F64 {
  const exponents = code.local('i64', i64.add(exponentField(a), exponentField(b))).get;
  // 52, or 53 if the product of the significands is 2^105 or more.
  const shift = i64.sub(i64.add(exponentField(product), i64.const(1023 + FRACTION_BITS)), exponents);
  const exact = i64.mul(significand(a), significand(b));
  const error = i64.sub(exact, i64.shl(significand(product), shift));
  // The significands' unit is 2^(exponents - 2150), and the bias of the exponent field 1023.
  const unit = i64.shl(i64.sub(exponents, i64.const(2150 - 1023)), i64.const(FRACTION_BITS));
  const scale = i64.or(unit, i64.and(product, i64.const(SIGN.D)));
  return code.local('f64', f64.mul(f64.convert_i64_s(error), f64.reinterpret(scale))).get;
}

/**
 * value + error rounded to odd: if that is inexact, to the neighbour whose last bit is 1. Rounded once more, to a format
 * that has two bits less or to the nearest double of a sum in which this is the smaller part, it gives what the exact
 * value would have given (Boldo and Melquiond, Emulation of FMA and correctly rounded sums: proved algorithms using
 * rounding to odd, 2008).
 */
export function roundedToOdd(code: FunctionBuilder, { value, error }: Split): F64 {
  const bits = bitsOf(code, value);
  // One further from zero if the error has the sign of the value, else one nearer.
  const step = i64.or(i64.shr_s(i64.xor(bits, i64.reinterpret(error)), i64.const(63)), i64.const(1));
  const isEven = i64.eqz(i64.and(bits, i64.const(1)));
  const moves = i32.and(f64.ne(error, f64.const(0)), isEven);
  return code.local('f64', f64.reinterpret(i64.add(bits, select(moves, step, i64.const(0))))).get;
}
