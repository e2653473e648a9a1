/** What all generators share: a program under construction and draws of values, registers and plain instructions. */
import { Assembler } from '../assembler.ts';
import { ADUE, MODE, MSTATUS } from '../csr.ts';
import {
  BIT_IMMEDIATE,
  BIT_REGISTER,
  INTEGER_IMMEDIATE,
  INTEGER_REGISTER,
  type Mnemonic,
  MULTIPLY_DIVIDE,
} from '../encode.ts';
import { CODE, DATA, DATA_SIZE, PAGE, STUB } from '../layout.ts';
import { type Category, PMP_ALL, type Program } from '../program.ts';
import type { Random } from '../random.ts';
import { IdentityTables } from './page-tables.ts';

/**
 * Registers with a purpose, never a random destination: the stack pointer and DATA_BASE point into the data pages,
 * COUNTER counts loops and ROUNDS those around the whole program, ADDRESS and SCRATCH hold what an instruction sequence
 * needs for itself.
 */
export const SP = 2;
export const ROUNDS = 27;
export const DATA_BASE = 28;
export const COUNTER = 29;
export const ADDRESS = 30;
export const SCRATCH = 31;

/** Middle of the data pages: everything within an immediate's reach is data. */
export const DATA_MIDDLE = DATA + DATA_SIZE / 2;

export type Mode = 'U' | 'S' | 'M';

const names = <T extends object>(table: T): (keyof T & string)[] => Object.keys(table) as (keyof T & string)[];
const REGISTER_NAMES = names(INTEGER_REGISTER);
const IMMEDIATE_NAMES = names(INTEGER_IMMEDIATE);
const MULTIPLY_NAMES = names(MULTIPLY_DIVIDE);
const BIT_REGISTER_NAMES = names(BIT_REGISTER);
const BIT_IMMEDIATE_NAMES = names(BIT_IMMEDIATE);

/** Values around which arithmetic changes its behaviour. */
const CORNERS = [
  0n,
  1n,
  2n,
  -1n,
  -2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  -0x8000_0000n,
  -0x8000_0001n,
  (1n << 63n) - 1n,
  -(1n << 63n),
  (1n << 63n) + 1n,
  0x5555_5555_5555_5555n,
];

export function randomInteger(random: Random): bigint {
  switch (random.below(4)) {
    case 0:
      return BigInt.asUintN(64, random.pick(CORNERS));
    case 1:
      return BigInt.asUintN(64, random.pick(CORNERS) + BigInt(random.between(-2, 2)));
    case 2:
      return BigInt.asUintN(64, BigInt.asIntN(64, random.bits64()) >> BigInt(random.below(64)));
    default:
      return random.bits64();
  }
}

/** A float pattern for a 64-bit register: doubles, boxed singles, singles without a proper box. */
export function randomFloat(random: Random): bigint {
  const kind = random.below(8);
  if (kind < 3) return randomPattern(random, 52, 11);
  const single = randomPattern(random, 23, 8);
  if (kind === 7)
    return ((random.chance(2) ? random.bits64() << 32n : 0xffff_fffen << 32n) & ((1n << 64n) - 1n)) | single;
  return (0xffff_ffffn << 32n) | single;
}

function randomPattern(random: Random, fractionBits: number, exponentBits: number): bigint {
  const top = (1 << exponentBits) - 1;
  const bias = top >> 1;
  const exponent = random.pick([
    0,
    1,
    2,
    top,
    top - 1,
    top - 2,
    bias,
    bias - 1,
    bias + 1,
    bias + random.between(-70, 70),
    bias + random.between(-70, 70),
    bias + 30,
    bias + 31,
    bias + 32,
    bias + 62,
    bias + 63,
    bias + 64,
    random.below(top + 1),
  ]);
  const all = (1n << BigInt(fractionBits)) - 1n;
  const fraction = random.pick([
    0n,
    1n,
    all,
    1n << BigInt(fractionBits - 1),
    random.bits64() & all,
    random.bits64() & all,
    random.bits64() & all,
    1n << BigInt(random.below(fractionBits)),
    (all << BigInt(random.below(fractionBits))) & all,
  ]);
  const sign = BigInt(random.below(2));
  return (((sign << BigInt(exponentBits)) | BigInt(exponent & top)) << BigInt(fractionBits)) | fraction;
}

/** A program under construction. */
export class Builder {
  readonly random: Random;
  readonly a = new Assembler();
  readonly program: Program;
  mode: Mode = 'M';
  /** Registers without a purpose. */
  #free: readonly number[] = Array.from({ length: ROUNDS }, (_, n) => n).filter((n) => n !== SP);
  #labels = 0;
  /** Where the rounds of `repeat` begin, and where they end. */
  #rounds: { again: string; end: string } | undefined;

  constructor(random: Random, number: number, category: Category) {
    this.random = random;
    const x = Array.from({ length: 32 }, () => randomInteger(random));
    x[SP] = BigInt(DATA_MIDDLE);
    x[DATA_BASE] = BigInt(DATA_MIDDLE);
    this.program = {
      number,
      category,
      entry: BigInt(CODE),
      codeAddress: BigInt(CODE),
      code: new Uint8Array(),
      end: 0n,
      mstatus: 0n,
      satp: 0n,
      medeleg: 0n,
      mideleg: 0n,
      stvec: BigInt(STUB),
      fcsr: BigInt(random.below(5) << 5),
      mie: 0n,
      mcounteren: 7n,
      scounteren: 7n,
      menvcfg: ADUE,
      pmpaddr: [0n, 0n, 0n, 0n],
      pmpcfg0: PMP_ALL,
      dataSeed: random.bits64() | 1n,
      trapLimit: 24,
      resume: [],
      x,
      f: Array.from({ length: 32 }, () => randomFloat(random)),
      pokes: [],
    };
    this.program.mstatus = 3n << MSTATUS.FS_SHIFT;
  }

