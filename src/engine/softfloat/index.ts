/**
 * Exact IEEE 754 arithmetic for the F and D extensions: every rounding mode, every flag.
 *
 * This is the slow path. The engine's generated code computes natively where a native result is known to be the right
 * one, and comes here for the rest. Operands and results are register images without NaN boxing: an S operand is its
 * 32-bit pattern (higher bits are ignored), and whoever keeps it in a 64-bit register boxes it.
 */
import { add, div, fusedMultiplyAdd, mul, sqrt, sub } from './arithmetic.ts';
import { classify, equal, less, lessOrEqual, minMax } from './compare.ts';
import { convertFormat, fromInteger, toInteger } from './convert.ts';
import { BINARY32, BINARY64, type FlagSink } from './format.ts';
import { FloatOp } from './ops.ts';

export { BINARY32, BINARY64, type FlagSink, type FloatFormat } from './format.ts';
export { FloatFlag, FloatOp, type FloatOpName, FormatNumber, RoundingMode } from './ops.ts';

/** One sink for all calls of a thread; `floatOp` is not reentered. */
const sink: FlagSink = { flags: 0 };

/** Flags raised by the last `floatOp` of this thread, bits as in `fflags`. */
export function lastFlags(): number {
  return sink.flags;
}

/**
 * Carries out one operation.
 *
 * @param op a number of `FloatOp`
 * @param format 0 for S, 1 for D: the format of float operands and result (the two format conversions have their own)
 * @param rm a static rounding mode, 0..4; the caller has resolved DYN and refused the reserved ones
 * @param a @param b @param c operands, signed or unsigned 64-bit; those that the operation does not have are ignored
 * @returns the result's pattern, non-negative: 32 bits for a float of format S, else 64 (words are sign-extended)
 * @throws RangeError for a number that is no operation
 */
export function floatOp(op: number, format: number, rm: number, a: bigint, b: bigint, c: bigint): bigint {
  sink.flags = 0;
  const f = format === 0 ? BINARY32 : BINARY64;
  const { width } = f;
  const x = BigInt.asUintN(width, a);
  switch (op) {
    case FloatOp.FADD:
      return add(f, x, BigInt.asUintN(width, b), rm, sink);
    case FloatOp.FSUB:
      return sub(f, x, BigInt.asUintN(width, b), rm, sink);
    case FloatOp.FMUL:
      return mul(f, x, BigInt.asUintN(width, b), rm, sink);
    case FloatOp.FDIV:
      return div(f, x, BigInt.asUintN(width, b), rm, sink);
    case FloatOp.FSQRT:
      return sqrt(f, x, rm, sink);
    case FloatOp.FMADD:
    case FloatOp.FMSUB:
    case FloatOp.FNMSUB:
    case FloatOp.FNMADD: {
      const negateProduct = op === FloatOp.FNMSUB || op === FloatOp.FNMADD;
      const negateAddend = op === FloatOp.FMSUB || op === FloatOp.FNMADD;
      const factor = negateProduct ? x ^ f.signBit : x;
      const addend = BigInt.asUintN(width, c) ^ (negateAddend ? f.signBit : 0n);
      return fusedMultiplyAdd(f, factor, BigInt.asUintN(width, b), addend, rm, sink);
    }
    case FloatOp.FMIN:
      return minMax(f, x, BigInt.asUintN(width, b), false, sink);
    case FloatOp.FMAX:
      return minMax(f, x, BigInt.asUintN(width, b), true, sink);
    case FloatOp.FEQ:
      return equal(f, x, BigInt.asUintN(width, b), sink) ? 1n : 0n;
    case FloatOp.FLT:
      return less(f, x, BigInt.asUintN(width, b), sink) ? 1n : 0n;
    case FloatOp.FLE:
      return lessOrEqual(f, x, BigInt.asUintN(width, b), sink) ? 1n : 0n;
    case FloatOp.FCLASS:
      return classify(f, x);
    case FloatOp.FCVT_W:
      return BigInt.asUintN(64, toInteger(f, x, 32, true, rm, sink));
    case FloatOp.FCVT_WU:
      return BigInt.asUintN(64, BigInt.asIntN(32, toInteger(f, x, 32, false, rm, sink)));
    case FloatOp.FCVT_L:
      return BigInt.asUintN(64, toInteger(f, x, 64, true, rm, sink));
    case FloatOp.FCVT_LU:
      return toInteger(f, x, 64, false, rm, sink);
    case FloatOp.FCVT_FROM_W:
      return fromInteger(f, BigInt.asIntN(32, a), rm, sink);
    case FloatOp.FCVT_FROM_WU:
      return fromInteger(f, BigInt.asUintN(32, a), rm, sink);
    case FloatOp.FCVT_FROM_L:
      return fromInteger(f, BigInt.asIntN(64, a), rm, sink);
    case FloatOp.FCVT_FROM_LU:
      return fromInteger(f, BigInt.asUintN(64, a), rm, sink);
    case FloatOp.FCVT_S_D:
      return convertFormat(BINARY64, BINARY32, BigInt.asUintN(64, a), rm, sink);
    case FloatOp.FCVT_D_S:
      return convertFormat(BINARY32, BINARY64, BigInt.asUintN(32, a), rm, sink);
    default:
      throw new RangeError(`floatOp: ${op} is no operation of the FloatOp table (0..${FloatOp.FCVT_D_S})`);
  }
}
