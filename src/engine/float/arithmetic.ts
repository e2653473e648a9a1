import { type F64, f32, f64, type I32, type I64, i32, i64 } from '../../wasm/index.ts';
import { FloatFlag } from '../softfloat/index.ts';
import { sumError, twoSum } from './error-free.ts';
import type { NativeFunction } from './native.ts';
import {
  all,
  any,
  exponentField,
  isFiniteNumber,
  isInfinite,
  isNormalOrAbove,
  isOrdinary,
  isZero,
  SIGN,
  significand,
} from './patterns.ts';

const { NX, UF, DZ } = FloatFlag;

/**
 * Addition, subtraction, multiplication, division, square root: WebAssembly's results, rounded to nearest even, with the
 * flags that WebAssembly does not have. Once inexact is set, an ordinary result has no news. Before, doubles are checked
 * by the error of their sum, or by the low bits of the product of significands; singles are computed again as doubles.
 */

type Quotient = 'mul' | 'div';

export function add(n: NativeFunction, subtracts: boolean): void {
  if (n.format === 'D') addDoubles(n, subtracts);
  else addSingles(n, subtracts);
}

/** A sum that is subnormal or zero is exact. */
function addDoubles(n: NativeFunction, subtracts: boolean): void {
  const { code } = n;
  const a = n.double(n.a);
  const b = n.double(subtracts ? i64.xor(n.b, i64.const(SIGN.D)) : n.b);
  code.if(n.nearest, () => {
    const sum = n.local(f64.add(a, b));
    const bits = n.doubleBits(sum);
    code.if(
      isFiniteNumber('D', bits),
      () => {
        n.returnIf(n.inexactSet, bits);
        const error = sumError(code, a, b, sum);
        n.returnIf(f64.eq(error, f64.const(0)), bits);
        n.returnRaising(NX, bits);
      },
      () => n.returnSpecial(bits, n.a, n.b),
    );
  });
}

function addSingles(n: NativeFunction, subtracts: boolean): void {
  const { code } = n;
  const [a, b] = [n.single(n.a), n.single(n.b)];
  code.if(n.nearest, () => {
    const single = n.local(subtracts ? f32.sub(a, b) : f32.add(a, b));
    const bits = n.singleBits(single);
    n.returnIf(i32.and(n.inexactSet, isFiniteNumber('S', bits)), bits);
    const wideB = n.local(f64.promote(subtracts ? f32.neg(b) : b));
    const wide = twoSum(code, n.local(f64.promote(a)), wideB);
    const inexact = any(f64.ne(wide.error, f64.const(0)), f64.ne(f64.promote(single), wide.value));
    n.returnSingle(single, bits, wide.value, inexact);
    n.returnSpecial(bits, n.a, n.b);
  });
}

export function multiplyOrDivide(n: NativeFunction, operation: Quotient): void {
  if (n.format === 'D') multiplyOrDivideDoubles(n, operation);
  else multiplyOrDivideSingles(n, operation);
}

function multiplyOrDivideDoubles(n: NativeFunction, operation: Quotient): void {
  const { code } = n;
  const [a, b] = [n.double(n.a), n.double(n.b)];
  code.if(n.nearest, () => {
    const bits = n.doubleBits(f64[operation](a, b));
    code.if(isOrdinary('D', bits), () => {
      n.returnIf(n.inexactSet, bits);
      const { possible, exact } = operation === 'mul' ? productCheck(n, bits) : quotientCheck(n, bits);
      code.if(possible, () => {
        n.returnIf(exact, bits);
        n.returnRaising(NX, bits);
      });
    });
    code.if(
      isFiniteNumber('D', bits),
      () => {
        n.returnIf(n.underflowSet, bits);
        code.if(isZero('D', bits), () => {
          const second = operation === 'mul' ? isZero('D', n.b) : isInfinite('D', n.b);
          n.returnIf(any(isZero('D', n.a), second), bits);
          n.returnRaising(UF | NX, bits);
        });
      },
      () => {
        if (operation === 'div') returnDivisionByZero(n, bits);
        n.returnSpecial(bits, n.a, n.b);
      },
    );
  });
}

interface Check {
  /** Whether the check can be made. */
  readonly possible: I32;
  readonly exact: I32;
}

