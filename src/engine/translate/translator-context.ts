import type { Context, CsrOperation, FloatFormat, FloatOperation } from '../../isa/context.ts';
import { csrIndex } from '../../isa/csr.ts';
import { type Decoded, INSTRUCTIONS } from '../../isa/decode.ts';
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
  type Label,
  type Local,
  select,
  type ValType,
} from '../../wasm/index.ts';
import { CSR_OPERATION, CSR_STATUS } from '../csr-access.ts';
import type { HartFields } from '../emit.ts';
import { floatLimit, inlineFloat } from '../float/inline.ts';
import { UNROUNDED } from '../float.ts';
import { offset64 } from '../state.ts';
import { ACCESS } from '../walk.ts';
import { EFFECTS } from './effects.ts';
import type { AccessGroup } from './groups.ts';
import type { RegionImports } from './imports.ts';
import { MemoryAccesses } from './memory-access.ts';
import type { RegisterLocals } from './register-locals.ts';
import { REGION_STATUS } from './status.ts';
import type { Stream } from './streams.ts';
import { compareWords } from './words.ts';

/** Locals of a translated region. */
export interface RegionLocals {
  /** Guest-virtual address of the region's entry. */
  readonly entry: Local<'i64'>;
  /** Instructions left until the next poll; at the start of a block the whole block is taken off. */
  readonly remaining: Local<'i32'>;
  /** 1: floating-point registers may be used (mstatus.FS is not Off), and frm is not reserved. */
  readonly floatOn: Local<'i32'>;
  /** 1: mstatus.FS is Dirty. */
  readonly floatDirty: Local<'i32'>;
  /** `floatLimit` of fcsr. */
  readonly floatLimit: Local<'i64'>;
  /**
   * How and where the region is left through `leave`: bits 0..7 status, 8..31 instructions of the block that were not
   * executed, 32..63 offset of pc from the entry.
   */
  readonly exit: Local<'i64'>;
  /** The registers that have been written then: a bit for each of the x registers, then of the f registers. */
  readonly exitRegisters: Local<'i64'>;
}

/** How a block ends, when not by going on to the next one. */
export type Terminator =
  | { readonly kind: 'branch'; readonly condition: I32 }
  | { readonly kind: 'relative' }
  | { readonly kind: 'indirect'; readonly target: I64 };

/** FS (bits 13 and 14 of mstatus) as it stands in the second byte of mstatus. */
const FS_BYTE_OFFSET = offset64('mstatus') + 1;
const FS_MASK = 0x60;
const NAN_BOX = 0xffffffffn << 32n;
const CANONICAL_NAN = 0x7fc00000;
const DYNAMIC_ROUNDING = 7;
/** The last rounding mode that is not reserved. */
const MOST_ROUNDING = 4;

const bitsOf = (value: Expr<ValType>): I64 => {
  if (value.type === 'f64') return i64.reinterpret(value as F64);
  if (value.type === 'f32') return i64.extend_i32_u(i32.reinterpret(value as F32));
  return value as I64;
};

/** The semantics' context in the translator: operands are constants, and locals that hold the registers. */
export class TranslatorContext implements Context {
  readonly code: FunctionBuilder;
  readonly #h: HartFields;
  readonly #l: RegionLocals;
  readonly #imports: RegionImports;
  readonly #leave: Label;
  readonly #pools: { i32: Local<'i32'>[]; i64: Local<'i64'>[] } = { i32: [], i64: [] };
  #used = { i32: 0, i64: 0 };
  /** The instruction, its offset from the region's entry, its length, and instructions behind it in its block. */
  #decoded!: Decoded;
  #offset = 0;
  #behind = 0;
  /** FS was looked at in this block: that it is on; that it is Dirty. */
  #floatChecked = false;
  #floatMarked = false;
  #terminator: Terminator | undefined;
  readonly registers: RegisterLocals;
  readonly #memory: MemoryAccesses;

  /**
   * @param streams by block
   * @param straddles as the region's
   */
  constructor(
    code: FunctionBuilder,
    h: HartFields,
    locals: RegionLocals,
    imports: RegionImports,
    leave: Label,
    registers: RegisterLocals,
    streams: readonly ReadonlyMap<string, Stream>[],
    straddles: boolean,
  ) {
    this.code = code;
    this.#h = h;
    this.#l = locals;
    this.#imports = imports;
    this.#leave = leave;
    this.registers = registers;
    this.#memory = new MemoryAccesses(this, h, imports, streams, straddles);
  }

  beginBlock(streams: ReadonlyMap<string, Stream>): void {
    this.#floatChecked = false;
    this.#floatMarked = false;
    this.#memory.beginBlock(streams);
  }

