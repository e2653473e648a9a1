import type { FloatFormat, FloatOperation } from '../../isa/context.ts';
import {
  type Expr,
  type F32,
  type F64,
  type FunctionBuilder,
  f32,
  f64,
  type I32,
  type I64,
  i32,
  i64,
  select,
  type ValType,
} from '../../wasm/index.ts';
import { FloatFlag, RoundingMode } from '../softfloat/index.ts';
import { classOf } from './compare.ts';
import { INTEGERS, type IntegerType } from './convert.ts';
import { fusesMultiplyAdd } from './hardware.ts';
import { isBelow, isOrdinaryBelow, LIMIT } from './patterns.ts';

/**
 * The usual case of a float operation, for code that has its operands at hand: one or a few operators and one condition,
 * under which the result is right and has no news for fflags. Where the condition does not hold, and for what has no
 * usual case, the function of the operation (`floatFunction`) is to be called.
 *
 *     const inlined = inlineFloat(code, 'add', 'D', [a, b], { mode, limit });
 *     code.if(inlined.usable, () => code.set(rd, inlined.result), () => code.set(rd, ...call...));
 *
 * `limit` is `floatLimit` of fcsr. A call may set flags, and a CSR instruction write any: it has to be read again then.
 */

export interface Inlined {
  /** A float of the format; an integer as it stands in a register for comparisons, classes, and what converts to one. */
  readonly result: F64 | F32 | I64;
  /** Its `constant` is 1 if the result is always usable. */
  readonly usable: I32;
}

export interface InlineOptions {
  /** The rm field of the instruction: a static mode, or 7. That frm is not a reserved one is for the caller to see to. */
  readonly mode: number;
  readonly limit: I64;
  /** Whether `relaxedMultiplyAdd` rounds once where the code is to run. */
  readonly fuses?: boolean;
}

const DYNAMIC = 7;
const ALWAYS = i32.const(1);

/** Not 0 if frm is to nearest even and inexact is set, so that finite results have no news but for underflow. */
export function floatLimit(fcsr: I32): I64 {
  const state = i32.and(fcsr, i32.const(0xe0 | FloatFlag.NX));
  return select(i32.eq(state, i32.const(FloatFlag.NX)), i64.const(LIMIT), i64.const(0));
}

/** An operation that is being written. */
interface Inlining extends InlineOptions {
  readonly code: FunctionBuilder;
  readonly format: FloatFormat;
  readonly operands: readonly Expr<ValType>[];
}

const local = <T extends ValType>(n: Inlining, value: Expr<T>): Expr<T> => n.code.local(value.type, value).get;

const isDouble = (value: F64 | F32 | I64): value is F64 => value.type === 'f64';

/** A float as a double. */
const asDouble = (value: F64 | F32): F64 => (isDouble(value) ? value : f64.promote(value as F32));

/** The bits of a float, a single's in the low half. */
const bitsOf = (value: F64 | F32): I64 =>
  isDouble(value) ? i64.reinterpret(value) : i64.extend_i32_u(i32.reinterpret(value as F32));

/** Rounds to nearest, if the limit is not 0. */
const isNearest = ({ mode }: Inlining): boolean => mode === RoundingMode.RNE || mode === DYNAMIC;

/** A value that was rounded to nearest. */
function rounded(n: Inlining, value: F64 | F32, test: typeof isBelow): Inlined | undefined {
  if (!isNearest(n)) return undefined;
  const result = local(n, value as F64);
  return { result, usable: test(n.format, bitsOf(result), n.limit) };
}

type Operators = Record<'add' | 'sub' | 'mul' | 'div' | 'min' | 'max', (a: F64, b: F64) => F64> &
  Record<'eq' | 'lt' | 'le', (a: F64, b: F64) => I32> &
  Record<'sqrt', (a: F64) => F64> & { relaxedMultiplyAdd(a: F64, b: F64, c: F64): F64 };

/** The operators of the format. Operands and results are singles in fact if that is the format. */
const operators = ({ format }: Inlining): Operators => (format === 'D' ? f64 : (f32 as unknown as Operators));

const floats = ({ operands }: Inlining): readonly [F64, F64, F64] => operands as unknown as [F64, F64, F64];

/** A sum that is subnormal or zero is exact. */
const sum =
  (operation: 'add' | 'sub') =>
  (n: Inlining): Inlined | undefined => {
    const [a, b] = floats(n);
    return rounded(n, operators(n)[operation](a, b), isBelow);
  };

const product =
  (operation: 'mul' | 'div') =>
  (n: Inlining): Inlined | undefined => {
    const [a, b] = floats(n);
    return rounded(n, operators(n)[operation](a, b), isOrdinaryBelow);
  };

const squareRoot = (n: Inlining): Inlined | undefined => rounded(n, operators(n).sqrt(floats(n)[0]), isBelow);

