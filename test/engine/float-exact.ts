import { UNROUNDED } from '../../src/engine/float.ts';
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
import type { FloatFormat, FloatOperation } from '../../src/isa/context.ts';
import { HardCases, type Operands } from './float-cases.ts';

/** Operands drawn for each function. */
export const CASES = Number(process.env.BALLONET_FLOAT_CASES ?? 8000);
const SEED = Number(process.env.BALLONET_FLOAT_SEED ?? 1);

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
export const OPERATIONS = Object.keys(EXACT) as FloatOperation[];

const operandFormat = (operation: FloatOperation, format: FloatFormat): FloatFormat =>
  operation === 'from_other' ? (format === 'S' ? 'D' : 'S') : format;

export const casesOf = (operation: FloatOperation, format: FloatFormat): HardCases =>
  new HardCases(operandFormat(operation, format) === 'S' ? BINARY32 : BINARY64, SEED);

/** The result of the exact arithmetic and the flags that it raises. */
export function exactly(
  operation: FloatOperation,
  format: FloatFormat,
  mode: number,
  operands: Operands,
): { expected: bigint; raised: number } {
  const name = EXACT[operation];
  const number = FloatOp[typeof name === 'string' ? name : name[format]];
  const expected = floatOp(number, FormatNumber[format], mode, ...operands);
  return { expected, raised: lastFlags() };
}

/** In most cases the mode is to nearest, and inexact is set in half of them. */
export function drawState(cases: HardCases, operation: FloatOperation): { mode: number; flags: number } {
  const { bits } = cases;
  const mode = UNROUNDED.has(operation) || bits.between(0, 2) > 0 ? RoundingMode.RNE : bits.between(0, 4);
  return { mode, flags: bits.pick([0, 1, 0, 1, 3, bits.between(0, 31)]) };
}

/** Whether exponents are so far from both ends that no operation with doubles can come near them. */
export function isModerate(operands: Operands, format: FloatFormat, operation: FloatOperation): boolean {
  if (operandFormat(operation, format) === 'S') return true;
  return operands.every((bits) => {
    const exponent = Number(bits >> 52n) & 0x7ff;
    return bits === 0n || (exponent > 600 && exponent < 1450);
  });
}
