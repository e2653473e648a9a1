import type { Context, CsrOperation, FloatFormat, FloatOperation } from '../isa/context.ts';
import { CAUSE, PRIVILEGE } from '../isa/fields.ts';
import type { Instruction } from '../isa/instruction.ts';
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
} from '../wasm/index.ts';
import { STORED } from './access.ts';
import { CSR_OPERATION, CSR_STATUS } from './csr-access.ts';
import type { HartFields } from './emit.ts';
import { floatFunction, UNROUNDED } from './float.ts';
import { box, readFs, setDirty, unbox } from './float-state.ts';
import { countJump, type Runtime } from './interpreter.ts';
import { noteTarget } from './jump-sites.ts';
import { EXIT, F_OFFSET, MOST_PAUSES, SLOT_BYTES, SLOTS_BYTES, TLB_WRITE_OFFSET, X_OFFSET } from './state.ts';
import { fenceIsIllegal } from './tlb.ts';
import { tlbIndex } from './tlb-first.ts';
import { ACCESS } from './walk.ts';

/** Locals of the interpreter's loop. */
export interface Registers {
  /** The decoded slot that is executed, and the decoded block it is in (byte addresses). */
  readonly slot: Local<'i32'>;
  readonly block: Local<'i32'>;
  /** Guest-virtual address of the block. */
  readonly blockAddress: Local<'i64'>;
  /** Where the next jump goes. */
  readonly target: Local<'i64'>;
  /** Instructions left until the next poll. */
  readonly remaining: Local<'i32'>;
  readonly dataTlb: Local<'i32'>;
  /** How the next jump comes about: one of `ARRIVAL`. */
  readonly arrival: Local<'i32'>;
}

export interface Labels {
  /** Goes on at the pc in memory. */
  readonly fetch: Label;
  /** Goes on at `target`. */
  readonly jump: Label;
  /** Executes `slot`. */
  readonly next: Label;
  /** Takes the exception that was raised, at the present pc. */
  readonly exception: Label;
  /** Raises and takes an illegal-instruction exception. */
  readonly illegal: Label;
}

/** A slot has four times the size of the code it stands for. */
export const pcOf = (r: Registers): I64 =>
  i64.add(r.blockAddress.get, i64.extend_i32_s(i32.shr_s(i32.sub(r.slot.get, r.block.get), i32.const(2))));

/** The semantics' context in the interpreter: operands come from the decoded slot. */
export class InterpreterContext implements Context {
  readonly code: FunctionBuilder;
  readonly #h: HartFields;
  readonly #r: Registers;
  readonly #labels: Labels;
  readonly #runtime: Runtime;
  readonly #pools: { i32: Local<'i32'>[]; i64: Local<'i64'>[] } = { i32: [], i64: [] };
  #used = { i32: 0, i64: 0 };
  #instruction: Instruction | undefined;
  #length: 2 | 4 = 4;

  constructor(code: FunctionBuilder, h: HartFields, r: Registers, labels: Labels, runtime: Runtime) {
    this.code = code;
    this.#h = h;
    this.#r = r;
    this.#labels = labels;
    this.#runtime = runtime;
  }

