import type { FloatFormat, FloatOperation } from '../isa/context.ts';
import { call, type FunctionReference, i32, type ModuleBuilder } from '../wasm/index.ts';
import type { Imports } from './emit.ts';
import { add, multiplyOrDivide, squareRoot } from './float/arithmetic.ts';
import { classify, compare, minMax } from './float/compare.ts';
import { convertFormat, fromInteger, INTEGERS, toInteger } from './float/convert.ts';
import { fusesMultiplyAdd } from './float/hardware.ts';
import { multiplyAdd } from './float/multiply-add.ts';
import { declareSpecial, defineSpecial, NativeFunction, type SpecialFunctions } from './float/native.ts';
import { FloatOp, FormatNumber } from './softfloat/index.ts';

/**
 * Floating-point operations: WebAssembly's own arithmetic where its result is the right one and the flags can be told,
 * the exact arithmetic of the embedder for the rest. What is left to it: results that are inexact in another rounding mode
 * than to nearest even, and doubles at the border of underflow or made of subnormal numbers.
 */

interface Operation {
  /** Number of the exact operation, or the numbers by format. */
  readonly exact: number | Record<FloatFormat, number>;
  /** Writes the attempts at a native result: each returns from the function when it has one. */
  readonly attempt: (n: NativeFunction, fuses: boolean) => void;
}

const OPERATIONS: Record<FloatOperation, Operation> = {
  add: { exact: FloatOp.FADD, attempt: (n) => add(n, false) },
  sub: { exact: FloatOp.FSUB, attempt: (n) => add(n, true) },
  mul: { exact: FloatOp.FMUL, attempt: (n) => multiplyOrDivide(n, 'mul') },
  div: { exact: FloatOp.FDIV, attempt: (n) => multiplyOrDivide(n, 'div') },
  sqrt: { exact: FloatOp.FSQRT, attempt: squareRoot },
  madd: { exact: FloatOp.FMADD, attempt: multiplyAdd },
  min: { exact: FloatOp.FMIN, attempt: (n) => minMax(n, 'min') },
  max: { exact: FloatOp.FMAX, attempt: (n) => minMax(n, 'max') },
  eq: { exact: FloatOp.FEQ, attempt: (n) => compare(n, 'eq') },
  lt: { exact: FloatOp.FLT, attempt: (n) => compare(n, 'lt') },
  le: { exact: FloatOp.FLE, attempt: (n) => compare(n, 'le') },
  classify: { exact: FloatOp.FCLASS, attempt: classify },
  to_w: { exact: FloatOp.FCVT_W, attempt: (n) => toInteger(n, INTEGERS.w) },
  to_wu: { exact: FloatOp.FCVT_WU, attempt: (n) => toInteger(n, INTEGERS.wu) },
  to_l: { exact: FloatOp.FCVT_L, attempt: (n) => toInteger(n, INTEGERS.l) },
  to_lu: { exact: FloatOp.FCVT_LU, attempt: (n) => toInteger(n, INTEGERS.lu) },
  from_w: { exact: FloatOp.FCVT_FROM_W, attempt: (n) => fromInteger(n, INTEGERS.w) },
  from_wu: { exact: FloatOp.FCVT_FROM_WU, attempt: (n) => fromInteger(n, INTEGERS.wu) },
  from_l: { exact: FloatOp.FCVT_FROM_L, attempt: (n) => fromInteger(n, INTEGERS.l) },
  from_lu: { exact: FloatOp.FCVT_FROM_LU, attempt: (n) => fromInteger(n, INTEGERS.lu) },
  from_other: { exact: { S: FloatOp.FCVT_S_D, D: FloatOp.FCVT_D_S }, attempt: convertFormat },
};

/** Operations that have no rounding mode. */
export const UNROUNDED: ReadonlySet<FloatOperation> = new Set(['min', 'max', 'eq', 'lt', 'le', 'classify']);

export interface FloatFunctions {
  /** For each operation and format a function (hart, rounding mode, a, b, c) -> bits. */
  readonly operations: ReadonlyMap<string, FunctionReference>;
  readonly special: SpecialFunctions;
}

const key = (operation: FloatOperation, format: FloatFormat): string => operation + format;

export function floatFunction(f: FloatFunctions, operation: FloatOperation, format: FloatFormat): FunctionReference {
  return f.operations.get(key(operation, format))!;
}

export function declareFloat(module: ModuleBuilder): FloatFunctions {
  const operations = new Map<string, FunctionReference>();
  for (const operation of Object.keys(OPERATIONS) as FloatOperation[]) {
    for (const format of ['S', 'D'] as const) {
      operations.set(
        key(operation, format),
        module.declare(['i32', 'i32', 'i64', 'i64', 'i64'], 'i64', key(operation, format)),
      );
    }
  }
  return { operations, special: declareSpecial(module) };
}

/** @param fuses whether `relaxedMultiplyAdd` rounds once in the engine that will run the module */
export function defineFloat(
  module: ModuleBuilder,
  functions: FloatFunctions,
  imports: Pick<Imports, 'float'>,
  fuses = fusesMultiplyAdd(),
): void {
  defineSpecial(module, functions.special);
  for (const operation of Object.keys(OPERATIONS) as FloatOperation[]) {
    for (const format of ['S', 'D'] as const) {
      module.define(floatFunction(functions, operation, format), (code) => {
        const native = new NativeFunction(code, format, functions.special);
        const { exact, attempt } = OPERATIONS[operation];
        attempt(native, fuses);
        code.return(
          call(
            'i64',
            imports.float,
            i32.const(typeof exact === 'number' ? exact : exact[format]),
            i32.const(FormatNumber[format]),
            native.rm,
            native.a,
            native.b,
            native.c,
          ),
        );
        code.unreachable();
      });
    }
  }
}
