/** Flags, NaNs, zeros, saturation: the cases that the RISC-V specification names. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FloatOp, type FloatOpName, floatOp, lastFlags } from '../../../src/engine/softfloat/index.ts';

const D = { one: 0x3ff0n << 48n, two: 0x4000n << 48n, inf: 0x7ff0n << 48n, nan: 0x7ff8n << 48n, snan: 0x7ff4n << 48n };
const MINUS = 1n << 63n;
const MIN_NORMAL = 1n << 52n;
const MAX_FINITE = D.inf - 1n;
const [NX, UF, OF, DZ, NV] = [1, 2, 4, 8, 16];

function expectD(name: FloatOpName, rm: number, operands: bigint[], result: bigint, flags: number): void {
  const got = floatOp(FloatOp[name], 1, rm, operands[0] ?? 0n, operands[1] ?? 0n, operands[2] ?? 0n);
  const label = `${name} rm ${rm} of ${operands.map((bits) => bits.toString(16))}`;
  assert.equal(got.toString(16), result.toString(16), label);
  assert.equal(lastFlags(), flags, `${label}: flags`);
}

test('invalid operations give the canonical NaN and NV', () => {
  expectD('FADD', 0, [D.inf, D.inf | MINUS], D.nan, NV);
  expectD('FSUB', 0, [D.inf, D.inf], D.nan, NV);
  expectD('FMUL', 0, [D.inf, 0n], D.nan, NV);
  expectD('FDIV', 0, [0n, MINUS], D.nan, NV);
  expectD('FDIV', 0, [D.inf, D.inf | MINUS], D.nan, NV);
  expectD('FSQRT', 0, [D.one | MINUS], D.nan, NV);
  expectD('FMADD', 0, [D.inf, 0n, D.nan | 5n], D.nan, NV);
  expectD('FMADD', 0, [D.inf, D.one, D.inf | MINUS], D.nan, NV);
  expectD('FADD', 0, [D.snan, D.one], D.nan, NV);
  expectD('FADD', 0, [D.nan | MINUS | 77n, D.one], D.nan, 0);
  expectD('FMADD', 0, [D.one, D.one, D.snan], D.nan, NV);
  expectD('FSQRT', 0, [MINUS], MINUS, 0);
});

test('division by zero', () => {
  expectD('FDIV', 0, [D.one | MINUS, 0n], D.inf | MINUS, DZ);
  expectD('FDIV', 0, [D.inf, 0n], D.inf, 0);
});

test('signs of exact zeros', () => {
  expectD('FADD', 0, [D.one, D.one | MINUS], 0n, 0);
  expectD('FADD', 2, [D.one, D.one | MINUS], MINUS, 0);
  expectD('FADD', 0, [MINUS, MINUS], MINUS, 0);
  expectD('FADD', 2, [0n, MINUS], MINUS, 0);
  expectD('FMADD', 0, [MINUS, D.one, 0n], 0n, 0);
  expectD('FNMADD', 0, [0n, D.one, 0n], MINUS, 0);
});

test('overflow follows the rounding mode', () => {
  for (const [rm, positive, negative] of [
    [0, D.inf, D.inf],
    [1, MAX_FINITE, MAX_FINITE],
    [2, MAX_FINITE, D.inf],
    [3, D.inf, MAX_FINITE],
    [4, D.inf, D.inf],
  ] as const) {
    expectD('FADD', rm, [MAX_FINITE, MAX_FINITE], positive, OF | NX);
    expectD('FADD', rm, [MAX_FINITE | MINUS, MAX_FINITE | MINUS], negative | MINUS, OF | NX);
  }
});

test('tininess is detected after rounding', () => {
  const belowOne = D.one - 1n;
  // Largest subnormal + half a step of its own: rounds up to the smallest normal number.
  expectD('FMUL', 0, [MIN_NORMAL, belowOne], MIN_NORMAL, UF | NX);
  // (2^-1022)(1 + 2^-52)(1 - 2^-53) = 2^-1022 (1 + 2^-53 - 2^-105): not tiny.
  expectD('FMUL', 1, [MIN_NORMAL | 1n, belowOne], MIN_NORMAL, NX);
  // Rounded to 53 bits without a lower bound of the exponent, 2^-1022 (1 - 2^-54) is 2^-1022: not tiny.
  expectD('FMADD', 0, [MIN_NORMAL | MINUS, (1023n - 54n) << 52n, MIN_NORMAL], MIN_NORMAL, NX);
  expectD('FMADD', 1, [MIN_NORMAL | MINUS, (1023n - 54n) << 52n, MIN_NORMAL], MIN_NORMAL - 1n, UF | NX);
  // An exact subnormal raises nothing.
  expectD('FMUL', 0, [MIN_NORMAL, D.one - (1n << 52n)], MIN_NORMAL >> 1n, 0);
});

test('minimum and maximum: numbers win over NaNs, -0 is below +0', () => {
  expectD('FMIN', 0, [D.nan, D.two], D.two, 0);
  expectD('FMAX', 0, [D.two, D.snan], D.two, NV);
  expectD('FMIN', 0, [D.nan | 1n, D.nan | MINUS], D.nan, 0);
  expectD('FMIN', 0, [0n, MINUS], MINUS, 0);
  expectD('FMAX', 0, [MINUS, 0n], 0n, 0);
});

test('comparisons: FEQ is quiet, FLT and FLE signal', () => {
  expectD('FEQ', 0, [D.nan, D.one], 0n, 0);
  expectD('FEQ', 0, [D.snan, D.one], 0n, NV);
  expectD('FLT', 0, [D.nan, D.one], 0n, NV);
  expectD('FLE', 0, [D.one, D.nan], 0n, NV);
  expectD('FEQ', 0, [0n, MINUS], 1n, 0);
  expectD('FLT', 0, [MINUS, 0n], 0n, 0);
});

test('classes', () => {
  const patterns = [D.inf | MINUS, D.one | MINUS, MINUS | 1n, MINUS, 0n, 1n, D.one, D.inf, D.snan, D.nan];
  for (const [bit, pattern] of patterns.entries()) expectD('FCLASS', 0, [pattern], 1n << BigInt(bit), 0);
});

test('conversions to integers saturate with NV alone', () => {
  const ALL = (1n << 64n) - 1n;
  expectD('FCVT_W', 0, [D.nan], 0x7fff_ffffn, NV);
  expectD('FCVT_WU', 0, [D.nan | MINUS], ALL, NV);
  expectD('FCVT_L', 0, [D.inf], ALL >> 1n, NV);
  expectD('FCVT_LU', 0, [D.inf | MINUS], 0n, NV);
  expectD('FCVT_W', 0, [0x41e0n << 48n], 0x7fff_ffffn, NV); // 2^31
  expectD('FCVT_W', 0, [0xc1e0n << 48n], 0xffff_ffff_8000_0000n, 0); // -2^31
  expectD('FCVT_WU', 0, [0x41e0n << 48n], 0xffff_ffff_8000_0000n, 0); // a word is sign-extended
  expectD('FCVT_L', 0, [0x43e0n << 48n], ALL >> 1n, NV); // 2^63
  expectD('FCVT_LU', 0, [0x43e0n << 48n], 1n << 63n, 0);
  const minusHalf = (0x3fe0n << 48n) | MINUS;
  expectD('FCVT_LU', 0, [minusHalf], 0n, NX);
  expectD('FCVT_LU', 2, [minusHalf], 0n, NV);
  expectD('FCVT_W', 4, [minusHalf], ALL, NX);
  expectD('FCVT_W', 0, [MINUS], 0n, 0);
});

test('every number of the table is an operation, others are refused', () => {
  for (const number of Object.values(FloatOp)) floatOp(number, 1, 0, D.one, D.one, D.one);
  assert.throws(() => floatOp(25, 1, 0, 0n, 0n, 0n), /25 is no operation/);
});
