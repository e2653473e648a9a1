import type { Context, CsrOperation, FloatFormat, FloatOperation } from '../../isa/context.ts';
import { csrIndex } from '../../isa/csr.ts';
import { type Decoded, INSTRUCTIONS } from '../../isa/decode.ts';
import {
  call,
  type Expr,
  type FunctionBuilder,
  type I32,
  type I64,
  i32,
  i64,
  type Label,
  type Local,
} from '../../wasm/index.ts';
import { CSR_OPERATION, CSR_STATUS } from '../csr-access.ts';
import type { HartFields } from '../emit.ts';
import { ACCESS } from '../walk.ts';
import { EFFECTS } from './effects.ts';
import { type FloatLocals, FloatWriter } from './float-writer.ts';
import type { AccessGroup } from './groups.ts';
import type { RegionImports } from './imports.ts';
import { type AccessPlan, MemoryAccesses, type ReachedGroups } from './memory-access.ts';
import type { RegisterLocals, RegisterState } from './register-locals.ts';
import { exitWord, REGION_STATUS } from './status.ts';
import type { Stream } from './streams.ts';
import { compareWords } from './words.ts';

/** Locals of a translated region. */
export interface RegionLocals extends FloatLocals {
  /** Guest-virtual address of the region's entry. */
  readonly entry: Local<'i64'>;
  /** Instructions left until the next poll; at the start of a block the whole block is taken off. */
  readonly remaining: Local<'i32'>;
  /** How and where the region is left through `leave`: an `exitWord`. */
  readonly exit: Local<'i64'>;
  /** The registers that have been written then: a bit for each of the x registers, then of the f registers. */
  readonly exitRegisters: Local<'i64'>;
}

/** How a block ends, when not by going on to the next one. */
export type Terminator =
  | { readonly kind: 'branch'; readonly condition: I32 }
  | { readonly kind: 'relative' }
  | { readonly kind: 'indirect'; readonly target: I64 };

/** What holds at the end of a block, for those behind it. */
interface ContextState {
  readonly registers: RegisterState;
  readonly reached: ReachedGroups;
}

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
  #terminator: Terminator | undefined;
  readonly registers: RegisterLocals;
  readonly #memory: MemoryAccesses;
  readonly #float: FloatWriter;

  constructor(
    code: FunctionBuilder,
    h: HartFields,
    locals: RegionLocals,
    imports: RegionImports,
    leave: Label,
    registers: RegisterLocals,
    accesses: AccessPlan,
  ) {
    this.code = code;
    this.#h = h;
    this.#l = locals;
    this.#imports = imports;
    this.#leave = leave;
    this.registers = registers;
    this.#memory = new MemoryAccesses(this, h, imports, accesses);
    this.#float = new FloatWriter(this, h, locals, imports);
  }

  /** @param goesOn the block is entered from the one written before it, and from nowhere else */
  beginBlock(streams: ReadonlyMap<string, Stream>, goesOn: boolean): void {
    this.#float.forget();
    this.#memory.beginBlock(streams, goesOn);
  }

  /** Taken at the end of a block, and put back before each of the ways on from there is written. */
  get state(): ContextState {
    return { registers: this.registers.state, reached: this.#memory.reached };
  }

  set state({ registers, reached }: ContextState) {
    this.registers.state = registers;
    this.#memory.reached = reached;
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
    this.#float.beginInstruction(decoded);
    if (EFFECTS[decoded.number]!.usesFloat) this.#float.need();
    INSTRUCTIONS[decoded.number]!.semantics(this);
    return this.#terminator;
  }

  readFloatState(): void {
    this.#float.readState();
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

  get remaining(): I32 {
    return this.#l.remaining.get;
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
    return this.#float.bits(source);
  }

  singleBits(source: 1 | 2 | 3): I32 {
    return this.#float.single(source);
  }

  setFloat64(bits: I64): void {
    this.#float.setDouble(bits);
  }

  setFloat32(bits: I32): void {
    this.#float.setSingle(bits);
  }

  float(operation: FloatOperation, format: FloatFormat, ...operands: I64[]): I64 {
    return this.#float.operation(operation, format, operands);
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
    // What may be accessed may have changed.
    this.readFloatState();
    this.#float.forget();
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

  /** Where there are other harts, the interpreter counts them. */
  pause(): void {
    this.code.unlikely(this.#h.get32('fences'), () => this.interpret());
  }

  /** This hart's own stores to code have taken effect by leaving the region, so that only other harts' are to be looked for. */
  fenceI(): void {
    const h = this.#h;
    this.code.if(h.get32('fences'), () => {
      const changes = i32.atomicLoad(h.get32('codeChanges'));
      this.code.unlikely(i32.ne(changes, h.get32('codeChangesSeen')), () => this.interpret());
    });
  }

  /**
   * The region goes on if what is fenced is one page, and none that there are regions on. Its own are among those: what empties the
   * jump tables has the region left.
   */
  sfenceVma(): void {
    const { rs1, rs2 } = this.#decoded.operands;
    if (rs1 === 0) {
      this.interpret();
      return;
    }
    const hasAsid = i32.const(rs2 === 0 ? 0 : 1);
    const done = call('i32', this.#imports.fencePage, this.#h.hart, this.rs1, this.rs2, hasAsid);
    this.code.unlikely(i32.eqz(done), () => this.interpret());
    this.#memory.forget();
  }

  /**
   * Leaves the region by the way that is seldom taken.
   * @param offset of the instruction that execution goes on at
   * @param unexecuted instructions of the block that were counted and not executed
   */
  leave(status: number, offset: number, unexecuted: number): void {
    this.code.set(this.#l.exit, i64.const(exitWord(status, unexecuted, offset)));
    const { x, f } = this.registers.changed;
    this.registers.leave();
    this.code.set(this.#l.exitRegisters, i64.halves(f, x));
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
}