  /**
   * Writes an instruction. Gives how it ends its block, if it does.
   * @param group that its memory access belongs to
   */
  write(decoded: Decoded, offset: number, behind: number, group: AccessGroup | undefined): Terminator | undefined {
    this.#decoded = decoded;
    this.#memory.beginInstruction(decoded, group);
    this.#offset = offset;
    this.#behind = behind;
    this.#used = { i32: 0, i64: 0 };
    this.#terminator = undefined;
    if (EFFECTS[decoded.number]!.usesFloat) this.#needFloat();
    INSTRUCTIONS[decoded.number]!.semantics(this);
    return this.#terminator;
  }

  /** The FS field of mstatus says what the region may do with floating-point registers. */
  readFloatState(): void {
    const fs = i32.and(i32.load8_u(this.#h.hart, FS_BYTE_OFFSET), i32.const(FS_MASK));
    const frm = i32.and(this.#h.get32('fcsr'), i32.const(0xe0));
    const isMode = i32.le_u(frm, i32.const(MOST_ROUNDING << 5));
    const { floatOn, floatDirty } = this.#l;
    const state = this.temporary('i32', fs).get;
    this.code.set(floatDirty, i32.eq(state, i32.const(FS_MASK)));
    this.code.set(floatOn, i32.and(i32.ne(state, i32.const(0)), isMode));
    this.#readFloatLimit();
  }

  /** Guest-virtual address of a place in the region. */
  address(offset: number): I64 {
    return offset === 0 ? this.#l.entry.get : i64.add(this.#l.entry.get, i64.const(offset));
  }

  get rs1(): I64 {
    return this.registers.getX(this.#decoded.operands.rs1);
  }

  get rs2(): I64 {
    return this.registers.getX(this.#decoded.operands.rs2);
  }

  get imm(): I64 {
    return i64.const(this.#decoded.operands.imm);
  }

  get pc(): I64 {
    return this.address(this.#offset);
  }

  get nextPc(): I64 {
    return this.address(this.#nextOffset);
  }

  temporary<T extends 'i32' | 'i64'>(type: T, value: Expr<T>): Local<T> {
    const pool = this.#pools[type] as unknown as Local<T>[];
    const index = this.#used[type]++;
    let local = pool[index];
    if (local === undefined) {
      local = this.code.local(type);
      pool.push(local);
    }
    this.code.set(local, value);
    return local;
  }

  setRd(value: I64): void {
    const { rd } = this.#decoded.operands;
    if (rd !== 0) this.registers.setX(rd, value);
    else if (!INSTRUCTIONS[this.#decoded.number]!.pure) this.code.drop(value);
  }

  readable(bytes: 1 | 2 | 4 | 8, address: I64): I32 {
    return this.#memory.address(ACCESS.read, bytes, address);
  }

  store(bytes: 1 | 2 | 4 | 8, address: I64, value: I64): void {
    this.code.store(bytes, this.#memory.address(ACCESS.write, bytes, address), value);
  }

  atomic(bytes: 4 | 8, address: I64): I32 {
    return this.#memory.atomicAddress(bytes, address, ACCESS.write);
  }

  reservable(bytes: 4 | 8, address: I64): I32 {
    return this.#memory.atomicAddress(bytes, address, ACCESS.read);
  }

  get reservationAddress(): I32 {
    return this.#h.get32('reservationAddress');
  }

  get reservationValue(): I64 {
    return this.#h.get('reservationValue');
  }

  reserve(address: I32, value: I64): void {
    this.#h.set32('reservationAddress', address);
    this.#h.set('reservationValue', value);
  }

  jump(target: I64): void {
    this.#terminator = { kind: 'indirect', target };
  }

  jumpRelative(): void {
    this.#terminator = { kind: 'relative' };
  }

  branch(condition: I32): void {
    this.#terminator = { kind: 'branch', condition: compareWords(condition) };
  }

  floatBits(source: 1 | 2 | 3): I64 {
    const { rs1, rs2, rs3 } = this.#decoded.operands;
    return i64.reinterpret(this.registers.getF([rs1, rs2, rs3][source - 1]!));
  }

  singleBits(source: 1 | 2 | 3): I32 {
    const boxed = this.floatBits(source);
    return select(i64.ge_u(boxed, i64.const(NAN_BOX)), i32.wrap(boxed), i32.const(CANONICAL_NAN));
  }

  setFloat64(bits: I64): void {
    const { rd } = this.#decoded.operands;
    this.registers.setF(rd, f64.reinterpret(bits));
    if (!this.#floatMarked) {
      this.#floatMarked = true;
      this.code.unlikely(i32.eqz(this.#l.floatDirty.get), () => {
        const byte = i32.load8_u(this.#h.hart, FS_BYTE_OFFSET);
        this.code.store(1, this.#h.hart, i32.or(byte, i32.const(FS_MASK)), FS_BYTE_OFFSET);
        this.code.set(this.#l.floatDirty, i32.const(1));
      });
    }
  }

  setFloat32(bits: I32): void {
    this.setFloat64(i64.or(i64.extend_i32_u(bits), i64.const(NAN_BOX)));
  }

  float(operation: FloatOperation, format: FloatFormat, ...operands: I64[]): I64 {
    const { rm } = this.#decoded.operands;
    const isRounded = !UNROUNDED.has(operation);
    if (isRounded && rm > MOST_ROUNDING && rm !== DYNAMIC_ROUNDING) this.interpret();
    const zero = i64.const(0);
    const [a = zero, b = zero, c = zero] = operands.map((operand) => this.temporary('i64', operand).get);
    const callOut = (): I64 => {
      const mode = isRounded ? this.#roundingMode() : i32.const(0);
      return call('i64', this.#imports.float(operation, format), this.#h.hart, mode, a, b, c);
    };
    const given = [a, b, c].slice(0, operands.length).map((bits) => this.#typed(operation, format, bits));
    const options = { mode: rm, limit: this.#l.floatLimit.get };
    const inlined = inlineFloat(this.code, operation, format, given, options);
    if (inlined === undefined) {
      const result = this.temporary('i64', callOut()).get;
      this.#readFloatLimit();
      return result;
    }
    const bits = bitsOf(inlined.result);
    if (inlined.usable.constant === 1n) return bits;
    // A double stays one: it is not moved to an integer register and back.
    const isDouble = inlined.result.type === 'f64';
    const local = isDouble ? this.code.local('f64') : this.code.local('i64');
    const set = (value: I64): void => {
      if (isDouble) this.code.set(local as Local<'f64'>, f64.reinterpret(value));
      else this.code.set(local as Local<'i64'>, value);
    };
    this.code.unlikely(
      i32.eqz(inlined.usable),
      () => {
        set(callOut());
        this.#readFloatLimit();
      },
      () => set(bits),
    );
    return bitsOf(local.get);
  }

  csr(operation: CsrOperation, operand: I64, writes: I32): void {
    const index = csrIndex(this.#decoded.operands.imm);
    if (index === undefined) {
      this.interpret();
      return;
    }
    this.#h.set32('remaining', i32.add(this.#l.remaining.get, i32.const(this.#behind)));
    const status = this.temporary(
      'i32',
      call(
        'i32',
        this.#imports.csr,
        this.#h.hart,
        i32.const(index),
        operand,
        i32.const(CSR_OPERATION[operation]),
        writes,
      ),
    ).get;
    this.code.unlikely(i32.eqz(status), () => this.interpret());
    this.setRd(this.#h.get('value'));
    this.code.if(i32.eq(status, i32.const(CSR_STATUS.resynchronize)), () =>
      this.leave(REGION_STATUS.fetch, this.#nextOffset, this.#behind),
    );
    this.readFloatState();
    // What may be accessed may have changed.
    this.#floatChecked = false;
    this.#floatMarked = false;
    this.#memory.forget();
  }

  /** A call has returned: what was looked up before it does not hold any more. */
  returned(): void {
    if (this.registers.f.size > 0) this.readFloatState();
    this.#memory.forget();
  }

  get rs1FieldIsNonzero(): I32 {
    return i32.const(this.#decoded.operands.rs1 === 0 ? 0 : 1);
  }

  get uimm(): I64 {
    return i64.const(this.#decoded.operands.rs1);
  }

  ecall(): void {
    this.#notHere();
  }

  ebreak(): void {
    this.#notHere();
  }

  mret(): void {
    this.#notHere();
  }

  sret(): void {
    this.#notHere();
  }

  wfi(): void {
    this.#notHere();
  }

  fence(): void {
    this.#h.fence(i32.const(this.#decoded.operands.imm));
  }

  pause(): void {
    this.#notHere();
  }

  fenceI(): void {
    this.#notHere();
  }

  sfenceVma(): void {
    this.#notHere();
  }

  /**
   * Leaves the region by the way that is seldom taken.
   * @param offset of the instruction that execution goes on at
   * @param unexecuted instructions of the block that were counted and not executed
   */
  leave(status: number, offset: number, unexecuted: number): void {
    this.code.set(this.#l.exit, i64.const((BigInt(offset) << 32n) | BigInt(status | (unexecuted << 8))));
    const { x, f } = this.registers.changed;
    this.registers.leave();
    this.code.set(
      this.#l.exitRegisters,
      i64.const((BigInt.asUintN(32, BigInt(f)) << 32n) | BigInt.asUintN(32, BigInt(x))),
    );
    this.code.br(this.#leave);
  }

  get #nextOffset(): number {
    return this.#offset + this.#decoded.length;
  }

  /** Leaves the instruction that is being written to the interpreter. */
  interpret(): void {
    this.leave(REGION_STATUS.interpret, this.#offset, this.#behind + 1);
  }

  #notHere(): never {
    throw new Error(`${INSTRUCTIONS[this.#decoded.number]!.name} is for the interpreter`);
  }

  #needFloat(): void {
    if (this.#floatChecked) return;
    this.#floatChecked = true;
    this.code.unlikely(i32.eqz(this.#l.floatOn.get), () => this.interpret());
  }

  #readFloatLimit(): void {
    this.code.set(this.#l.floatLimit, floatLimit(this.#h.get32('fcsr')));
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
