import type { FloatFormat, FloatOperation } from '../isa/context.ts';
import {
  call,
  type F32,
  type F64,
  type FunctionBuilder,
  type FunctionReference,
  f32,
  f64,
  type I32,
  type I64,
  i32,
  i64,
  type ModuleBuilder,
} from '../wasm/index.ts';
import { HartFields, type Imports } from './emit.ts';
import { FloatOp, FormatNumber, RoundingMode } from './softfloat/index.ts';

/**
 * Floating-point operations: WebAssembly's own arithmetic where its result is the right one and the flags are known,
 * the exact arithmetic of the embedder for the rest.
 *
 * Native results round to nearest even. They are taken when the rounding mode is that one and
 *  - no flag can be due (the result is exact), or
 *  - inexact is already set in fflags and no other flag can be due (operands and result are ordinary numbers).
 */

const NX = 1;
/** Numbers of the exact operations. */
const EXACT: Record<FloatOperation, readonly [single: number, double: number]> = {
  add: [FloatOp.FADD, FloatOp.FADD],
  sub: [FloatOp.FSUB, FloatOp.FSUB],
  mul: [FloatOp.FMUL, FloatOp.FMUL],
  div: [FloatOp.FDIV, FloatOp.FDIV],
  sqrt: [FloatOp.FSQRT, FloatOp.FSQRT],
  madd: [FloatOp.FMADD, FloatOp.FMADD],
  min: [FloatOp.FMIN, FloatOp.FMIN],
  max: [FloatOp.FMAX, FloatOp.FMAX],
  eq: [FloatOp.FEQ, FloatOp.FEQ],
  lt: [FloatOp.FLT, FloatOp.FLT],
  le: [FloatOp.FLE, FloatOp.FLE],
  classify: [FloatOp.FCLASS, FloatOp.FCLASS],
  to_w: [FloatOp.FCVT_W, FloatOp.FCVT_W],
  to_wu: [FloatOp.FCVT_WU, FloatOp.FCVT_WU],
  to_l: [FloatOp.FCVT_L, FloatOp.FCVT_L],
  to_lu: [FloatOp.FCVT_LU, FloatOp.FCVT_LU],
  from_w: [FloatOp.FCVT_FROM_W, FloatOp.FCVT_FROM_W],
  from_wu: [FloatOp.FCVT_FROM_WU, FloatOp.FCVT_FROM_WU],
  from_l: [FloatOp.FCVT_FROM_L, FloatOp.FCVT_FROM_L],
  from_lu: [FloatOp.FCVT_FROM_LU, FloatOp.FCVT_FROM_LU],
  from_other: [FloatOp.FCVT_S_D, FloatOp.FCVT_D_S],
};

/** Operations that have no rounding mode. */
export const UNROUNDED: ReadonlySet<FloatOperation> = new Set(['min', 'max', 'eq', 'lt', 'le', 'classify']);

export type FloatFunctions = ReadonlyMap<string, FunctionReference>;

const key = (operation: FloatOperation, format: FloatFormat): string => operation + format;

export function floatFunction(f: FloatFunctions, operation: FloatOperation, format: FloatFormat): FunctionReference {
  return f.get(key(operation, format))!;
}

/** For each operation and format a function (hart, rounding mode, a, b, c) -> bits. */
export function declareFloat(module: ModuleBuilder): FloatFunctions {
  const functions = new Map<string, FunctionReference>();
  for (const operation of Object.keys(EXACT) as FloatOperation[]) {
    for (const format of ['S', 'D'] as const) {
      const name = key(operation, format);
      functions.set(name, module.declare(['i32', 'i32', 'i64', 'i64', 'i64'], 'i64', name));
    }
  }
  return functions;
}

