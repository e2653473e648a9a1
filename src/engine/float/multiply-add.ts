import { type F64, f32, f64, type I64, i32, i64, select } from '../../wasm/index.ts';
import { FloatFlag } from '../softfloat/index.ts';
import { LEAST_PRODUCT_EXPONENT, productError, roundedToOdd, twoSum } from './error-free.ts';
import type { NativeFunction } from './native.ts';
import { all, any, exponentField, isFiniteNumber, isNormalOrAbove, isOrdinary, isZero } from './patterns.ts';

const { NX } = FloatFlag;

/** Exponent fields from here on are of sums and products of which no intermediate result overflows. */
const LARGE_EXPONENT = 2045;

/** a * b + c, rounded once: by the processor if relaxed SIMD fuses, else by sums without error. */
export function multiplyAdd(n: NativeFunction, fuses: boolean): void {
  n.code.if(n.nearest, () => (n.format === 'D' ? doubles(n, fuses) : singles(n, fuses)));
}

function doubles(n: NativeFunction, fuses: boolean): void {
  const { code } = n;
  const [a, b, c] = [n.double(n.a), n.double(n.b), n.double(n.c)];
  const fused = fuses ? n.doubleBits(f64.relaxedMultiplyAdd(a, b, c)) : undefined;
  if (fused !== undefined) n.returnIf(i32.and(n.inexactSet, isOrdinary('D', fused)), fused);
  const product = n.local(f64.mul(a, b));
  const productBits = n.doubleBits(product);
  const exponent = i64.sub(exponentField(productBits), i64.const(LEAST_PRODUCT_EXPONENT));
  const isSafe = all(
    isNormalOrAbove('D', n.a),
    isNormalOrAbove('D', n.b),
    i64.lt_u(exponent, i64.const(LARGE_EXPONENT - LEAST_PRODUCT_EXPONENT)),
    i64.lt_u(exponentField(n.c), i64.const(LARGE_EXPONENT)),
  );
  code.if(isSafe, () => sumOfProduct(n, product, productBits, c, fused));
  // A product of zero is exact, and so is its sum.
  const sum = n.doubleBits(f64.add(product, c));
  code.if(isFiniteNumber('D', sum), () => n.returnIf(any(isZero('D', n.a), isZero('D', n.b)), sum));
  if (fused !== undefined) {
    code.if(
      isFiniteNumber('D', fused),
      () => n.returnIf(n.underflowSet, fused),
      () => n.returnSpecial(fused, n.a, n.b, n.c),
    );
  } else {
    const [finiteFactors, finiteAddend] = [
      all(isFiniteNumber('D', n.a), isFiniteNumber('D', n.b)),
      isFiniteNumber('D', n.c),
    ];
    // The product of finite factors is finite before it is rounded.
    code.if(i32.eqz(all(finiteFactors, finiteAddend)), () =>
      n.returnSpecial(n.local(select(finiteFactors, n.c, sum)), n.a, n.b, n.c),
    );
  }
}

/** The product and the sums of its parts with c, where none of them overflows or loses anything below. */
function sumOfProduct(n: NativeFunction, product: F64, productBits: I64, c: F64, fused: I64 | undefined): void {
  const { code } = n;
  const low = productError(code, n.a, n.b, productBits);
  const lower = twoSum(code, c, low);
  const upper = twoSum(code, product, lower.value);
  // Now the exact result is upper.value + upper.error + lower.error.
  const rest = (): F64 => roundedToOdd(code, twoSum(code, lower.error, upper.error));
  const bits = fused ?? n.doubleBits(f64.add(upper.value, rest()));
  n.returnIf(n.inexactSet, bits);
  // The sum in parentheses is exact (Boldo and Muller, Exact and approximated error of the FMA, 2011).
  const missing = f64.add(f64.sub(upper.value, f64.reinterpret(bits)), upper.error);
  n.returnIf(f64.eq(f64.add(missing, lower.error), f64.const(0)), bits);
  n.returnRaising(NX, bits);
}

/** As a double the product of singles is exact. */
function singles(n: NativeFunction, fuses: boolean): void {
  const { code } = n;
  const [a, b, c] = [n.single(n.a), n.single(n.b), n.single(n.c)];
  if (fuses) {
    const fused = n.singleBits(f32.relaxedMultiplyAdd(a, b, c));
    n.returnIf(i32.and(n.inexactSet, isOrdinary('S', fused)), fused);
  }
  const product = n.local(f64.mul(f64.promote(a), f64.promote(b)));
  const sum = twoSum(code, product, n.local(f64.promote(c)));
  code.if(isFiniteNumber('D', i64.reinterpret(sum.value)), () => {
    const wide = roundedToOdd(code, sum);
    const single = n.local(f32.demote(wide));
    n.returnSingle(single, n.singleBits(single), wide, f64.ne(f64.promote(single), wide));
  });
  n.returnSpecial(n.singleBits(f32.demote(sum.value)), n.a, n.b, n.c);
}