const isNormal = (bits: I64): I32 => isNormalOrAbove('D', bits);

/**
 * The product of significands has 105 or 106 bits, of which 53 fit, so that the low 52 or 53 have to be 0. In the second
 * case the exponent is by 1 larger than the sum of the exponents.
 */
function productCheck(n: NativeFunction, product: I64): Check {
  const carry = i64.sub(exponentField(product), i64.add(exponentField(n.a), exponentField(n.b)));
  const low = i64.mul(significand(n.a), significand(n.b));
  const shift = i64.sub(i64.const(12 - 1023), carry);
  return { possible: all(isNormal(n.a), isNormal(n.b)), exact: i64.eqz(i64.shl(low, shift)) };
}

/**
 * In units of the last place of the product of their significands, quotient times divisor differs from the dividend by
 * half the divisor's significand at most, which is less than 2^52; and the dividend is a multiple of 2^52 there. So it
 * does not differ if it is a multiple, too.
 */
function quotientCheck(n: NativeFunction, quotient: I64): Check {
  const low = i64.mul(significand(quotient), significand(n.b));
  return { possible: isNormal(n.b), exact: i64.eqz(i64.shl(low, i64.const(12))) };
}

/** A finite number over zero, if the quotient is infinite. */
function returnDivisionByZero(n: NativeFunction, quotient: I64): void {
  const { format } = n;
  const divides = all(isInfinite(format, quotient), isZero(format, n.b), isFiniteNumber(format, n.a));
  n.code.if(divides, () => n.returnRaising(DZ, quotient));
}

function multiplyOrDivideSingles(n: NativeFunction, operation: Quotient): void {
  const { code } = n;
  const [a, b] = [n.single(n.a), n.single(n.b)];
  code.if(n.nearest, () => {
    const single = n.local(f32[operation](a, b));
    const bits = n.singleBits(single);
    n.returnIf(i32.and(n.inexactSet, isOrdinary('S', bits)), bits);
    const [wideA, wideB] = [n.local(f64.promote(a)), n.local(f64.promote(b))];
    const wide = n.local(f64[operation](wideA, wideB));
    const inexact =
      operation === 'mul'
        ? f64.ne(f64.promote(single), wide)
        : // What is 0 as a double is 0 over something, or something over infinity.
          all(f64.ne(f64.mul(f64.promote(single), wideB), wideA), f64.ne(wide, f64.const(0)));
    n.returnSingle(single, bits, wide, inexact);
    if (operation === 'div') returnDivisionByZero(n, bits);
    n.returnSpecial(bits, n.a, n.b);
  });
}

export function squareRoot(n: NativeFunction): void {
  n.code.if(n.nearest, () => (n.format === 'D' ? rootOfDouble(n) : rootOfSingle(n)));
}

function rootOfDouble(n: NativeFunction): void {
  const { code } = n;
  const bits = n.doubleBits(f64.sqrt(n.double(n.a)));
  code.if(
    isFiniteNumber('D', bits),
    () => {
      n.returnIf(any(n.inexactSet, isZero('D', bits)), bits);
      code.if(isNormal(n.a), () => {
        n.returnIf(isExactRoot(n.a, bits), bits);
        n.returnRaising(NX, bits);
      });
    },
    () => n.returnSpecial(bits),
  );
}

/** The square of the root's significand differs from the operand's by 2^53 or so at most: the low 64 bits tell. */
function isExactRoot(a: I64, root: I64): I32 {
  const shift = i64.sub(i64.add(exponentField(a), i64.const(1075)), i64.shl(exponentField(root), i64.const(1)));
  return i64.eq(i64.mul(significand(root), significand(root)), i64.shl(significand(a), shift));
}

function rootOfSingle(n: NativeFunction): void {
  const a = n.single(n.a);
  const single = n.local(f32.sqrt(a));
  const bits = n.singleBits(single);
  n.returnIf(i32.and(n.inexactSet, isFiniteNumber('S', bits)), bits);
  const wide: F64 = n.local(f64.promote(single));
  n.returnSingle(single, bits, wide, f64.ne(f64.mul(wide, wide), f64.promote(a)));
  n.returnSpecial(bits);
}
