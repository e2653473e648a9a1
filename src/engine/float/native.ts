import type { FloatFormat } from '../../isa/context.ts';
import { MSTATUS } from '../../isa/fields.ts';
import {
  call,
  type Expr,
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
  select,
} from '../../wasm/index.ts';
import { HartFields } from '../emit.ts';
import { FloatFlag, RoundingMode } from '../softfloat/index.ts';
import { all, any, CANONICAL_NAN, isInfinite, isNan, isSignalingNan, isZero } from './patterns.ts';

const { NX, UF, OF, NV } = FloatFlag;

/**
 * A single below this magnitude is tiny, that is, it would be less than the smallest normal number if it was rounded
 * as if the exponent had no lower bound: halfway between 2^-126 and the number before it, the even one of which is 2^-126.
 */
const TINY_SINGLE = 2 ** -126 * (1 - 2 ** -25);

/** Functions, one for each format, that finish what has an infinity or a NaN as its result: (hart, result, a, b, c). */
export type SpecialFunctions = Readonly<Record<FloatFormat, FunctionReference>>;

export function declareSpecial(module: ModuleBuilder): SpecialFunctions {
  const declare = (): FunctionReference => module.declare(['i32', 'i64', 'i64', 'i64', 'i64'], 'i64');
  return { S: declare(), D: declare() };
}

export function defineSpecial(module: ModuleBuilder, special: SpecialFunctions): void {
  for (const format of ['S', 'D'] as const) {
    module.define(special[format], (code) => {
      const [result, a, b, c] = [1, 2, 3, 4].map((index) => code.parameter(index, 'i64').get) as [I64, I64, I64, I64];
      const h = new HartFields(code, code.parameter(0, 'i32').get);
      const operands = [a, b, c];
      code.if(isInfinite(format, result), () => {
        code.if(i32.eqz(any(...operands.map((operand) => isInfinite(format, operand)))), () => raise(h, OF | NX));
        code.return(result);
      });
      const invalidProduct = any(
        all(isInfinite(format, a), isZero(format, b)),
        all(isZero(format, a), isInfinite(format, b)),
      );
      const noNan = i32.eqz(any(...operands.map((operand) => isNan(format, operand))));
      const signaling = operands.map((operand) => isSignalingNan(format, operand));
      code.if(any(...signaling, noNan, invalidProduct), () => raise(h, NV));
      code.return(i64.const(CANONICAL_NAN[format]));
      code.unreachable();
    });
  }
}

/** Sets bits of fflags; FS is Dirty then. */
export function raise(h: HartFields, flags: number | I32): void {
  h.set32('fcsr', i32.or(h.get32('fcsr'), typeof flags === 'number' ? i32.const(flags) : flags));
  h.set('mstatus', i64.or(h.get('mstatus'), i64.const(MSTATUS.FS)));
}

/**
 * One operation's function (hart, rounding mode, a, b, c) -> bits while it is written. Attempts at a native result return
 * from it; what comes to the end of all attempts is left to the exact arithmetic.
 */
export class NativeFunction {
  readonly code: FunctionBuilder;
  readonly format: FloatFormat;
  readonly h: HartFields;
  readonly rm: I32;
  /** The operands' bits. */
  readonly a: I64;
  readonly b: I64;
  readonly c: I64;
  readonly #special: FunctionReference;

  constructor(code: FunctionBuilder, format: FloatFormat, special: SpecialFunctions) {
    this.code = code;
    this.format = format;
    this.h = new HartFields(code, code.parameter(0, 'i32').get);
    this.rm = code.parameter(1, 'i32').get;
    this.a = code.parameter(2, 'i64').get;
    this.b = code.parameter(3, 'i64').get;
    this.c = code.parameter(4, 'i64').get;
    this.#special = special[format];
  }

  /** What is to nearest, as WebAssembly's operators are. */
  get nearest(): I32 {
    return i32.eqz(this.rm);
  }

  get inexactSet(): I32 {
    return i32.and(this.h.get32('fcsr'), i32.const(NX));
  }

  /** Inexact and underflow are set: a finite native result has no news for fflags. */
  get underflowSet(): I32 {
    return i32.eq(i32.and(this.h.get32('fcsr'), i32.const(NX | UF)), i32.const(NX | UF));
  }

  mode(mode: keyof typeof RoundingMode): I32 {
    return i32.eq(this.rm, i32.const(RoundingMode[mode]));
  }

  local<T extends 'i32' | 'i64' | 'f32' | 'f64'>(value: Expr<T>): Expr<T> {
    return this.code.local(value.type, value).get;
  }

  double(bits: I64): F64 {
    return this.local(f64.reinterpret(bits));
  }

  single(bits: I64): F32 {
    return this.local(f32.reinterpret(i32.wrap(bits)));
  }

  /** An operand of either format as a double. A NaN loses whether it is signaling. */
  value(bits: I64): F64 {
    return this.format === 'D' ? this.double(bits) : this.local(f64.promote(f32.reinterpret(i32.wrap(bits))));
  }

  singleBits(value: F32): I64 {
    return this.local(i64.extend_i32_u(i32.reinterpret(value)));
  }

  doubleBits(value: F64): I64 {
    return this.local(i64.reinterpret(value));
  }

  raise(flags: number | I32): void {
    raise(this.h, flags);
  }

  returnIf(condition: I32, bits: I64): void {
    this.code.if(condition, () => this.code.return(bits));
  }

  returnRaising(flags: number, bits: I64): void {
    this.raise(flags);
    this.code.return(bits);
  }

  /** Returns a result that is infinite or NaN. Operations of one operand, or of two, give one of them twice. */
  returnSpecial(bits: I64, a = this.a, b = a, c = b): void {
    this.code.return(call('i64', this.#special, this.h.hart, bits, a, b, c));
  }

  /**
   * Returns a single, rounded to nearest, with its flags.
   * @param wide the exact result, or a double that is between the same singles and halves of singles
   * @param inexact whether the single differs from the exact result, if that is finite
   */
  returnSingle(single: F32, bits: I64, wide: F64, inexact: I32): void {
    const { code } = this;
    const size = this.local(f64.abs(wide));
    code.if(f64.lt(size, f64.const(Number.POSITIVE_INFINITY)), () => {
      code.if(inexact, () => {
        const tiny = select(f64.lt(size, f64.const(TINY_SINGLE)), i32.const(UF), i32.const(0));
        const isHuge = f32.eq(f32.abs(single), f32.const(Number.POSITIVE_INFINITY));
        this.raise(any(i32.const(NX), tiny, select(isHuge, i32.const(OF), i32.const(0))));
      });
      code.return(bits);
    });
  }
}