export function defineFloat(module: ModuleBuilder, functions: FloatFunctions, imports: Imports): void {
  for (const operation of Object.keys(EXACT) as FloatOperation[]) {
    for (const format of ['S', 'D'] as const) {
      module.define(floatFunction(functions, operation, format), (code) => {
        const native = new Native(code, format);
        native.tryNative(operation);
        const number = EXACT[operation][FormatNumber[format]]!;
        code.return(
          call(
            'i64',
            imports.float,
            i32.const(number),
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

/** Writes the native attempts of one function: each returns from the function when its result may be taken. */
class Native {
  readonly code: FunctionBuilder;
  readonly format: FloatFormat;
  readonly h: HartFields;
  readonly rm: I32;
  readonly a: I64;
  readonly b: I64;
  readonly c: I64;

  constructor(code: FunctionBuilder, format: FloatFormat) {
    this.code = code;
    this.format = format;
    this.h = new HartFields(code, code.parameter(0, 'i32').get);
    this.rm = code.parameter(1, 'i32').get;
    this.a = code.parameter(2, 'i64').get;
    this.b = code.parameter(3, 'i64').get;
    this.c = code.parameter(4, 'i64').get;
  }

  tryNative(operation: FloatOperation): void {
    this.#attempts[operation]?.();
  }

  /** Operations that are not here are always left to the exact arithmetic. */
  readonly #attempts: Partial<Record<FloatOperation, () => void>> = {
    add: () => this.#arithmetic('add'),
    sub: () => this.#arithmetic('sub'),
    mul: () => this.#arithmetic('mul'),
    div: () => this.#arithmetic('div'),
    sqrt: () => this.#sqrt(),
    min: () => this.#minMax('min'),
    max: () => this.#minMax('max'),
    eq: () => this.#compare('eq'),
    lt: () => this.#compare('lt'),
    le: () => this.#compare('le'),
    to_w: () =>
      this.#toInteger(-(2 ** 31) - 1, 2 ** 31, (v) => i64.extend_i32_s(i32.trunc_sat_f64_s(v)), f64.convert_i64_s),
    to_wu: () =>
      this.#toInteger(
        -1,
        2 ** 32,
        (v) => i64.extend_i32_s(i32.trunc_sat_f64_u(v)),
        (i) => f64.convert_i32_u(i32.wrap(i)),
      ),
    // The next double below -(2^63): the range is open.
    to_l: () => this.#toInteger(-(2 ** 63) - 2 ** 11, 2 ** 63, i64.trunc_sat_f64_s, f64.convert_i64_s),
    to_lu: () => this.#toInteger(-1, 2 ** 64, i64.trunc_sat_f64_u, f64.convert_i64_u),
    from_w: () => this.#fromInteger(i64.extend_i32_s(i32.wrap(this.a)), true),
    from_wu: () => this.#fromInteger(i64.extend_i32_u(i32.wrap(this.a)), true),
    from_l: () => this.#fromInteger(this.a, true),
    from_lu: () => this.#fromInteger(this.a, false),
    from_other: () => this.#convertFormat(),
  };

  get #nearest(): I32 {
    return i32.eqz(this.rm);
  }

  get #inexactSet(): I32 {
    return i32.and(this.h.get32('fcsr'), i32.const(NX));
  }

  #value64(bits: I64): F64 {
    return this.format === 'D' ? f64.reinterpret(bits) : f64.promote(f32.reinterpret(i32.wrap(bits)));
  }

  #single(bits: I64): F32 {
    return f32.reinterpret(i32.wrap(bits));
  }

  #returnIf(condition: I32, bits: I64): void {
    this.code.if(condition, () => this.code.return(bits));
  }

  /** Neither infinite nor NaN. */
  #finite(bits: I64): I32 {
    const [mask, mantissa] = this.format === 'D' ? [0x7ffn, 52] : [0xffn, 23];
    return i64.ne(i64.and(i64.shr_u(bits, i64.const(mantissa)), i64.const(mask)), i64.const(mask));
  }

  /** Finite and well above the smallest normal number: underflow is not in question. */
  #ordinary(bits: I64): I32 {
    const [mask, mantissa] = this.format === 'D' ? [0x7ffn, 52] : [0xffn, 23];
    const exponent = i64.and(i64.shr_u(bits, i64.const(mantissa)), i64.const(mask));
    return i64.lt_u(i64.sub(exponent, i64.const(2)), i64.const(mask - 2n));
  }

  #take(operation: 'add' | 'sub' | 'mul' | 'div', bits: I64, exact: I32 | undefined): void {
    // A sum that is subnormal or zero is exact, so that it raises nothing either.
    const sum = operation === 'add' || operation === 'sub';
    const harmless = sum ? this.#finite(bits) : this.#ordinary(bits);
    const inexactSet = exact === undefined ? this.#inexactSet : i32.or(this.#inexactSet, exact);
    this.#returnIf(i32.and(i32.and(this.#nearest, harmless), inexactSet), bits);
  }

  #arithmetic(operation: 'add' | 'sub' | 'mul' | 'div'): void {
    if (this.format === 'D') this.#arithmeticD(operation);
    else this.#arithmeticS(operation);
  }

  #arithmeticD(operation: 'add' | 'sub' | 'mul' | 'div'): void {
    const { code } = this;
    const a = code.local('f64', f64.reinterpret(this.a)).get;
    const plainB = f64.reinterpret(this.b);
    const b = code.local(
      'f64',
      operation === 'sub' ? f64.reinterpret(i64.xor(this.b, i64.const(1n << 63n))) : plainB,
    ).get;
    const result = code.local('f64', operation === 'sub' ? f64.add(a, b) : f64[operation](a, b)).get;
    const bits = code.local('i64', i64.reinterpret(result)).get;
    this.#take(operation, bits, this.#exactD(operation, a, b, result));
  }

  #exactD(operation: string, a: F64, b: F64, result: F64): I32 | undefined {
    const { code } = this;
    if (operation === 'add' || operation === 'sub') {
      // The rounding error of a sum is itself a number (Knuth, The Art of Computer Programming 2, 4.2.2).
      const shadow = code.local('f64', f64.sub(result, a)).get;
      const error = f64.add(f64.sub(a, f64.sub(result, shadow)), f64.sub(b, shadow));
      return f64.eq(error, f64.const(0));
    }
    if (operation === 'mul') {
      // Two factors of 24 significant bits have an exact product.
      const short = (v: F64): I32 => f64.eq(f64.promote(f32.demote(v)), v);
      return i32.and(short(a), short(b));
    }
    return undefined;
  }

  #arithmeticS(operation: 'add' | 'sub' | 'mul' | 'div'): void {
    const { code } = this;
    const a = code.local('f32', this.#single(this.a)).get;
    const b = code.local('f32', this.#single(this.b)).get;
    const result = code.local('f32', f32[operation](a, b)).get;
    const bits = code.local('i64', i64.extend_i32_u(i32.reinterpret(result))).get;
    // In double precision a product of singles is exact.
    const wide = operation === 'mul' ? f64.mul(f64.promote(a), f64.promote(b)) : undefined;
    this.#take(operation, bits, wide && f64.eq(wide, f64.promote(result)));
  }

  #sqrt(): void {
    const { code } = this;
    const bits =
      this.format === 'D'
        ? code.local('i64', i64.reinterpret(f64.sqrt(f64.reinterpret(this.a)))).get
        : code.local('i64', i64.extend_i32_u(i32.reinterpret(f32.sqrt(this.#single(this.a))))).get;
    this.#returnIf(i32.and(i32.and(this.#nearest, this.#inexactSet), this.#ordinary(bits)), bits);
  }

  #ordered(): { a: F64; b: F64; ordered: I32 } {
    const a = this.code.local('f64', this.#value64(this.a)).get;
    const b = this.code.local('f64', this.#value64(this.b)).get;
    return { a, b, ordered: i32.and(f64.eq(a, a), f64.eq(b, b)) };
  }

  #minMax(operation: 'min' | 'max'): void {
    const { a, b, ordered } = this.#ordered();
    const value = f64[operation](a, b);
    const bits = this.format === 'D' ? i64.reinterpret(value) : i64.extend_i32_u(i32.reinterpret(f32.demote(value)));
    this.#returnIf(ordered, bits);
  }

  #compare(operation: 'eq' | 'lt' | 'le'): void {
    const { a, b, ordered } = this.#ordered();
    this.#returnIf(ordered, i64.extend_i32_u(f64[operation](a, b)));
  }

  /** Within the open range the truncated value is representable; it is exact if it converts back to the operand. */
  #toInteger(above: number, below: number, truncate: (v: F64) => I64, back: (v: I64) => F64): void {
    const { code } = this;
    const value = code.local('f64', this.#value64(this.a)).get;
    const inRange = i32.and(f64.gt(value, f64.const(above)), f64.lt(value, f64.const(below)));
    const result = code.local('i64', truncate(value)).get;
    const exact = f64.eq(back(result), value);
    const truncates = i32.and(i32.eq(this.rm, i32.const(RoundingMode.RTZ)), this.#inexactSet);
    this.#returnIf(i32.and(inRange, i32.or(exact, truncates)), result);
  }

  #fromInteger(value: I64, signed: boolean): void {
    const significant = this.format === 'D' ? 53n : 24n;
    const limit = 1n << significant;
    const small = signed
      ? i64.le_u(i64.add(value, i64.const(limit)), i64.const(2n * limit))
      : i64.le_u(value, i64.const(limit));
    const rounded = i32.and(this.#nearest, this.#inexactSet);
    let bits: I64;
    if (this.format === 'D') bits = i64.reinterpret(signed ? f64.convert_i64_s(value) : f64.convert_i64_u(value));
    else {
      const single = signed ? f32.convert_i64_s(value) : f32.convert_i64_u(value);
      bits = i64.extend_i32_u(i32.reinterpret(single));
    }
    this.#returnIf(i32.or(small, rounded), bits);
  }

  #convertFormat(): void {
    const { code } = this;
    if (this.format === 'D') {
      const single = code.local('f32', this.#single(this.a)).get;
      this.#returnIf(f32.eq(single, single), i64.reinterpret(f64.promote(single)));
      return;
    }
    const double = code.local('f64', f64.reinterpret(this.a)).get;
    const single = code.local('f32', f32.demote(double)).get;
    const bits = code.local('i64', i64.extend_i32_u(i32.reinterpret(single))).get;
    const exact = f64.eq(f64.promote(single), double);
    const rounded = i32.and(i32.and(this.#nearest, this.#inexactSet), this.#ordinary(bits));
    this.#returnIf(i32.or(exact, rounded), bits);
  }
}
