import type { Context, CsrOperation, FloatFormat, FloatOperation } from '../../isa/context.ts';
import { csrIndex } from '../../isa/csr.ts';
import { type Decoded, INSTRUCTIONS } from '../../isa/decode.ts';
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
  type Label,
  type Local,
  select,
  type ValType,
} from '../../wasm/index.ts';
import { reachWord } from '../access.ts';
import { CSR_OPERATION, CSR_STATUS } from '../csr-access.ts';
import type { HartFields } from '../emit.ts';
import { floatLimit, inlineFloat } from '../float/inline.ts';
import { UNROUNDED } from '../float.ts';
import {
  F_OFFSET,
  MOST_STREAMS,
  offset64,
  STREAM_BYTES,
  STREAMS_OFFSET,
  TLB_WRITE_OFFSET,
  X_OFFSET,
} from '../state.ts';
import { tlbIndex } from '../tlb-first.ts';
import { ACCESS } from '../walk.ts';
import { EFFECTS } from './effects.ts';
import type { AccessGroup } from './groups.ts';
import { difference, type RegisterSet, union } from './registers.ts';
import { REGION_STATUS } from './status.ts';
import { type Stream, streamName } from './streams.ts';
import { asWord, compareWords } from './words.ts';

/** Functions of the engine that translated code calls. */
export interface RegionImports {
  readonly reach: FunctionReference;
  readonly look: FunctionReference;
  readonly atomic: FunctionReference;
  readonly csr: FunctionReference;
  readonly link: FunctionReference;
  float(operation: FloatOperation, format: FloatFormat): FunctionReference;
}

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
  readonly x: ReadonlyMap<number, Local<'i64'>>;
  readonly f: ReadonlyMap<number, Local<'f64'>>;
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

/** The parts of a stream's place (see the engine's state). */
const STREAM = { page: 0, limit: 8, frame: 16 } as const;

/** A stream with its place in the hart area. */
interface PlacedStream extends Stream {
  readonly place: number;
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

/** Offset of the TLB table for an access in its context. */
const tableOf = (access: number): number => (access === ACCESS.write ? TLB_WRITE_OFFSET : 0);

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
  readonly #retired: RegisterSet;
  readonly #pools: { i32: Local<'i32'>[]; i64: Local<'i64'>[] } = { i32: [], i64: [] };
  #used = { i32: 0, i64: 0 };
  /** The instruction, its offset from the region's entry, its length, and instructions behind it in its block. */
  #decoded!: Decoded;
  #offset = 0;
  #behind = 0;
  /** FS was looked at in this block: that it is on; that it is Dirty. */
  #floatChecked = false;
  #floatMarked = false;
  #group: AccessGroup | undefined;
  /** Machine address of the first byte of a group, 0 if it has none. */
  readonly #reached = new Map<AccessGroup, Local<'i32'>>();
  #streams: ReadonlyMap<string, Stream> = new Map();
  /** Places of the streams in the hart area, by name. */
  readonly #places = new Map<string, number>();
  #terminator: Terminator | undefined;
  /** Registers whose locals may differ from memory. */
  changed: RegisterSet = { x: 0, f: 0 };
  /**
   * Registers that are the sign extensions of 32-bit values, by number: within a block their own locals are not set, as most
   * are never asked for all of their bits.
   */
  readonly #words = new Map<number, Local<'i32'>>();
  readonly #wordLocals = new Map<number, Local<'i32'>>();

