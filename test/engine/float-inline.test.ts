/**
 * What translated code computes without a call, against the exact arithmetic: whenever a result is said to be usable, it
 * is the right one and raises nothing that is not set; and it is usable in the usual case. More cases and others as in
 * float-native.test.ts.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fusesMultiplyAdd } from '../../src/engine/float/hardware.ts';
import { floatLimit, inlineFloat } from '../../src/engine/float/inline.ts';
import { UNROUNDED } from '../../src/engine/float.ts';
import { FloatFlag, RoundingMode } from '../../src/engine/softfloat/index.ts';
import type { FloatFormat, FloatOperation } from '../../src/isa/context.ts';
import { type Expr, f32, f64, type I64, i32, i64, ModuleBuilder, type ValType } from '../../src/wasm/index.ts';
import { CASES, casesOf, drawState, exactly, isModerate, OPERATIONS } from './float-exact.ts';

const { NX } = FloatFlag;
const { RNE, RTZ, RMM } = RoundingMode;
const DYNAMIC = 7;
const MODES = [0, 1, 2, 3, 4, DYNAMIC];
const CASES_OF_MODE = CASES / 8;

type InlineFunction = (fcsr: number, a: bigint, b: bigint, c: bigint) => bigint;

function operandOf(operation: FloatOperation, format: FloatFormat, bits: I64): Expr<ValType> {
  if (operation.startsWith('from_') && operation !== 'from_other') return bits;
  const isDouble = (format === 'D') !== (operation === 'from_other');
  return isDouble ? f64.reinterpret(bits) : f32.reinterpret(i32.wrap(bits));
}

function bitsOf(value: Expr<ValType>): I64 {
  if (value.type === 'f64') return i64.reinterpret(value as Expr<'f64'>);
  return value.type === 'i64' ? (value as I64) : i64.extend_i32_u(i32.reinterpret(value as Expr<'f32'>));
}

/** A function (fcsr, a, b, c) -> bits that stores whether they are usable; undefined if there is nothing to inline. */
function build(operation: FloatOperation, format: FloatFormat, mode: number, fuses: boolean) {
  const module = new ModuleBuilder();
  let inlines = false;
  module.define(module.declare(['i32', 'i64', 'i64', 'i64'], 'i64', 'f'), (code) => {
    const limit = code.local('i64', floatLimit(code.parameter(0, 'i32').get)).get;
    const operands = [1, 2, 3].map((index) => {
      const operand = operandOf(operation, format, code.parameter(index, 'i64').get);
      return code.local(operand.type, operand).get;
    });
    const inlined = inlineFloat(code, operation, format, operands, { mode, limit, fuses });
    inlines = inlined !== undefined;
    if (inlined === undefined) {
      code.unreachable();
      return;
    }
    code.store(4, i32.const(0), inlined.usable);
    code.return(bitsOf(inlined.result));
  });
  if (!inlines) return undefined;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env: { memory } });
  const words = new Int32Array(memory.buffer);
  return { f: instance.exports.f as InlineFunction, isUsable: (): boolean => words[0] !== 0 };
}

const FROM_INTEGERS: ReadonlySet<FloatOperation> = new Set(['from_w', 'from_wu', 'from_l', 'from_lu']);
const TO_INTEGERS: ReadonlySet<FloatOperation> = new Set(['to_w', 'to_wu', 'to_l', 'to_lu']);

/** Whether an operation is inlined in a mode, for results that are exact at least. */
function isInlined(operation: FloatOperation, format: FloatFormat, mode: number, exact: boolean): boolean {
  if (mode === RNE || mode === DYNAMIC || UNROUNDED.has(operation)) return true;
  if (operation === 'from_other') return format === 'D';
  return FROM_INTEGERS.has(operation) ? exact : TO_INTEGERS.has(operation) && mode >= RTZ && mode < RMM;
}

/** Whether a result of operands that are numbers is not near an end of its range. */
function isUsual(operation: FloatOperation, format: FloatFormat, result: bigint): boolean {
  if (TO_INTEGERS.has(operation)) return result > 0n && result < 1n << 31n;
  const [mask, shift] = format === 'D' ? [0x7ff, 52n] : [0xff, 23n];
  const exponent = Number(result >> shift) & mask;
  return exponent > mask / 4 && exponent < (mask * 3) / 4;
}

function compareWithExact(operation: FloatOperation, format: FloatFormat, mode: number, fuses: boolean): number {
  const built = build(operation, format, mode, fuses);
  if (built === undefined) return 0;
  const { f, isUsable } = built;
  const cases = casesOf(operation, format);
  const isNan = (bits: bigint): boolean => format === 'S' && (bits & 0x7fffffffn) > 0x7f800000n;
  let used = 0;
  for (let i = 0; i < CASES_OF_MODE; i++) {
    const operands = cases.operands(operation);
    const state = drawState(cases, operation);
    const frm = mode === DYNAMIC ? state.mode : cases.bits.pick([RNE, state.mode]);
    const result = BigInt.asUintN(64, f((frm << 5) | state.flags, ...operands));
    const { expected, raised } = exactly(operation, format, mode === DYNAMIC ? frm : mode, operands);
    const where = (): string =>
      `${operation} ${format} of ${operands.map((bits) => bits.toString(16))}, frm ${frm}, flags ${state.flags}: ` +
      `${result.toString(16)} for ${expected.toString(16)}, raised ${raised}`;
    if (isUsable()) {
      used++;
      if (result !== expected || (raised & ~state.flags) !== 0) assert.fail(`usable: ${where()}`);
    } else {
      // A NaN loses against a number.
      const isNumber = isModerate(operands, format, operation) && (raised & ~NX) === 0 && !operands.some(isNan);
      const hasLimit = frm === RNE && (state.flags & NX) !== 0 && isInlined(operation, format, mode, false);
      if (isNumber && hasLimit && isUsual(operation, format, expected)) assert.fail(`not usable: ${where()}`);
    }
  }
  return used;
}

describe('inlined', () => {
  for (const operation of OPERATIONS) {
    for (const format of ['S', 'D'] as const) {
      test(`${operation} ${format}`, () => {
        const fuses = fusesMultiplyAdd();
        for (const mode of MODES) {
          const used = compareWithExact(operation, format, mode, fuses);
          const expected = isInlined(operation, format, mode, true) && (operation !== 'madd' || fuses);
          assert.equal(used > CASES_OF_MODE / 10, expected, `mode ${mode}: ${used} of ${CASES_OF_MODE} usable`);
        }
      });
    }
  }

  test('multiply-add is not, where the processor does not fuse', () => {
    for (const format of ['S', 'D'] as const) assert.equal(build('madd', format, DYNAMIC, false), undefined);
  });

  test('what is always usable says so', () => {
    const module = new ModuleBuilder();
    module.define(module.declare(['i64', 'f64'], undefined), (code) => {
      const options = { mode: RNE, limit: i64.const(0) };
      const word = inlineFloat(code, 'from_w', 'D', [code.parameter(0, 'i64').get], options);
      const classes = inlineFloat(code, 'classify', 'D', [code.parameter(1, 'f64').get], options);
      assert.deepEqual([word?.usable.constant, classes?.usable.constant], [1, 1]);
    });
  });
});