  /**
   * Lets the code begin shortly before the end of its first page, so that instructions cross into the second one.
   * To be called before anything is emitted.
   */
  beginNearPageEnd(): void {
    const start = PAGE - this.random.between(1, 60) * 2;
    while (this.a.offset < start) this.a.half(0);
    this.program.entry = this.program.codeAddress + BigInt(start);
  }

  /** Chooses the mode the program runs in. */
  setMode(mode: Mode): void {
    this.mode = mode;
    this.program.mstatus |= BigInt(MODE[mode]) << MSTATUS.MPP_SHIFT;
  }

  /** Any mode; below M sometimes with identity page tables and with any delegation. */
  anyMode(): void {
    if (this.random.chance(5)) this.beginNearPageEnd();
    this.setMode(this.random.pick(['M', 'S', 'U'] as const));
    if (this.mode === 'M') return;
    this.delegate();
    if (this.random.chance(2)) this.identityPaging();
  }

  /** Delegates a random set of exceptions; never the supervisor's calls, which the stub makes. */
  delegate(): void {
    const { random, program } = this;
    if (random.chance(3)) return;
    program.medeleg = (random.chance(2) ? 0xb1ffn : random.bits64()) & 0xb1ffn & ~(1n << 9n);
    if (random.chance(2)) program.mideleg = 0x222n;
  }

  identityPaging(): void {
    const tables = new IdentityTables(this.random.pick([3, 4] as const), this.mode === 'U');
    this.program.satp = tables.satp;
    this.program.pokes.push(...tables.pokes());
  }

  label(): string {
    this.#labels += 1;
    return `L${this.#labels}`;
  }

  /** Gives registers a purpose. */
  reserve(...registers: number[]): void {
    this.#free = this.#free.filter((n) => !registers.includes(n));
  }

  /** A destination: any register without a purpose, x0 included. */
  rd(): number {
    return this.random.pick(this.#free);
  }

  /**
   * Has what is emitted from here to the end executed several times, in half of the programs, so that it is translated.
   * @param atLeast rounds
   * @param most rounds
   */
  repeat(atLeast = 4, most = 30): void {
    if (this.random.chance(2)) return;
    this.#rounds = { again: this.label(), end: this.label() };
    this.program.trapLimit = 120;
    this.a.li(ROUNDS, this.random.between(atLeast, most));
    this.a.label(this.#rounds.again);
  }

  #endRounds({ again, end }: { again: string; end: string }): void {
    const { a } = this;
    // The next round finds other operands.
    for (let n = this.random.below(5); n > 0; n--) {
      a.op(this.random.pick(['add', 'xor', 'sub'] as const), { rd: this.rd(), rs1: this.rs(), rs2: this.rs() });
    }
    a.op('addi', { rd: ROUNDS, rs1: ROUNDS, imm: -1 });
    a.to('beq', end, { rs1: ROUNDS, rs2: 0 });
    a.jump(again);
    a.label(end);
  }

  rs(): number {
    return this.random.below(32);
  }

  /** Immediate of 12 bits with a liking for its ends. */
  imm12(): number {
    return this.random.chance(4) ? this.random.pick([0, 1, -1, 2047, -2048]) : this.random.between(-2048, 2047);
  }

  #register(table: readonly Mnemonic[]): void {
    this.a.op(this.random.pick(table), { rd: this.rd(), rs1: this.rs(), rs2: this.rs() });
  }

  integer(): void {
    const { random, a } = this;
    switch (random.below(8)) {
      case 0:
        a.op(random.pick(['lui', 'auipc'] as const), { rd: this.rd(), imm: random.below(1 << 20) });
        break;
      case 1:
      case 2:
      case 3:
        a.op(random.pick(IMMEDIATE_NAMES), { rd: this.rd(), rs1: this.rs(), imm: this.imm12() });
        break;
      default:
        this.#register(REGISTER_NAMES);
    }
  }

  multiply(): void {
    this.#register(MULTIPLY_NAMES);
  }

  bits(): void {
    const { random, a } = this;
    if (random.chance(2)) {
      this.#register(BIT_REGISTER_NAMES);
      return;
    }
    const name = random.pick(BIT_IMMEDIATE_NAMES);
    let rs1 = this.rs();
    if (name === 'ctzw') {
      // QEMU 7.2 counts into the upper word where the lower one is zero: the upper one is cleared.
      a.op('add.uw', { rd: ADDRESS, rs1, rs2: 0 });
      rs1 = ADDRESS;
    }
    a.op(name, { rd: this.rd(), rs1, imm: random.below(64) });
  }

  /** Refreshes a register, so that values do not all decay to zeros and ones. */
  constant(): void {
    this.a.li(this.rd(), randomInteger(this.random));
  }

  /** Any instruction that computes in integer registers. */
  compute(): void {
    const draw = this.random.below(10);
    if (draw === 0) this.constant();
    else if (draw < 6) this.integer();
    else if (draw < 8) this.multiply();
    else this.bits();
  }

  /** The finished program: an ebreak at its end, code and addresses filled in. */
  build(): Program {
    if (this.#rounds !== undefined) this.#endRounds(this.#rounds);
    while (this.a.offset % 4 !== 0) this.a.compressed('c.nop');
    const end = this.a.offset;
    this.a.op('ebreak');
    this.program.code = this.a.finish();
    this.program.end = this.program.codeAddress + BigInt(end);
    return this.program;
  }

  /** Where to go on after a trap outside of the code: here. */
  resumeHere(): void {
    this.program.resume.push(this.program.codeAddress + BigInt(this.a.offset));
  }
}