  /**
   * @param streams by block
   * @param retired registers that are stored by `retire` somewhere
   */
  constructor(
    code: FunctionBuilder,
    h: HartFields,
    locals: RegionLocals,
    imports: RegionImports,
    leave: Label,
    streams: readonly ReadonlyMap<string, Stream>[],
    retired: RegisterSet,
  ) {
    this.code = code;
    this.#h = h;
    this.#l = locals;
    this.#imports = imports;
    this.#leave = leave;
    this.#retired = retired;
    for (const name of streams.flatMap((ofBlock) => [...ofBlock.keys()])) {
      const count = this.#places.size;
      if (this.#places.has(name) || count === MOST_STREAMS) continue;
      this.#places.set(name, STREAMS_OFFSET + count * STREAM_BYTES);
    }
    this.#emptyStreams();
  }

  beginBlock(changed: RegisterSet, streams: ReadonlyMap<string, Stream>): void {
    this.changed = changed;
    this.#streams = streams;
    this.#floatChecked = false;
    this.#floatMarked = false;
    this.#reached.clear();
  }

  /**
   * Writes an instruction. Gives how it ends its block, if it does.
   * @param group that its memory access belongs to
   */
  write(decoded: Decoded, offset: number, behind: number, group: AccessGroup | undefined): Terminator | undefined {
    this.#decoded = decoded;
    this.#group = group;
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
    return this.#x(this.#decoded.operands.rs1);
  }

  get rs2(): I64 {
    return this.#x(this.#decoded.operands.rs2);
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
    if (rd !== 0) {
      this.#setX(rd, value);
      this.changed = union(this.changed, { x: 1 << rd, f: 0 });
    } else if (!INSTRUCTIONS[this.#decoded.number]!.pure) this.code.drop(value);
  }

  readable(bytes: 1 | 2 | 4 | 8, address: I64): I32 {
    return this.#machineAddress(ACCESS.read, bytes, address);
  }

  store(bytes: 1 | 2 | 4 | 8, address: I64, value: I64): void {
    this.code.store(bytes, this.#machineAddress(ACCESS.write, bytes, address), value);
  }

  atomic(bytes: 4 | 8, address: I64): I32 {
    return this.#atomicAddress(bytes, address, ACCESS.write);
  }

  reservable(bytes: 4 | 8, address: I64): I32 {
    return this.#atomicAddress(bytes, address, ACCESS.read);
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
    return i64.reinterpret(this.#l.f.get([rs1, rs2, rs3][source - 1]!)!.get);
  }

  singleBits(source: 1 | 2 | 3): I32 {
    const boxed = this.floatBits(source);
    return select(i64.ge_u(boxed, i64.const(NAN_BOX)), i32.wrap(boxed), i32.const(CANONICAL_NAN));
  }

  setFloat64(bits: I64): void {
    const { rd } = this.#decoded.operands;
    this.code.set(this.#l.f.get(rd)!, f64.reinterpret(bits));
    if (!this.#floatMarked) {
      this.#floatMarked = true;
      this.code.unlikely(i32.eqz(this.#l.floatDirty.get), () => {
        const byte = i32.load8_u(this.#h.hart, FS_BYTE_OFFSET);
        this.code.store(1, this.#h.hart, i32.or(byte, i32.const(FS_MASK)), FS_BYTE_OFFSET);
        this.code.set(this.#l.floatDirty, i32.const(1));
      });
    }
    this.changed = union(this.changed, { x: 0, f: 1 << rd });
  }

  setFloat32(bits: I32): void {
    this.setFloat64(i64.or(i64.extend_i32_u(bits), i64.const(NAN_BOX)));
  }

  float(operation: FloatOperation, format: FloatFormat, ...operands: I64[]): I64 {
    const { rm } = this.#decoded.operands;
    const isRounded = !UNROUNDED.has(operation);
    if (isRounded && rm > MOST_ROUNDING && rm !== DYNAMIC_ROUNDING) this.#interpret();
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
      this.#interpret();
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
    this.code.unlikely(i32.eqz(status), () => this.#interpret());
    this.setRd(this.#h.get('value'));
    this.code.if(i32.eq(status, i32.const(CSR_STATUS.resynchronize)), () =>
      this.leave(REGION_STATUS.fetch, this.#nextOffset, this.#behind),
    );
    this.readFloatState();
    // What may be accessed may have changed.
    this.#floatChecked = false;
    this.#floatMarked = false;
    this.#reached.clear();
    this.#emptyStreams();
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
    const { x, f } = this.changed;
    this.#widen(x);
    // Where ways out come together nothing is to be kept for those that have nothing to store.
    const unchanged = difference(this.#retired, this.changed);
    for (const [n, local] of this.#l.x) if (unchanged.x & (1 << n)) this.code.set(local, i64.const(0));
    for (const [n, local] of this.#l.f) if (unchanged.f & (1 << n)) this.code.set(local, f64.const(0));
    this.code.set(
      this.#l.exitRegisters,
      i64.const((BigInt.asUintN(32, BigInt(f)) << 32n) | BigInt.asUintN(32, BigInt(x))),
    );
    this.code.br(this.#leave);
  }

  /** Stores the registers that may have changed. */
  spill(): void {
    this.#put(this.changed);
  }

  /** Stores the registers that may have changed but for those that are live. */
  retire(live: RegisterSet): void {
    this.#put(difference(this.changed, live));
  }

  #put(registers: RegisterSet): void {
    for (const n of this.#l.x.keys()) {
      if (registers.x & (1 << n)) this.code.store(8, this.#h.hart, this.#x(n), X_OFFSET + n * 8);
    }
    for (const [n, local] of this.#l.f) {
      if (registers.f & (1 << n)) this.code.store(8, this.#h.hart, i64.reinterpret(local.get), F_OFFSET + n * 8);
    }
  }

  get #nextOffset(): number {
    return this.#offset + this.#decoded.length;
  }

  #x(n: number): I64 {
    if (n === 0) return i64.const(0);
    const word = this.#words.get(n);
    return word === undefined ? this.#l.x.get(n)!.get : i64.extend_i32_s(word.get);
  }

  #setX(n: number, value: I64): void {
    const word = asWord(value);
    if (word === undefined) {
      this.code.set(this.#l.x.get(n)!, value);
      this.#words.delete(n);
      return;
    }
    let local = this.#wordLocals.get(n);
    if (local === undefined) {
      local = this.code.local('i32');
      this.#wordLocals.set(n, local);
    }
    this.code.set(local, word);
    this.#words.set(n, local);
  }

  /** Sets the locals of some registers, which a block behind or the place where ways out come together takes. */
  #widen(registers: number): void {
    for (const n of this.#words.keys()) {
      if (registers & (1 << n)) this.code.set(this.#l.x.get(n)!, this.#x(n));
    }
  }

  /** Has each register in its own local again, as blocks expect it. */
  endBlock(): void {
    this.#widen(-1);
    this.#words.clear();
  }

  /** Leaves the instruction that is being written to the interpreter. */
  #interpret(): void {
    this.leave(REGION_STATUS.interpret, this.#offset, this.#behind + 1);
  }

  #notHere(): never {
    throw new Error(`${INSTRUCTIONS[this.#decoded.number]!.name} is for the interpreter`);
  }

  #needFloat(): void {
    if (this.#floatChecked) return;
    this.#floatChecked = true;
    this.code.unlikely(i32.eqz(this.#l.floatOn.get), () => this.#interpret());
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

  /** Address of the TLB entry that an address may be in, less `tableOf` the access. */
  #entry(gva: I64): I32 {
    return i32.add(this.#h.get32('dataTlb'), tlbIndex(gva));
  }

  /** Machine address of `bytes` bytes at an address. */
  #machineAddress(access: number, bytes: number, address: I64): I32 {
    const group = this.#group;
    if (group === undefined || group.count === 1) {
      const gva = this.temporary('i64', address).get;
      return this.#look(access, gva, bytes - 1, () => this.#interpret()).get;
    }
    const { imm } = this.#decoded.operands;
    let first = this.#reached.get(group);
    if (first === undefined) {
      const low = this.temporary('i64', i64.add(this.rs1, i64.const(group.low))).get;
      first = this.code.local('i32');
      this.code.set(first, this.#look(access, low, group.last - group.low, () => {}).get);
      this.#reached.set(group, first);
    }
    // A group that lies on two pages, or on some other than plain RAM, has each of its accesses looked at; but if there is
    // no address because of a flush, those of other groups mean nothing any more.
    const machine = this.temporary('i32', i32.add(first.get, i32.const(imm - group.low)));
    this.code.unlikely(i32.eqz(first.get), () => {
      const word = i32.const(reachWord(access, bytes - 1, true));
      const reached = call('i32', this.#imports.reach, this.#h.hart, address, word);
      this.code.if(i32.eqz(reached), () => this.#interpret());
      this.code.set(machine, this.#h.get32('reached'));
    });
    return machine.get;
  }

  /**
   * Looks an address up in the TLB, and behind it; gives the machine address, or 0. The page of the last byte is compared
   * with that in the entry for the first one: both have to be there, aligned or not.
   * @param ifNone writes what is done when there is no machine address
   */
  #look(access: number, gva: I64, distance: number, ifNone: () => void): Local<'i32'> {
    const stream = this.#stream(access);
    if (stream !== undefined && distance < stream.span) {
      return this.#lookAtStream(stream, access, gva, distance, ifNone);
    }
    const machine = this.temporary('i32', this.#entry(gva));
    const lastPage = i64.and(i64.add(gva, i64.const(distance)), i64.const(-4096));
    this.code.unlikely(
      i64.ne(i64.load(machine.get, tableOf(access)), lastPage),
      () => {
        const word = i32.const(reachWord(access, distance));
        const reached = call('i32', this.#imports.reach, this.#h.hart, gva, word);
        this.code.if(
          reached,
          () => this.code.set(machine, this.#h.get32('reached')),
          () => {
            this.code.set(machine, i32.const(0));
            ifNone();
          },
        );
      },
      () => this.code.set(machine, i32.add(i32.load(machine.get, tableOf(access) + 8), i32.wrap(gva))),
    );
    return machine;
  }

  #emptyStreams(): void {
    for (const place of this.#places.values()) {
      this.code.store(8, this.#h.hart, i64.const(0), place + STREAM.limit);
    }
  }

  /** The stream that the access of the instruction belongs to. */
  #stream(access: number): PlacedStream | undefined {
    if (this.#group === undefined) return undefined;
    const kind = access === ACCESS.write ? 'write' : 'read';
    const name = streamName({ kind, base: this.#decoded.operands.rs1 });
    const stream = this.#streams.get(name);
    const place = this.#places.get(name);
    return stream === undefined || place === undefined ? undefined : { ...stream, place };
  }

  #lookAtStream(
    { place, span }: PlacedStream,
    access: number,
    gva: I64,
    distance: number,
    ifNone: () => void,
  ): Local<'i32'> {
    const { code } = this;
    const { hart } = this.#h;
    const offset = this.temporary('i64', i64.sub(gva, i64.load(hart, place + STREAM.page))).get;
    const machine = this.temporary('i32', i32.add(i32.wrap(offset), i32.load(hart, place + STREAM.frame)));
    code.unlikely(i64.ge_u(offset, i64.load(hart, place + STREAM.limit)), () => {
      const word = i32.const(reachWord(access, distance));
      const note = (): void => {
        code.set(machine, this.#h.get32('reached'));
        code.store(8, hart, i64.and(gva, i64.const(-4096)), place + STREAM.page);
        code.store(4, hart, i32.and(machine.get, i32.const(-4096)), place + STREAM.frame);
        code.store(8, hart, i64.const(4096 - span + 1), place + STREAM.limit);
      };
      code.if(call('i32', this.#imports.look, hart, gva, word), note, () => {
        code.set(machine, i32.const(0));
        ifNone();
      });
    });
    return machine;
  }

  /**
   * The tag has no offset bits; those that would make the access misaligned stay, so that it misses. An atomic access to
   * a page that holds code is left to the interpreter, which sees when it changes itself.
   */
  #atomicAddress(bytes: 4 | 8, address: I64, access: number): I32 {
    const gva = this.temporary('i64', address).get;
    const machine = this.temporary('i32', this.#entry(gva));
    this.code.unlikely(
      i64.ne(i64.load(machine.get, tableOf(access)), i64.and(gva, i64.const(-4096 | (bytes - 1)))),
      () => {
        const { atomic } = this.#imports;
        this.#h.set32('refetch', i32.const(0));
        this.code.set(machine, call('i32', atomic, this.#h.hart, gva, i32.const(bytes), i32.const(access)));
        const flushed = this.#h.get32('refetch');
        this.code.if(i32.or(i32.eqz(machine.get), i32.or(flushed, this.#h.get32('codeFrame'))), () =>
          this.#interpret(),
        );
      },
      () => this.code.set(machine, i32.add(i32.load(machine.get, tableOf(access) + 8), i32.wrap(gva))),
    );
    return machine.get;
  }
}
