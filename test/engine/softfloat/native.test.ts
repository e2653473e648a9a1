/** Round-to-nearest results against the arithmetic of the machine that runs the test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FloatOp, floatOp, RoundingMode } from '../../../src/engine/softfloat/index.ts';
import { FORMATS, fromNumber, patterns, toNumber } from './patterns.ts';

const RUNS = { numRuns: 4000 };

// A binary32 result computed in binary64 and rounded again is right for these five: 53 >= 2 * 24 + 2.
const BINARY_OPERATIONS: [keyof typeof FloatOp, (a: number, b: number) => number][] = [
  ['FADD', (a, b) => a + b],
  ['FSUB', (a, b) => a - b],
  ['FMUL', (a, b) => a * b],
  ['FDIV', (a, b) => a / b],
  ['FSQRT', (a) => Math.sqrt(a)],
];

for (const { name, number, format } of FORMATS) {
  for (const [operation, native] of BINARY_OPERATIONS) {
    test(`${name} ${operation} rounds to nearest as the machine does`, () => {
      fc.assert(
        fc.property(patterns(format), patterns(format), (a, b) => {
          const expected = fromNumber(format, native(toNumber(format, a), toNumber(format, b)));
          assert.equal(floatOp(FloatOp[operation], number, RoundingMode.RNE, a, b, 0n), expected);
        }),
        RUNS,
      );
    });
  }

  test(`${name} comparisons as the machine does`, () => {
    fc.assert(
      fc.property(patterns(format), patterns(format), fc.integer({ min: 0, max: 2 }), (a, other, kind) => {
        const b = kind === 0 ? a : kind === 1 ? a ^ format.signBit : other;
        const x = toNumber(format, a);
        const y = toNumber(format, b);
        assert.equal(floatOp(FloatOp.FEQ, number, 0, a, b, 0n), x === y ? 1n : 0n);
        assert.equal(floatOp(FloatOp.FLT, number, 0, a, b, 0n), x < y ? 1n : 0n);
        assert.equal(floatOp(FloatOp.FLE, number, 0, a, b, 0n), x <= y ? 1n : 0n);
        if (Number.isNaN(x) || Number.isNaN(y)) return;
        // Math.min and Math.max order the zeros as RISC-V does; with NaN they differ.
        assert.equal(floatOp(FloatOp.FMIN, number, 0, a, b, 0n), fromNumber(format, Math.min(x, y)));
        assert.equal(floatOp(FloatOp.FMAX, number, 0, a, b, 0n), fromNumber(format, Math.max(x, y)));
      }),
      RUNS,
    );
  });

  test(`${name} from integers as the machine does`, () => {
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << 64n) - 1n), fc.bigInt(0n, 63n), (bits, shift) => {
        const a = bits >> shift;
        const cases: [keyof typeof FloatOp, bigint][] = [
          ['FCVT_FROM_W', BigInt.asIntN(32, a)],
          ['FCVT_FROM_WU', BigInt.asUintN(32, a)],
          ['FCVT_FROM_L', BigInt.asIntN(64, a)],
          ['FCVT_FROM_LU', a],
        ];
        for (const [operation, value] of cases) {
          // Through binary64 a doubleword would be rounded twice on its way to binary32.
          if (number === 0 && Number.isSafeInteger(Number(value)) === false) continue;
          assert.equal(floatOp(FloatOp[operation], number, 0, a, 0n, 0n), fromNumber(format, Number(value)));
        }
      }),
      RUNS,
    );
  });
}

test('binary64 to binary32 and back as the machine does', () => {
  const [single, double] = [FORMATS[0]!.format, FORMATS[1]!.format];
  fc.assert(
    fc.property(patterns(double), patterns(single), (d, s) => {
      assert.equal(floatOp(FloatOp.FCVT_S_D, 0, 0, d, 0n, 0n), fromNumber(single, toNumber(double, d)));
      assert.equal(floatOp(FloatOp.FCVT_D_S, 0, 0, s, 0n, 0n), fromNumber(double, toNumber(single, s)));
    }),
    RUNS,
  );
});
