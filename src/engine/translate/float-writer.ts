import type { FloatFormat, FloatOperation } from '../../isa/context.ts';
import type { Decoded } from '../../isa/decode.ts';
import {
  call,
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
  type Local,
  type ValType,
} from '../../wasm/index.ts';
import type { HartFields } from '../emit.ts';
import { floatLimit, inlineFloat } from '../float/inline.ts';
import { UNROUNDED } from '../float.ts';
import { box, FS_MASK, readFs, setDirty, unbox } from '../float-state.ts';
import type { RegionImports } from './imports.ts';
import type { RegisterLocals } from './register-locals.ts';

/** Locals of a translated region for floating point. */
export interface FloatLocals {
  /** 1: floating-point registers may be used (mstatus.FS is not Off), and frm is not reserved. */
  readonly floatOn: Local<'i32'>;
  /** 1: mstatus.FS is Dirty. */
  readonly floatDirty: Local<'i32'>;
  /** `floatLimit` of fcsr. */
  readonly floatLimit: Local<'i64'>;
}

/** What writing floating point needs of the context. */
export interface FloatContext {
  readonly code: FunctionBuilder;
  readonly registers: RegisterLocals;
  temporary<T extends 'i32' | 'i64'>(type: T, value: Expr<T>): Local<T>;
  /** Leaves the instruction to the interpreter. */
  interpret(): void;
}

const DYNAMIC_ROUNDING = 7;
/** The last rounding mode that is not reserved. */
const MOST_ROUNDING = 4;

const bitsOf = (value: Expr<ValType>): I64 => {
  if (value.type === 'f64') return i64.reinterpret(value as F64);
  if (value.type === 'f32') return i64.extend_i32_u(i32.reinterpret(value as F32));
  return value as I64;
};

/** Writes the floating point of a region: registers, the state of mstatus and fcsr, operations. */
export class FloatWriter {
  readonly #c: FloatContext;
  readonly #h: HartFields;
  readonly #l: FloatLocals;
  readonly #imports: RegionImports;
  #decoded!: Decoded;
  /** FS was looked at in this block: that it is on; that it is Dirty. */
  #isChecked = false;
  #isMarked = false;

  constructor(context: FloatContext, h: HartFields, locals: FloatLocals, imports: RegionImports) {
    this.#c = context;
    this.#h = h;
    this.#l = locals;
    this.#imports = imports;
  }

  /** What was looked at before does not hold any more. */
  forget(): void {
    this.#isChecked = false;
    this.#isMarked = false;
  }

  beginInstruction(decoded: Decoded): void {
    this.#decoded = decoded;
  }

  /** The FS field of mstatus says what the region may do with floating-point registers. */
  readState(): void {
    const frm = i32.and(this.#h.get32('fcsr'), i32.const(0xe0));
    const isMode = i32.le_u(frm, i32.const(MOST_ROUNDING << 5));
    const { floatOn, floatDirty } = this.#l;
    const state = this.#c.temporary('i32', readFs(this.#h)).get;
    this.#c.code.set(floatDirty, i32.eq(state, i32.const(FS_MASK)));
    this.#c.code.set(floatOn, i32.and(i32.ne(state, i32.const(0)), isMode));
    this.#readLimit();
  }

  /** Leaves the instruction to the interpreter if there may be no floating point. */
  need(): void {
    if (this.#isChecked) return;
    this.#isChecked = true;
    this.#c.code.unlikely(i32.eqz(this.#l.floatOn.get), () => this.#c.interpret());
  }

  bits(source: 1 | 2 | 3): I64 {
    const { rs1, rs2, rs3 } = this.#decoded.operands;
    return i64.reinterpret(this.#c.registers.getF([rs1, rs2, rs3][source - 1]!));
  }

  single(source: 1 | 2 | 3): I32 {
    return unbox(this.bits(source));
  }

  setDouble(bits: I64): void {
    const { rd } = this.#decoded.operands;
    this.#c.registers.setF(rd, f64.reinterpret(bits));
    if (!this.#isMarked) {
      this.#isMarked = true;
      this.#c.code.unlikely(i32.eqz(this.#l.floatDirty.get), () => {
        setDirty(this.#h);
        this.#c.code.set(this.#l.floatDirty, i32.const(1));
      });
    }
  }

  setSingle(bits: I32): void {
    this.setDouble(box(bits));
  }

  operation(operation: FloatOperation, format: FloatFormat, operands: readonly I64[]): I64 {
    const { rm } = this.#decoded.operands;
    const isRounded = !UNROUNDED.has(operation);
    if (isRounded && rm > MOST_ROUNDING && rm !== DYNAMIC_ROUNDING) this.#c.interpret();
    const zero = i64.const(0);
    const [a = zero, b = zero, c = zero] = operands.map((operand) => this.#c.temporary('i64', operand).get);
    const callOut = (): I64 => {
      const mode = isRounded ? this.#roundingMode() : i32.const(0);
      return call('i64', this.#imports.float(operation, format), this.#h.hart, mode, a, b, c);
    };
    const given = [a, b, c].slice(0, operands.length).map((bits) => this.#typed(operation, format, bits));
    const options = { mode: rm, limit: this.#l.floatLimit.get };
    const inlined = inlineFloat(this.#c.code, operation, format, given, options);
    if (inlined === undefined) {
      const result = this.#c.temporary('i64', callOut()).get;
      this.#readLimit();
      return result;
    }
    const bits = bitsOf(inlined.result);
    if (inlined.usable.constant === 1) return bits;
    // A double stays one: it is not moved to an integer register and back.
    const isDouble = inlined.result.type === 'f64';
    const local = isDouble ? this.#c.code.local('f64') : this.#c.code.local('i64');
    const set = (value: I64): void => {
      if (isDouble) this.#c.code.set(local as Local<'f64'>, f64.reinterpret(value));
      else this.#c.code.set(local as Local<'i64'>, value);
    };
    this.#c.code.unlikely(
      i32.eqz(inlined.usable),
      () => {
        set(callOut());
        this.#readLimit();
      },
      () => set(bits),
    );
    return bitsOf(local.get);
  }

  #readLimit(): void {
    this.#c.code.set(this.#l.floatLimit, floatLimit(this.#h.get32('fcsr')));
  }

  /** An operand as the operation takes it. */
  #typed(operation: FloatOperation, format: FloatFormat, bits: I64): Expr<ValType> {
    if (operation.startsWith('from_') && operation !== 'from_other') return bits;
    const isDouble = operation === 'from_other' ? format === 'S' : format === 'D';
    return isDouble ? f64.reinterpret(bits) : f32.reinterpret(i32.wrap(bits));
  }

  #roundingMode(): I32 {
    const { rm } = this.#decoded.operands;
    if (rm !== DYNAMIC_ROUNDING) return i32.const(rm);
    return i32.and(i32.shr_u(this.#h.get32('fcsr'), i32.const(5)), i32.const(7));
  }
}
