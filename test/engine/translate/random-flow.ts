/** Small programs of random control flow, for comparing tiers with each other. */
import type { Random } from '../../differential/random.ts';
import { type Assembler, assemble, R } from '../assembler.ts';
import { DATA } from '../bare-machine.ts';

const { ra, sp, t0, s0, t5, t6 } = R;
/** What random instructions write to, and what bounds the program. */
const FREE = [5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22];
const BASES = [23, 24, 25] as const;
const [TABLE, FUEL, DEPTH] = [26, 27, 28];
const BRANCHES = ['beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu'];
const COMPUTE = ['add', 'sub', 'xor', 'sltu', 'sll', 'mul', 'divu', 'rem', 'addw', 'sraw', 'and', 'sh1add', 'max'];
const LOADS = ['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld', 'fld', 'flw'];
const STORES = ['sb', 'sh', 'sw', 'sd', 'fsd', 'fsw'];
const FLOATS = ['fadd.d', 'fmul.s', 'fsub.d', 'fmadd.d', 'fdiv.d', 'fsgnjx.d', 'fmin.s'];
/** Bytes of data that programs use, from DATA on. */
export const DATA_BYTES = 4 * 4096;

/** CSRs that programs read; how many instructions have been retired is the same in all tiers. */
const READ = ['mscratch', 'fcsr'];
const COUNTERS = ['instret', 'minstret'];

export interface FlowOptions {
  /** Instructions that it executes, about. */
  readonly most: number;
  /** Whether it looks at how many instructions have been retired. */
  readonly counts: boolean;
}

/**
 * A program: a few functions, and blocks that go on to each other at random until the fuel is used up; then it waits.
 */
export function randomFlow(random: Random, options: FlowOptions): Uint8Array {
  return assemble((a) => new FlowWriter(a, random, options).write());
}

class FlowWriter {
  readonly #a: Assembler;
  readonly #random: Random;
  readonly #options: FlowOptions;
  #functions = 0;

  constructor(a: Assembler, random: Random, options: FlowOptions) {
    this.#a = a;
    this.#random = random;
    this.#options = options;
  }

  write(): void {
    const a = this.#a;
    const random = this.#random;
    a.jump('start');
    for (let n = random.below(4); n > 0; n--) this.#function();
    const blocks = Array.from({ length: random.between(2, 12) }, (_, n) => `b${n}`);
    a.label('start')
      .li(t6, 3 << 13)
      .csr('csrrs', 0, 'mstatus', t6)
      .li(sp, DATA + DATA_BYTES - 256);
    a.li(FUEL, Math.max(2, Math.floor(this.#options.most / 8)));
    // A table of addresses of blocks, for indirect jumps.
    a.i('auipc', { rd: TABLE }).i('addi', { rd: TABLE, rs1: TABLE, imm: 12 }).jump('first');
    for (let n = 0; n < 8; n++) a.jump(random.pick(blocks));
    a.label('first');
    for (const [n, base] of BASES.entries()) this.#base(base, n === 0);
    for (const block of blocks) {
      a.label(block).i('addi', { rd: FUEL, rs1: FUEL, imm: -1 }).to('bge', 'end', { rs1: 0, rs2: FUEL });
      for (let n = random.below(7); n > 0; n--) this.#step();
      this.#leave(blocks);
    }
    a.label('end').i('wfi');
  }

  #leave(blocks: readonly string[]): void {
    const a = this.#a;
    const random = this.#random;
    switch (random.below(8)) {
      case 0:
        a.jump(random.pick(blocks));
        break;
      case 1:
        // Eight entries of four bytes.
        a.i('andi', { rd: t6, rs1: random.pick(FREE), imm: 28 }).i('add', { rd: t6, rs1: t6, rs2: TABLE });
        a.i('jalr', { rd: random.pick([0, 0, t5]), rs1: t6 });
        break;
      case 2:
        break;
      case 3:
        // A loop of its own, which the fuel need not bound.
        a.li(t5, random.between(1, 20)).label(`own${a.length}`);
        this.#ownLoop(`own${a.length}`);
        break;
      default:
        a.to(random.pick(BRANCHES), random.pick(blocks), { rs1: random.pick(FREE), rs2: random.pick([...FREE, 0]) });
    }
  }

  #ownLoop(label: string): void {
    for (let n = this.#random.between(1, 4); n > 0; n--) this.#step(false);
    this.#a.i('addi', { rd: t5, rs1: t5, imm: -1 }).to('bne', label, { rs1: t5 });
  }

  /**
   * A leaf, or a function with a frame that calls one before it, or itself as long as the depth allows; it may return behind the
   * next instruction.
   */
  #function(): void {
    const a = this.#a;
    const random = this.#random;
    const number = this.#functions;
    a.label(`f${number}`);
    const recurs = random.chance(3);
    const calls = recurs || (number > 0 && random.chance(2));
    if (calls) a.i('addi', { rd: sp, rs1: sp, imm: -16 }).i('sd', { rs1: sp, rs2: ra, imm: 8 });
    for (let n = random.between(1, 5); n > 0; n--) this.#step(false);
    if (calls) {
      if (recurs) a.i('addi', { rd: DEPTH, rs1: DEPTH, imm: -1 }).to('bge', `end${number}`, { rs1: 0, rs2: DEPTH });
      for (let n = recurs ? random.between(1, 2) : 1; n > 0; n--) {
        a.to('jal', `f${recurs ? number : random.below(number)}`, { rd: ra }).i('addi');
        for (let n = random.below(3); n > 0; n--) this.#step(false);
      }
      a.label(`end${number}`);
      a.i('ld', { rd: ra, rs1: sp, imm: 8 }).i('addi', { rd: sp, rs1: sp, imm: 16 });
    }
    if (random.chance(4))
      a.i('andi', { rd: t6, rs1: random.pick(FREE), imm: 4 }).i('add', { rd: ra, rs1: ra, rs2: t6 });
    a.i('jalr', { rs1: ra });
    this.#functions++;
  }

  #base(base: number, nearEnd: boolean): void {
    const offset = nearEnd ? 4096 - this.#random.below(80) : 1024 + this.#random.below(DATA_BYTES - 4096);
    this.#a.li(base, DATA + (this.#random.chance(3) ? offset : offset & ~7));
  }