function multiplyAdd(n: Inlining): Inlined | undefined {
  if (!(n.fuses ?? fusesMultiplyAdd())) return undefined;
  return rounded(n, operators(n).relaxedMultiplyAdd(...floats(n)), isOrdinaryBelow);
}

/** WebAssembly's minimum and maximum are NaN if an operand is. */
const minMax =
  (operation: 'min' | 'max') =>
  (n: Inlining): Inlined => {
    const [a, b] = floats(n);
    const result = local(n, operators(n)[operation](a, b));
    return { result, usable: operators(n).eq(result, result) };
  };

/** The sum is NaN if an operand is, and seldom otherwise: for infinities of both signs. */
const compare =
  (operation: 'eq' | 'lt' | 'le') =>
  (n: Inlining): Inlined => {
    const [a, b] = floats(n);
    const both = local(n, operators(n).add(a, b));
    const result = local(n, i64.extend_i32_u(operators(n)[operation](a, b)));
    return { result, usable: operators(n).eq(both, both) };
  };

const classify = (n: Inlining): Inlined => ({
  result: local(n, classOf(n.format, local(n, bitsOf(floats(n)[0])))),
  usable: ALWAYS,
});

const TO_WHOLE: Readonly<Record<number, (value: F64) => F64>> = {
  [RoundingMode.RNE]: f64.nearest,
  [DYNAMIC]: f64.nearest,
  [RoundingMode.RTZ]: f64.trunc,
  [RoundingMode.RDN]: f64.floor,
  [RoundingMode.RUP]: f64.ceil,
};

const patternOf = (value: number): bigint => new BigInt64Array(new Float64Array([value]).buffer)[0]!;

/** As unsigned numbers, the patterns of negative doubles are above those of positive ones. */
const toInteger =
  (type: IntegerType) =>
  (n: Inlining): Inlined | undefined => {
    const toWhole = TO_WHOLE[n.mode];
    if (toWhole === undefined) return undefined;
    const whole = local(n, toWhole(asDouble(floats(n)[0])));
    const bits = i64.reinterpret(whole);
    const beyond = patternOf(type.beyond);
    const inRange = type.signed
      ? i64.lt_u(i64.shl(bits, i64.const(1)), i64.const(beyond << 1n))
      : i64.lt_u(bits, i64.const(beyond));
    return { result: local(n, type.fromWhole(whole)), usable: i32.and(inRange, i64.ne(n.limit, i64.const(0))) };
  };

/** Up to 2^53, or 2^24, integers are floats in any mode. */
const fromInteger =
  (type: IntegerType) =>
  (n: Inlining): Inlined => {
    const integer = local(n, type.read(n.operands[0] as I64));
    const { format } = n;
    const convert = format === 'D' ? f64 : (f32 as unknown as typeof f64);
    const result = local(n, type.signed ? convert.convert_i64_s(integer) : convert.convert_i64_u(integer));
    const most = 2 ** (format === 'D' ? 53 : 24);
    if (type.beyond <= most) return { result, usable: ALWAYS };
    const isSmall = type.signed
      ? i64.le_u(i64.add(integer, i64.const(most)), i64.const(2 * most))
      : i64.le_u(integer, i64.const(most));
    return { result, usable: isNearest(n) ? i32.or(isSmall, i64.ne(n.limit, i64.const(0))) : isSmall };
  };

function convertFormat(n: Inlining): Inlined | undefined {
  if (n.format === 'S') return rounded(n, f32.demote(n.operands[0] as F64), isOrdinaryBelow);
  const result = local(n, f64.promote(n.operands[0] as F32));
  return { result, usable: f64.eq(result, result) };
}

const WRITERS: Record<FloatOperation, (n: Inlining) => Inlined | undefined> = {
  add: sum('add'),
  sub: sum('sub'),
  mul: product('mul'),
  div: product('div'),
  sqrt: squareRoot,
  madd: multiplyAdd,
  min: minMax('min'),
  max: minMax('max'),
  eq: compare('eq'),
  lt: compare('lt'),
  le: compare('le'),
  classify,
  to_w: toInteger(INTEGERS.w),
  to_wu: toInteger(INTEGERS.wu),
  to_l: toInteger(INTEGERS.l),
  to_lu: toInteger(INTEGERS.lu),
  from_w: fromInteger(INTEGERS.w),
  from_wu: fromInteger(INTEGERS.wu),
  from_l: fromInteger(INTEGERS.l),
  from_lu: fromInteger(INTEGERS.lu),
  from_other: convertFormat,
};

/**
 * Writes the operators of a float operation.
 * @param operands locals: f64 or f32 by the format (of the other format for `from_other`), i64 for what is from integers
 * @returns undefined if there is nothing to inline
 */
export function inlineFloat(
  code: FunctionBuilder,
  operation: FloatOperation,
  format: FloatFormat,
  operands: readonly Expr<ValType>[],
  options: InlineOptions,
): Inlined | undefined {
  return WRITERS[operation]({ ...options, code, format, operands });
}
