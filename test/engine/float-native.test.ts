/**
 * The float functions of the engine against the exact arithmetic, in results and flags: operands at which arithmetic goes
 * wrong, all operations, formats and rounding modes, with any flags set before, with and without a fused multiply-add of
 * the processor. BALLONET_FLOAT_CASES=1000000 draws a million operands for each function instead of 8000,
 * BALLONET_FLOAT_SEED others.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fusesMultiplyAdd } from '../../src/engine/float/hardware.ts';
import { declareFloat, defineFloat } from '../../src/engine/float.ts';
import { floatOp, lastFlags, RoundingMode } from '../../src/engine/softfloat/index.ts';
import { offset32, offset64 } from '../../src/engine/state.ts';
import type { FloatFormat, FloatOperation } from '../../src/isa/context.ts';
import { MSTATUS } from '../../src/isa/fields.ts';
import { ModuleBuilder } from '../../src/wasm/index.ts';
import { CASES, casesOf, drawState, exactly, isModerate, OPERATIONS } from './float-exact.ts';

const FCSR = offset32('fcsr') / 4;
const MSTATUS_INDEX = offset64('mstatus') / 8;
const { RNE } = RoundingMode;

type FloatFunction = (hart: number, mode: number, a: bigint, b: bigint, c: bigint) => bigint;

/** The float functions alone, with a hart area at address 0. */
class FloatUnit {
  readonly #memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  readonly #words = new Int32Array(this.#memory.buffer);
  readonly #fields = new BigUint64Array(this.#memory.buffer);
  readonly #exports: Record<string, FloatFunction>;
  /** Whether the exact arithmetic was asked for the last result. */
  leftWasm = false;

  constructor(fuses: boolean) {
    const module = new ModuleBuilder();
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

function compareWithExact(unit: FloatUnit, operation: FloatOperation, format: FloatFormat): void {
  const f = unit.function(operation, format);
  const cases = casesOf(operation, format);
  for (let i = 0; i < CASES; i++) {
    const operands = cases.operands(operation);
    const { mode, flags } = drawState(cases, operation);
    unit.reset(flags);
    const result = BigInt.asUintN(64, f(0, mode, ...operands));
    const seen = unit.flags;
    const { expected, raised } = exactly(operation, format, mode, operands);
    const wrong = (what: string): never =>
      assert.fail(
        `${operation} ${format} of ${operands.map((bits) => bits.toString(16))}, mode ${mode}, flags ${flags}: ${what}; ` +
          `${result.toString(16)} for ${expected.toString(16)}, flags ${seen} for ${flags | raised}, FS ${unit.fs}`,
      );
    if (result !== expected) wrong('another result');
    if (seen !== (flags | raised)) wrong('other flags');
    if (seen !== flags && unit.fs !== 3n) wrong('FS has to be Dirty');
    if (raised === 0 && unit.fs !== 2n) wrong('FS has to stay Clean');
    if (unit.leftWasm && mode === RNE && isModerate(operands, format, operation)) wrong('it left WebAssembly');
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