  #step(mayCall = true): void {
    const a = this.#a;
    const random = this.#random;
    const [rd, rs1, rs2] = [random.pick(FREE), random.pick(FREE), random.pick(FREE)];
    const base = random.pick(BASES);
    switch (random.below(mayCall ? 14 : 12)) {
      case 0:
      case 1:
        for (let n = random.between(1, 4); n > 0; n--) {
          const name = random.pick(LOADS);
          a.i(name, { rd: name.startsWith('f') ? random.below(8) : random.pick(FREE), rs1: base, imm: this.#near() });
        }
        break;
      case 2:
      case 3:
        for (let n = random.between(1, 3); n > 0; n--) {
          a.i(random.pick(STORES), { rs1: base, rs2: random.below(8) + 4, imm: this.#near() });
        }
        break;
      case 4:
        this.#move(base);
        break;
      case 5: {
        const name = random.pick(FLOATS);
        const operands = { rd: random.below(8), rs1: random.below(8), rs2: random.below(8) };
        if (name === 'fsgnjx.d' || name === 'fmin.s') a.i(name, operands);
        else a.i(name, { ...operands, rm: 7, ...(name === 'fmadd.d' ? { rs3: random.below(8) } : {}) });
        break;
      }
      case 6:
        a.csr('csrrs', rd, random.pick(this.#options.counts ? [...READ, ...COUNTERS] : READ));
        break;
      case 7:
        if (random.chance(2)) a.csr('csrrw', rd, 'mscratch', rs1);
        else a.i('andi', { rd: s0, rs1: base, imm: -8 }).i('amoadd.d', { rd, rs1: s0, rs2 });
        break;
      case 12:
      case 13:
        if (this.#functions > 0)
          a.li(DEPTH, random.below(12))
            .to('jal', `f${random.below(this.#functions)}`, { rd: ra })
            .i('addi', { rd: t0, rs1: t0 });
        break;
      default:
        if (random.chance(3)) a.i('addi', { rd, rs1, imm: random.between(-2048, 2047) });
        else a.i(random.pick(COMPUTE), { rd, rs1, rs2 });
    }
  }

  /** Moves a base, and brings it back now and then, so that it stays in the data. */
  #move(base: number): void {
    const random = this.#random;
    if (random.chance(3)) this.#base(base, random.chance(2));
    else {
      // The offset in the data modulo half of it.
      this.#a.i('addi', { rd: base, rs1: base, imm: random.pick([1, 8, 8, 16, -8, -8, 64, 512, 600, -1]) });
      this.#a
        .li(s0, 0x1fff)
        .i('and', { rd: base, rs1: base, rs2: s0 })
        .li(s0, DATA + 1024);
      this.#a.i('add', { rd: base, rs1: base, rs2: s0 });
    }
  }

  #near(): number {
    const random = this.#random;
    if (random.chance(8)) return random.between(-1000, 1000);
    return random.chance(3) ? random.between(-40, 40) : random.between(-5, 4) * 8;
  }
}
