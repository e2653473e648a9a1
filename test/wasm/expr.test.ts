import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Expr, f32, f64, i32, i64, select, type ValType } from '../../src/wasm/index.ts';

import { type Built, build } from './build.ts';

/** A function of two operands that gives the value of an expression. */
const binary = <T extends ValType, R extends ValType>(
  type: T,
  result: R,
  expression: (a: Expr<T>, b: Expr<T>) => Expr<R>,
): Built['f'] =>
  build([type, type], result, (code) =>
    code.return(expression(code.parameter(0, type).get, code.parameter(1, type).get)),
  ).f;

describe('expressions', () => {
  const NUMBERS = [0, 1, -1, 7, -8, 31, 0x7fffffff, -0x80000000, 0x12345678];
  const BIGS = [0n, 1n, -1n, 7n, -8n, 63n, (1n << 63n) - 1n, -(1n << 63n), 0x123456789abcdef0n];
  const bool = (value: boolean): number => (value ? 1 : 0);

  test('i32', () => {
    const unsigned = (f: (a: number, b: number) => number | boolean) => (a: number, b: number) =>
      Number(f(a >>> 0, b >>> 0)) | 0;
    const signed = (f: (a: number, b: number) => number | boolean) => (a: number, b: number) => Number(f(a, b)) | 0;
    const rotate = (a: number, n: number): number => (n % 32 === 0 ? a : (a << n) | (a >>> (32 - (n & 31))));
    const all = {
      add: signed((a, b) => a + b),
      sub: signed((a, b) => a - b),
      mul: Math.imul,
      and: signed((a, b) => a & b),
      or: signed((a, b) => a | b),
      xor: signed((a, b) => a ^ b),
      shl: signed((a, b) => a << b),
      shr_s: signed((a, b) => a >> b),
      shr_u: signed((a, b) => a >>> b),
      rotl: signed((a, b) => rotate(a, b & 31)),
      rotr: signed((a, b) => rotate(a, (32 - b) & 31)),
      eq: signed((a, b) => a === b),
      ne: signed((a, b) => a !== b),
      lt_s: signed((a, b) => a < b),
      lt_u: unsigned((a, b) => a < b),
      gt_s: signed((a, b) => a > b),
      gt_u: unsigned((a, b) => a > b),
      le_s: signed((a, b) => a <= b),
      le_u: unsigned((a, b) => a <= b),
      ge_s: signed((a, b) => a >= b),
      ge_u: unsigned((a, b) => a >= b),
    };
    for (const [name, expected] of Object.entries(all)) {
      const f = binary('i32', 'i32', i32[name as keyof typeof all]);
      for (const a of NUMBERS) for (const b of NUMBERS) assert.equal(f(a, b), expected(a, b), `${a} ${name} ${b}`);
    }
  });

  test('i64', () => {
    const wrap = (value: bigint): bigint => BigInt.asIntN(64, value);
    const u = (value: bigint): bigint => BigInt.asUintN(64, value);
    const rotate = (a: bigint, n: bigint): bigint => (u(a) << n) | (u(a) >> (64n - n));
    const values = {
      add: (a: bigint, b: bigint) => a + b,
      sub: (a: bigint, b: bigint) => a - b,
      mul: (a: bigint, b: bigint) => a * b,
      and: (a: bigint, b: bigint) => a & b,
      or: (a: bigint, b: bigint) => a | b,
      xor: (a: bigint, b: bigint) => a ^ b,
      shl: (a: bigint, b: bigint) => a << (b & 63n),
      shr_s: (a: bigint, b: bigint) => a >> (b & 63n),
      shr_u: (a: bigint, b: bigint) => u(a) >> (b & 63n),
      rotl: (a: bigint, b: bigint) => rotate(a, b & 63n),
      rotr: (a: bigint, b: bigint) => rotate(a, -b & 63n),
    };
    for (const [name, expected] of Object.entries(values)) {
      const f = binary('i64', 'i64', i64[name as keyof typeof values]);
      for (const a of BIGS) for (const b of BIGS) assert.equal(f(a, b), wrap(expected(a, b)), `${a} ${name} ${b}`);
    }
    const comparisons = {
      eq: (a: bigint, b: bigint) => a === b,
      ne: (a: bigint, b: bigint) => a !== b,
      lt_s: (a: bigint, b: bigint) => a < b,
      lt_u: (a: bigint, b: bigint) => u(a) < u(b),
      gt_s: (a: bigint, b: bigint) => a > b,
      gt_u: (a: bigint, b: bigint) => u(a) > u(b),
      le_s: (a: bigint, b: bigint) => a <= b,
      le_u: (a: bigint, b: bigint) => u(a) <= u(b),
      ge_s: (a: bigint, b: bigint) => a >= b,
      ge_u: (a: bigint, b: bigint) => u(a) >= u(b),
    };
    for (const [name, expected] of Object.entries(comparisons)) {
      const f = binary('i64', 'i32', i64[name as keyof typeof comparisons]);
      for (const a of BIGS) for (const b of BIGS) assert.equal(f(a, b), bool(expected(a, b)), `${a} ${name} ${b}`);
    }
  });

  test('division, and the traps of it', () => {
    assert.equal(binary('i64', 'i64', i64.div_s)(-7n, 2n), -3n);
    assert.equal(binary('i64', 'i64', i64.div_u)(-1n, 2n), (1n << 63n) - 1n);
    assert.equal(binary('i64', 'i64', i64.rem_s)(-7n, 2n), -1n);
    assert.equal(binary('i64', 'i64', i64.rem_u)(-1n, 10n), 5n);
    assert.throws(() => binary('i64', 'i64', i64.div_s)(1n, 0n), WebAssembly.RuntimeError);
  });

  test('constants of both signs and sizes', () => {
    for (const value of NUMBERS) assert.equal(build([], 'i32', (code) => code.return(i32.const(value))).f(), value);
    for (const value of BIGS) assert.equal(build([], 'i64', (code) => code.return(i64.const(value))).f(), value);
    assert.equal(build([], 'i64', (code) => code.return(i64.const((1n << 64n) - 1n))).f(), -1n);
    for (const value of BIGS) {
      const [high, low] = [Number(BigInt.asIntN(32, value >> 32n)), Number(BigInt.asIntN(32, value))];
      assert.equal(build([], 'i64', (code) => code.return(i64.halves(high, low))).f(), BigInt.asIntN(64, value));
    }
    assert.deepEqual([i64.const(5).constant, i64.const(-5n).constant], [5, -5]);
    assert.equal(i32.const(0xffffffff).constant, -1);
    assert.deepEqual([i64.const(2n ** 31n).constant, i64.const(2 ** 31).constant], [undefined, undefined]);
  });

  test('conversions', () => {
    const from = <T extends ValType, R extends ValType>(
      type: T,
      result: R,
      f: (value: Expr<T>) => Expr<R>,
    ): Built['f'] => build([type], result, (code) => code.return(f(code.parameter(0, type).get))).f;
    assert.equal(from('i64', 'i32', i32.wrap)(0x1_8000_0001n), -0x7fffffff);
    assert.equal(from('i32', 'i64', i64.extend_i32_s)(-1), -1n);
    assert.equal(from('i32', 'i64', i64.extend_i32_u)(-1), 0xffffffffn);
    assert.equal(from('i64', 'i64', i64.extend8_s)(0x1ffn), -1n);
    assert.equal(from('i64', 'i64', i64.extend16_s)(0x18000n), -0x8000n);
    assert.equal(from('i64', 'i64', i64.clz)(1n), 63n);
    assert.equal(from('i64', 'i64', i64.ctz)(8n), 3n);
    assert.equal(from('i64', 'i64', i64.popcnt)(-1n), 64n);
    assert.equal(from('i64', 'i32', i64.eqz)(0n), 1);
    assert.equal(from('i64', 'f64', f64.reinterpret)(0x4000000000000000n), 2);
    assert.equal(from('f64', 'i64', i64.reinterpret)(2), 0x4000000000000000n);
    assert.equal(from('f64', 'i64', i64.trunc_sat_f64_s)(Number.NaN), 0n);
    assert.equal(from('f64', 'i64', i64.trunc_sat_f64_u)(1e30), -1n);
    assert.equal(from('f64', 'i32', i32.trunc_sat_f64_s)(-1e30), -0x80000000);
    assert.equal(from('f64', 'i32', i32.trunc_sat_f64_u)(3e9), 3e9 | 0);
    assert.equal(from('f64', 'f32', f32.demote)(0.1), Math.fround(0.1));
    assert.equal(from('i64', 'f64', f64.convert_i64_u)(-1n), 2 ** 64);
  });

  test('floats', () => {
    assert.equal(binary('f64', 'f64', f64.div)(1, 3), 1 / 3);
    assert.equal(binary('f64', 'f64', f64.min)(-0, 0), -0);
    assert.equal(binary('f32', 'f32', f32.mul)(3, 0.1), Math.fround(3 * Math.fround(0.1)));
    assert.equal(binary('f64', 'i32', f64.lt)(1, Number.NaN), 0);
    assert.equal(build([], 'f64', (code) => code.return(f64.const(0.1))).f(), 0.1);
    assert.equal(binary('f64', 'f64', (a, b) => f64.sub(f64.sqrt(a), b))(9, 1), 2);
    assert.equal(build([], 'f32', (code) => code.return(f32.const(0.1))).f(), Math.fround(0.1));
    assert.equal(binary('f32', 'f32', (a, b) => f32.copysign(f32.neg(a), f32.abs(b)))(2, -1), 2);
    const wholes = { ceil: -2, floor: -3, trunc: -2, nearest: -2, neg: 2.5, abs: 2.5 } as const;
    for (const [name, expected] of Object.entries(wholes)) {
      const f = binary('f64', 'f64', (a) => f64[name as keyof typeof wholes](a));
      assert.equal(f(-2.5, 0), expected, name);
    }
    assert.equal(binary('f64', 'f64', f64.copysign)(1, -3), -1);
    assert.equal(binary('f64', 'f64', (a, b) => f64.relaxedMultiplyAdd(a, b, f64.const(0.5)))(3, 7), 21.5);
    assert.equal(binary('f32', 'f32', (a, b) => f32.relaxedMultiplyAdd(a, b, f32.const(0.5)))(3, 7), 21.5);
  });

  test('select takes the first when the condition is not 0', () => {
    const { f } = build(['i32'], 'i64', (code) =>
      code.return(select(code.parameter(0, 'i32').get, i64.const(10), i64.const(20))),
    );
    assert.deepEqual([f(0), f(1), f(-2)], [20n, 10n, 10n]);
  });
});
