/**
 * Results and NX in every rounding mode against the definition: of the two neighbouring floats that enclose the exact
 * result, the mode says which. Exact results are quotients of BigInts (a square root is compared by its square).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FloatFlag, type FloatFormat, FloatOp, floatOp, lastFlags } from '../../../src/engine/softfloat/index.ts';
import { FORMATS, finitePatterns } from './patterns.ts';

/** A quotient with a positive denominator. */
interface Ratio {
  top: bigint;
  bottom: bigint;
}

/**
 * The value of a pattern as quotient over the format's smallest subnormal, so that no exponent is negative.
 * Infinity counts as the power of two after the largest finite number, which is what the rounding rule wants.
 */
function exactValue(format: FloatFormat, bits: bigint): Ratio {
  const field = (bits & (format.signBit - 1n)) >> format.fractionBits;
  const fraction = bits & format.fractionMask;
  const scale = 1n << BigInt(-format.quantum);
  const top = field === 0n ? fraction : (fraction + format.fractionMask + 1n) << (field - 1n);
  return { top: bits & format.signBit ? -top : top, bottom: scale };
}

type Compare = (value: Ratio) => bigint;

/**
 * Correctly rounded pattern of a non-zero result of known sign.
 * @param compare sign of (magnitude of the exact result - value)
 * @param halfway the same for a midpoint
 */
function expectedPattern(format: FloatFormat, negative: boolean, rm: number, compare: Compare): [bigint, boolean] {
  let low = 0n;
  let high = format.infinity;
  const sign = negative ? format.signBit : 0n;
  const finish = (magnitudeBits: bigint): bigint =>
    sign | (magnitudeBits > format.infinity ? format.infinity : magnitudeBits);
  if (compare(exactValue(format, high)) >= 0n) {
    // Beyond the largest finite number by more than a step.
    const toInfinity = rm === 0 || rm === 4 || (rm === 2 && negative) || (rm === 3 && !negative);
    return [finish(toInfinity ? format.infinity : format.infinity - 1n), true];
  }
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (compare(exactValue(format, middle)) >= 0n) low = middle;
    else high = middle;
  }
  const below = exactValue(format, low);
  if (compare(below) === 0n) return [finish(low), false];
  const above = exactValue(format, high);
  const midpoint: Ratio = { top: below.top + above.top, bottom: below.bottom * 2n };
  const side = compare(midpoint);
  const upwards: Record<number, boolean> = {
    0: side > 0n || (side === 0n && (low & 1n) === 1n),
    1: false,
    2: negative,
    3: !negative,
    4: side >= 0n,
  };
  return [finish(upwards[rm] ? high : low), true];
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}

function check(op: number, number: 0 | 1, format: FloatFormat, operands: bigint[], exact: Ratio, root = false): void {
  if (exact.top === 0n) return;
  const negative = exact.top < 0n;
  const top = abs(exact.top);
  const compare: Compare = root
    ? (v) => top * v.bottom * v.bottom - v.top * v.top * exact.bottom
    : (v) => top * v.bottom - v.top * exact.bottom;
  for (let rm = 0; rm < 5; rm++) {
    const got = floatOp(op, number, rm, operands[0] ?? 0n, operands[1] ?? 0n, operands[2] ?? 0n);
    const [expected, inexact] = expectedPattern(format, negative, rm, compare);
    assert.equal(got.toString(16), expected.toString(16), `rounding mode ${rm}`);
    assert.equal((lastFlags() & FloatFlag.NX) !== 0, inexact, `NX in rounding mode ${rm}`);
  }
}

const RUNS = { numRuns: 500 };

for (const { name, number, format } of FORMATS) {
  const finite = finitePatterns(format);

  test(`${name} sums, products, quotients in every rounding mode`, () => {
    fc.assert(
      fc.property(finite, finite, (a, b) => {
        const [x, y] = [exactValue(format, a), exactValue(format, b)];
        check(FloatOp.FADD, number, format, [a, b], { top: x.top + y.top, bottom: x.bottom });
        check(FloatOp.FSUB, number, format, [a, b], { top: x.top - y.top, bottom: x.bottom });
        check(FloatOp.FMUL, number, format, [a, b], { top: x.top * y.top, bottom: x.bottom * y.bottom });
        if (y.top === 0n) return;
        const sign = y.top < 0n ? -1n : 1n;
        check(FloatOp.FDIV, number, format, [a, b], { top: x.top * sign, bottom: abs(y.top) });
      }),
      RUNS,
    );
  });

  test(`${name} square roots in every rounding mode`, () => {
    fc.assert(
      fc.property(finite, (a) => {
        const bits = a & (format.signBit - 1n);
        check(FloatOp.FSQRT, number, format, [bits], exactValue(format, bits), true);
      }),
      RUNS,
    );
  });

  test(`${name} fused multiply-adds in every rounding mode`, () => {
    const close = fc.tuple(finite, finite, finite, fc.boolean(), fc.bigInt(-3n, 3n));
    fc.assert(
      fc.property(close, ([a, b, other, cancel, distance]) => {
        // Cancellation shows whether the product was kept whole.
        const near = floatOp(FloatOp.FMUL, number, 0, a, b, 0n) + distance;
        const usable =
          cancel && near > 0n && (near & (format.signBit - 1n)) < format.infinity && near < format.signBit * 2n;
        const c = usable ? near : other;
        const [x, y, z] = [exactValue(format, a), exactValue(format, b), exactValue(format, c)];
        const product = x.top * y.top;
        const addend = z.top * x.bottom;
        const bottom = x.bottom * y.bottom;
        check(FloatOp.FMADD, number, format, [a, b, c], { top: product + addend, bottom });
        check(FloatOp.FMSUB, number, format, [a, b, c], { top: product - addend, bottom });
        check(FloatOp.FNMSUB, number, format, [a, b, c], { top: addend - product, bottom });
        check(FloatOp.FNMADD, number, format, [a, b, c], { top: -product - addend, bottom });
      }),
      RUNS,
    );
  });
}
