/**
 * The float functions of the engine against the exact arithmetic, in results and flags: operands at which arithmetic goes
 * wrong, all operations, formats and rounding modes, with any flags set before, with and without a fused multiply-add of
 * the processor. BALLONET_FLOAT_CASES=1000000 draws a million operands for each function instead of some thousand,
 * BALLONET_FLOAT_SEED others.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fusesMultiplyAdd } from '../../src/engine/float/hardware.ts';
import { declareFloat, defineFloat, UNROUNDED } from '../../src/engine/float.ts';
import {
  BINARY32,
  BINARY64,
  FloatOp,
  type FloatOpName,
  FormatNumber,
  floatOp,
  lastFlags,
  RoundingMode,
} from '../../src/engine/softfloat/index.ts';
import { offset32, offset64 } from '../../src/engine/state.ts';
import type { FloatFormat, FloatOperation } from '../../src/isa/context.ts';
import { MSTATUS } from '../../src/isa/fields.ts';
import { ModuleBuilder } from '../../src/wasm/index.ts';
import { HardCases, type Operands } from './float-cases.ts';

const CASES = Number(process.env.BALLONET_FLOAT_CASES ?? 8000);
const SEED = Number(process.env.BALLONET_FLOAT_SEED ?? 1);

const FCSR = offset32('fcsr') / 4;
const MSTATUS_INDEX = offset64('mstatus') / 8;
const { RNE } = RoundingMode;

type FloatFunction = (hart: number, mode: number, a: bigint, b: bigint, c: bigint) => bigint;

/** The exact operations; of the one that converts from the other format, by the format of the result. */
const EXACT: Record<FloatOperation, FloatOpName | Record<FloatFormat, FloatOpName>> = {
  add: 'FADD',
  sub: 'FSUB',
  mul: 'FMUL',
  div: 'FDIV',
  sqrt: 'FSQRT',
  madd: 'FMADD',
  min: 'FMIN',
  max: 'FMAX',
  eq: 'FEQ',
  lt: 'FLT',
  le: 'FLE',
  classify: 'FCLASS',
  to_w: 'FCVT_W',
  to_wu: 'FCVT_WU',
  to_l: 'FCVT_L',
  to_lu: 'FCVT_LU',
  from_w: 'FCVT_FROM_W',
  from_wu: 'FCVT_FROM_WU',
  from_l: 'FCVT_FROM_L',
  from_lu: 'FCVT_FROM_LU',
  from_other: { S: 'FCVT_S_D', D: 'FCVT_D_S' },
};
const OPERATIONS = Object.keys(EXACT) as FloatOperation[];

/** The float functions alone, with a hart area at address 0. */
class FloatUnit {
  readonly #memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  readonly #words = new Int32Array(this.#memory.buffer);
  readonly #fields = new BigUint64Array(this.#memory.buffer);
  readonly #exports: Record<string, FloatFunction>;
  /** Whether the exact arithmetic was asked for the last result. */
  leftWasm = false;

  constructor(fuses: boolean) {
    const module = new ModuleBuilder(1);
    const float = module.import('float', ['i32', 'i32', 'i32', 'i64', 'i64', 'i64'], 'i64');
    const functions = declareFloat(module);
    defineFloat(module, functions, { float }, fuses);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), {
      env: {
        memory: this.#memory,
        float: (operation: number, format: number, mode: number, a: bigint, b: bigint, c: bigint) => {
          this.leftWasm = true;
          const result = floatOp(operation, format, mode, a, b, c);
          this.#words[FCSR] = this.#words[FCSR]! | lastFlags();
          if (lastFlags() !== 0) this.#fields[MSTATUS_INDEX] = MSTATUS.FS;
          return result;
        },
      },
    });
    this.#exports = instance.exports as Record<string, FloatFunction>;
  }

  get flags(): number {
    return this.#words[FCSR]!;
  }

  /** The FS field of mstatus: 2 Clean, 3 Dirty. */
  get fs(): bigint {
    return (this.#fields[MSTATUS_INDEX]! & MSTATUS.FS) >> 13n;
  }

  function(operation: FloatOperation, format: FloatFormat): FloatFunction {
    return this.#exports[operation + format]!;
  }

  /** Sets fcsr, and FS to Clean. */
  reset(flags: number): void {
    this.leftWasm = false;
    this.#words[FCSR] = flags;
    this.#fields[MSTATUS_INDEX] = 2n << 13n;
  }
}

/** In most cases the mode is to nearest, and inexact is set in half of them. */
function drawState(cases: HardCases, operation: FloatOperation): { mode: number; flags: number } {
  const { bits } = cases;
  const mode = UNROUNDED.has(operation) || bits.between(0, 2) > 0 ? RNE : bits.between(0, 4);
  return { mode, flags: bits.pick([0, 1, 0, 1, 3, bits.between(0, 31)]) };
}

/** Exponents so far from both ends that no operation can come near them. */
function isModerate(format: FloatFormat, operands: Operands): boolean {
  if (format === 'S') return true;
  return operands.every((bits) => {
    const exponent = Number(bits >> 52n) & 0x7ff;
    return bits === 0n || (exponent > 600 && exponent < 1450);
  });
}

function compareWithExact(unit: FloatUnit, operation: FloatOperation, format: FloatFormat): void {
  const f = unit.function(operation, format);
  const name = EXACT[operation];
  const exact = FloatOp[typeof name === 'string' ? name : name[format]];
  const operandFormat = operation === 'from_other' ? (format === 'S' ? 'D' : 'S') : format;
  const cases = new HardCases(operandFormat === 'S' ? BINARY32 : BINARY64, SEED);
  for (let i = 0; i < CASES; i++) {
    const operands = cases.operands(operation);
    const { mode, flags } = drawState(cases, operation);
    unit.reset(flags);
    const result = BigInt.asUintN(64, f(0, mode, ...operands));
    const seen = unit.flags;
    const expected = floatOp(exact, FormatNumber[format], mode, ...operands);
    const raised = lastFlags();
    const wrong = (what: string): never =>
      assert.fail(
        `${operation} ${format} of ${operands.map((bits) => bits.toString(16))}, mode ${mode}, flags ${flags}: ${what}; ` +
          `${result.toString(16)} for ${expected.toString(16)}, flags ${seen} for ${flags | raised}, FS ${unit.fs}`,
      );
    if (result !== expected) wrong('another result');
    if (seen !== (flags | raised)) wrong('other flags');
    if (seen !== flags && unit.fs !== 3n) wrong('FS has to be Dirty');
    if (raised === 0 && unit.fs !== 2n) wrong('FS has to stay Clean');
    if (unit.leftWasm && mode === RNE && isModerate(operandFormat, operands)) wrong('it left WebAssembly');
  }
}

for (const fuses of fusesMultiplyAdd() ? [true, false] : [false]) {
  describe(fuses ? 'with a fused multiply-add of the processor' : 'without one', () => {
    const unit = new FloatUnit(fuses);
    for (const operation of OPERATIONS) {
      for (const format of ['S', 'D'] as const) {
        test(`${operation} ${format}`, () => compareWithExact(unit, operation, format));
      }
    }
  });
}