  /** Starts an instruction. Floating point is illegal while FS is off. */
  begin(instruction: Instruction, length: 2 | 4): void {
    this.#instruction = instruction;
    this.#length = length;
    this.#used = { i32: 0, i64: 0 };
    if (instruction.extension === 'F' || instruction.extension === 'D') {
      this.code.brIf(this.#labels.illegal, i32.eqz(readFs(this.#h)));
    }
  }

  /** Executes the next slot. */
  goOn(): void {
    this.advance();
    this.code.br(this.#labels.next);
  }

  /** Moves on to the next slot. */
  advance(): void {
    const { slot } = this.#r;
    this.code.set(slot, i32.add(slot.get, i32.const((this.#length / 2) * SLOT_BYTES)));
  }

  get rs1(): I64 {
    return i64.load(this.#register(2), X_OFFSET);
  }

  get rs2(): I64 {
    return i64.load(this.#register(3), X_OFFSET);
  }

  get imm(): I64 {
    return i64.load32_s(this.#r.slot.get, 4);
  }

  get pc(): I64 {
    return pcOf(this.#r);
  }

  get nextPc(): I64 {
    return i64.add(this.pc, i64.const(this.#length));
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

  /** The decoder turns pure instructions with rd = x0 into no-operations; after the others x0 is 0 again. */
  setRd(value: I64): void {
    this.code.store(8, this.#register(1), value, X_OFFSET);
    if (!this.#instruction!.pure) this.code.store(8, this.#h.hart, i64.const(0), X_OFFSET);
  }

  readable(bytes: 1 | 2 | 4 | 8, address: I64): I32 {
    const gva = this.temporary('i64', address).get;
    const machine = this.temporary('i32', this.#entry(gva, 0));
    this.code.unlikely(
      this.#misses(machine.get, gva, bytes),
      () => {
        this.code.set(machine, call('i32', this.#runtime.access.load, this.#h.hart, gva, i32.const(bytes)));
        this.code.brIf(this.#labels.exception, i32.eqz(machine.get));
      },
      () => this.code.set(machine, i32.add(i32.load(machine.get, 8), i32.wrap(gva))),
    );
    return machine.get;
  }

  store(bytes: 1 | 2 | 4 | 8, address: I64, value: I64): void {
    const gva = this.temporary('i64', address).get;
    const entry = this.temporary('i32', this.#entry(gva, TLB_WRITE_OFFSET));
    this.code.unlikely(
      this.#misses(entry.get, gva, bytes),
      () => {
        const { access } = this.#runtime;
        this.code.set(entry, call('i32', access.store, this.#h.hart, gva, i32.const(bytes), value));
        this.code.brIf(this.#labels.exception, i32.eqz(entry.get));
        this.code.if(i32.eq(entry.get, i32.const(STORED.doneAndResynchronize)), () => this.#pollAtNext());
      },
      () => this.code.store(bytes, i32.add(i32.load(entry.get, 8), i32.wrap(gva)), value),
    );
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
    noteTarget(this.#h, this.#r.slot.get, target, (type, value) => this.temporary(type, value));
    this.#jump(target);
  }

  #jump(target: I64): void {
    this.code.set(this.#r.target, target);
    this.code.br(this.#labels.jump);
  }

  /** A target in the same block is a slot at a distance of four times the offset. */
  jumpRelative(): void {
    const { slot, block, remaining } = this.#r;
    const offset = this.temporary('i32', i32.load(slot.get, 4)).get;
    const destination = this.temporary('i32', i32.add(slot.get, i32.shl(offset, i32.const(2)))).get;
    const sameBlock = i32.lt_u(i32.sub(destination, block.get), i32.const(SLOTS_BYTES));
    this.code.if(i32.and(sameBlock, i32.ge_s(remaining.get, i32.const(0))), () => {
      this.code.set(slot, destination);
      // Only loops are counted here: what a forward jump leads to belongs to the code around it.
      this.code.if(i32.lt_s(offset, i32.const(0)), () =>
        countJump(this.#h, slot.get, this.#runtime.imports, () => pcOf(this.#r)),
      );
      this.code.br(this.#labels.next);
    });
    this.#jump(i64.add(this.pc, this.imm));
  }

  branch(condition: I32): void {
    this.code.if(condition, () => this.jumpRelative());
  }

  floatBits(source: 1 | 2 | 3): I64 {
    // rs3 stands in the second byte of the immediate.
    const operand = source === 3 ? 5 : source + 1;
    return i64.load(this.#register(operand), F_OFFSET);
  }

  singleBits(source: 1 | 2 | 3): I32 {
    return unbox(this.temporary('i64', this.floatBits(source)).get);
  }

  setFloat64(bits: I64): void {
    this.code.store(8, this.#register(1), bits, F_OFFSET);
    setDirty(this.#h);
  }

  setFloat32(bits: I32): void {
    this.setFloat64(box(bits));
  }

  float(operation: FloatOperation, format: FloatFormat, ...operands: I64[]): I64 {
    const mode = this.temporary('i32', i32.const(0));
    if (!UNROUNDED.has(operation)) {
      // 7 is dynamic: the mode in frm. 5 and 6 are reserved in both places.
      this.code.set(mode, i32.and(i32.load8_u(this.#r.slot.get, 4), i32.const(7)));
      this.code.if(i32.eq(mode.get, i32.const(7)), () =>
        this.code.set(mode, i32.and(i32.shr_u(this.#h.get32('fcsr'), i32.const(5)), i32.const(7))),
      );
      this.code.brIf(this.#labels.illegal, i32.gt_u(mode.get, i32.const(4)));
    }
    const zero = i64.const(0);
    const [a = zero, b = zero, c = zero] = operands;
    const callee = floatFunction(this.#runtime.float, operation, format);
    return this.temporary('i64', call('i64', callee, this.#h.hart, mode.get, a, b, c)).get;
  }

  csr(operation: CsrOperation, operand: I64, writes: I32): void {
    this.#h.set32('remaining', this.#r.remaining.get);
    const index = i32.load(this.#r.slot.get, 4);
    const status = this.temporary(
      'i32',
      call('i32', this.#runtime.csr, this.#h.hart, index, operand, i32.const(CSR_OPERATION[operation]), writes),
    ).get;
    this.code.brIf(this.#labels.illegal, i32.eqz(status));
    this.setRd(this.#h.get('value'));
    this.code.if(i32.eq(status, i32.const(CSR_STATUS.resynchronize)), () => this.#fetchAtNext());
    this.code.set(this.#r.dataTlb, this.#h.get32('dataTlb'));
  }

  get rs1FieldIsNonzero(): I32 {
    return i32.ne(i32.load8_u(this.#r.slot.get, 2), i32.const(0));
  }

  get uimm(): I64 {
    return i64.extend_i32_u(i32.shr_u(i32.load8_u(this.#r.slot.get, 2), i32.const(3)));
  }

  ecall(): void {
    const privilege = this.#h.get32('privilege');
    const isHypercall = i32.and(i32.eq(privilege, i32.const(PRIVILEGE.S)), this.#h.get32('hypercalls'));
    this.code.if(isHypercall, () => this.#exit(EXIT.hypercall, this.pc));
    this.#h.raise(i32.add(i32.const(CAUSE.ecallFromU), privilege), i64.const(0));
    this.code.br(this.#labels.exception);
  }

  ebreak(): void {
    this.#h.raise(CAUSE.breakpoint, this.pc);
    this.code.br(this.#labels.exception);
  }

  mret(): void {
    this.code.brIf(this.#labels.illegal, i32.eqz(call('i32', this.#runtime.trap.mret, this.#h.hart)));
    this.code.br(this.#labels.fetch);
  }

  sret(): void {
    this.code.brIf(this.#labels.illegal, i32.eqz(call('i32', this.#runtime.trap.sret, this.#h.hart)));
    this.code.br(this.#labels.fetch);
  }

  /** Illegal in U-mode, and in S-mode when mstatus.TW is set (it may wait no time at all then). */
  wfi(): void {
    const privilege = this.#h.get32('privilege');
    const timeoutWait = this.#h.has('mstatus', 1n << 21n);
    this.code.brIf(
      this.#labels.illegal,
      i32.or(i32.eqz(privilege), i32.and(i32.ne(privilege, i32.const(PRIVILEGE.M)), timeoutWait)),
    );
    const wanted = i64.and(i64.extend_i32_u(this.#h.pending), this.#h.get('mie'));
    this.code.if(i64.eqz(wanted), () => this.#exit(EXIT.wfi, this.nextPc));
    this.#fetchAtNext();
  }

  fence(): void {
    this.#h.fence(i32.load(this.#r.slot.get, 4));
  }

  /** Where there are other harts, one that spins for long is better not executed for a while. */
  pause(): void {
    this.code.if(this.#h.get32('fences'), () => {
      const pauses = this.temporary('i32', i32.add(this.#h.get32('pauses'), i32.const(1))).get;
      this.#h.set32('pauses', pauses);
      this.code.if(i32.eq(pauses, i32.const(MOST_PAUSES)), () => {
        this.#h.set32('pauses', i32.const(0));
        this.#exit(EXIT.pause, this.nextPc);
      });
    });
  }

  /**
   * Stores of this hart and its devices to code take effect at once, and so does a change of a page's frame. Other harts'
   * stores are found when the page is fetched again, which has to be if there were any.
   */
  fenceI(): void {
    const h = this.#h;
    this.code.if(h.get32('fences'), () => {
      const changes = this.temporary('i32', i32.atomicLoad(h.get32('codeChanges'))).get;
      this.code.if(i32.ne(changes, h.get32('codeChangesSeen')), () => {
        h.set32('codeChangesSeen', changes);
        this.code.callVoid(this.#runtime.tlb.flushFetch, h.hart);
        this.code.callVoid(this.#runtime.tlb.forgetJumps, h.hart);
      });
    });
    this.#fetchAtNext();
  }

  sfenceVma(): void {
    this.code.brIf(this.#labels.illegal, fenceIsIllegal(this.#h));
    const hasAsid = i32.load8_u(this.#r.slot.get, 3);
    this.code.callVoid(this.#runtime.tlb.fence, this.#h.hart, this.rs1, this.rs1FieldIsNonzero, this.rs2, hasAsid);
    this.#fetchAtNext();
  }

  /** Address of the register that an operand byte of the slot names, less the file's offset. */
  #register(operandByte: number): I32 {
    return i32.add(this.#h.hart, i32.load8_u(this.#r.slot.get, operandByte));
  }

  #entry(gva: I64, table: number): I32 {
    const index = i32.add(this.#r.dataTlb.get, tlbIndex(gva));
    return table === 0 ? index : i32.add(index, i32.const(table));
  }

  /** The tag has no offset bits; those that would make the access misaligned stay, so that it misses. */
  #misses(entry: I32, gva: I64, bytes: number): I32 {
    return i64.ne(i64.load(entry), i64.and(gva, i64.const(-4096 | (bytes - 1))));
  }

  #atomicAddress(bytes: 4 | 8, address: I64, access: number): I32 {
    const gva = this.temporary('i64', address).get;
    const machine = this.temporary('i32', this.#entry(gva, access === ACCESS.write ? TLB_WRITE_OFFSET : 0));
    this.code.unlikely(
      this.#misses(machine.get, gva, bytes),
      () => {
        const { atomic } = this.#runtime.access;
        this.code.set(machine, call('i32', atomic, this.#h.hart, gva, i32.const(bytes), i32.const(access)));
        this.code.brIf(this.#labels.exception, i32.eqz(machine.get));
      },
      () => this.code.set(machine, i32.add(i32.load(machine.get, 8), i32.wrap(gva))),
    );
    return machine.get;
  }

  #fetchAtNext(): void {
    this.#h.set('pc', this.nextPc);
    this.code.br(this.#labels.fetch);
  }

  /** After a device access or a change of the page in execution: looks at everything before the next instruction. */
  #pollAtNext(): void {
    const { remaining } = this.#r;
    const { sample } = this.#runtime.imports;
    if (sample !== undefined) this.code.callVoid(sample, this.pc);
    this.#h.set('pc', this.nextPc);
    const status = this.temporary('i32', call('i32', this.#runtime.trap.poll, this.#h.hart, remaining.get)).get;
    this.code.if(status, () => this.code.return(status));
    this.code.set(remaining, this.#h.get32('remaining'));
    this.code.br(this.#labels.fetch);
  }

  #exit(reason: number, pc: I64): void {
    this.#h.set('pc', pc);
    this.#h.set32('remaining', this.#r.remaining.get);
    this.code.return(i32.const(reason));
  }
}
