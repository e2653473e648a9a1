/**
 * Programs that stay a while in the same code: nested loops, loops with several entries, calls of small functions and of
 * such with a frame, recursion, jumps and calls through tables, jumps to and fro without any order.
 */
import { DATA, DATA_SIZE } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { Builder, DATA_BASE, SCRATCH, SP } from './builder.ts';
import { BRANCH_NAMES, emitAccess, emitDataAccess } from './memory.ts';
import { emitCompressedArithmetic } from './simple.ts';

const RA = 1;
/** The other register that counts as a link. */
const ALTERNATE = 5;
/** What recursive functions are called with, and count down. */
const ARGUMENT = 18;
/** Counters of loops by depth. */
const COUNTERS = [20, 21, 22, 23] as const;
/** Jumps that code without order may make yet. */
const FUEL = 24;
/** An index into a table. */
const INDEX = 25;
const FRAME = 48;
/** The stack ends here, away from what random accesses reach; above it is room for what is relative to sp. */
const STACK = DATA + DATA_SIZE - 1024;
/** Bytes of code after which no new construct is begun. */
const MOST_CODE = 3000;
/** Times that the innermost code of a construct may be executed. */
const MOST_ROUNDS = 300;

interface Callee {
  label: string;
  link: number;
  /** It expects something small in ARGUMENT and leaves it changed. */
  recursive: boolean;
}

export function loops(random: Random, number: number): Program {
  const b = new Builder(random, number, 'loops');
  b.anyMode();
  b.reserve(RA, ALTERNATE, ARGUMENT, ...COUNTERS, FUEL, INDEX);
  b.program.x[SP] = BigInt(STACK);
  const main = b.label();
  b.a.jump(main);
  const writer = new LoopWriter(b);
  for (let n = random.between(1, 4); n > 0; n--) writer.function();
  b.a.label(main);
  b.repeat(2, 8);
  for (let n = random.between(2, 5); n > 0 && b.a.offset % 4096 < MOST_CODE; n--) writer.construct(0, MOST_ROUNDS);
  return b.build();
}

class LoopWriter {
  readonly #b: Builder;
  readonly #callees: Callee[] = [];

  constructor(b: Builder) {
    this.#b = b;
  }

  /** A function; it may call those before it. */
  function(): void {
    const { random } = this.#b;
    const label = this.#b.label();
    switch (random.below(6)) {
      case 0:
      case 1:
        this.#leaf(label, random.chance(4) ? ALTERNATE : RA);
        break;
      case 2:
        this.#withFrame(label);
        break;
      case 3:
        this.#countdown(label);
        break;
      case 4:
        this.#fibonacci(label);
        break;
      default:
        this.#skipping(label);
    }
  }

  #leaf(label: string, link: number): void {
    const { a, random } = this.#b;
    a.label(label);
    this.#steps(1, 6);
    if (random.chance(3)) {
      const over = this.#b.label();
      a.to(random.pick(BRANCH_NAMES), over, { rs1: this.#b.rs(), rs2: this.#b.rs() });
      this.#steps(1, 3);
      a.label(over);
    }
    const tail = this.#callees.find((callee) => callee.link === link && !callee.recursive);
    if (tail !== undefined && random.chance(4)) a.jump(tail.label);
    else this.#return(link);
    this.#callees.push({ label, link, recursive: false });
  }

  #return(link: number): void {
    const { a, random } = this.#b;
    if (random.chance(2)) a.compressed('c.jr', { rd: link });
    else a.op('jalr', { rd: 0, rs1: link, imm: 0 });
  }

  #enterFrame(label: string): void {
    const { a } = this.#b;
    a.label(label);
    a.op('addi', { rd: SP, rs1: SP, imm: -FRAME });
    a.op('sd', { rs1: SP, rs2: RA, imm: FRAME - 8 });
    a.op('sd', { rs1: SP, rs2: COUNTERS[3], imm: FRAME - 16 });
  }

  #leaveFrame(): void {
    const { a } = this.#b;
    a.op('ld', { rd: RA, rs1: SP, imm: FRAME - 8 });
    a.op('ld', { rd: COUNTERS[3], rs1: SP, imm: FRAME - 16 });
    a.op('addi', { rd: SP, rs1: SP, imm: FRAME });
    this.#return(RA);
  }

  /** A function that calls others, with a loop of its own now and then. */
  #withFrame(label: string): void {
    const { random, a } = this.#b;
    this.#enterFrame(label);
    this.#steps(0, 3);
    this.call();
    if (random.chance(2)) {
      const again = this.#b.label();
      a.li(COUNTERS[3], random.between(1, 5));
      a.label(again);
      this.#steps(1, 3);
      if (random.chance(2)) this.call();
      a.op('addi', { rd: COUNTERS[3], rs1: COUNTERS[3], imm: -1 });
      a.to('bne', again, { rs1: COUNTERS[3], rs2: 0 });
    }
    this.#steps(0, 3);
    this.#leaveFrame();
    this.#callees.push({ label, link: RA, recursive: false });
  }

  #countdown(label: string): void {
    const { a } = this.#b;
    const out = this.#b.label();
    this.#enterFrame(label);
    this.#steps(0, 2);
    a.to('bge', out, { rs1: 0, rs2: ARGUMENT });
    a.op('addi', { rd: ARGUMENT, rs1: ARGUMENT, imm: -1 });
    a.to('jal', label, { rd: RA });
    this.#steps(1, 2);
    a.label(out);
    this.#leaveFrame();
    this.#callees.push({ label, link: RA, recursive: true });
  }

  #fibonacci(label: string): void {
    const { a } = this.#b;
    const out = this.#b.label();
    this.#enterFrame(label);
    a.op('sd', { rs1: SP, rs2: ARGUMENT, imm: 0 });
    a.op('slti', { rd: SCRATCH, rs1: ARGUMENT, imm: 2 });
    a.to('bne', out, { rs1: SCRATCH, rs2: 0 });
    a.op('addi', { rd: ARGUMENT, rs1: ARGUMENT, imm: -1 });
    a.to('jal', label, { rd: RA });
    this.#steps(0, 2);
    a.op('ld', { rd: ARGUMENT, rs1: SP, imm: 0 });
    a.op('addi', { rd: ARGUMENT, rs1: ARGUMENT, imm: -2 });
    a.to('jal', label, { rd: RA });
    this.#steps(0, 2);
    a.label(out);
    this.#leaveFrame();
    this.#callees.push({ label, link: RA, recursive: true });
  }

  /** Returns behind the instruction to which it should return, sometimes. */
  #skipping(label: string): void {
    const { a, random } = this.#b;
    a.label(label);
    this.#steps(1, 3);
    a.op('andi', { rd: SCRATCH, rs1: this.#b.rs(), imm: 4 });
    a.op('add', { rd: RA, rs1: RA, rs2: SCRATCH });
    a.op('jalr', { rd: random.pick([0, RA]), rs1: RA, imm: 0 });
    this.#callees.push({ label, link: RA, recursive: false });
  }

  /** Calls a function. Behind the call there is an instruction of 4 bytes that may be skipped. */
  call(): void {
    const { a, random } = this.#b;
    if (this.#callees.length === 0) return;
    const { label, link, recursive } = random.pick(this.#callees);
    if (recursive) a.li(ARGUMENT, random.between(0, 5));
    a.to('jal', label, { rd: link });
    this.#b.integer();
  }

  /** A loop or something like that, whose innermost code is executed about `rounds` times at most. */
  construct(depth: number, rounds: number): void {
    switch (this.#b.random.below(6)) {
      case 0:
      case 1:
      case 2:
        this.#loop(depth, rounds);
        break;
      case 3:
        this.#disorder(rounds);
        break;
      case 4:
        this.#table(depth, rounds);
        break;
      default:
        this.#callTable(depth, rounds);
    }
  }

  #loop(depth: number, most: number): void {
    const { a, random } = this.#b;
    const counter = COUNTERS[depth]!;
    const rounds = random.between(2, Math.max(2, Math.min(40, most)));
    const [top, middle, next, out] = [this.#b.label(), this.#b.label(), this.#b.label(), this.#b.label()];
    a.li(counter, rounds);
    // A second entry into the loop, now and then.
    if (random.chance(3)) a.to(random.pick(BRANCH_NAMES), middle, { rs1: this.#b.rs(), rs2: this.#b.rs() });
    a.label(top);
    this.#steps(0, 5);
    if (random.chance(4)) a.to(random.pick(BRANCH_NAMES), next, { rs1: this.#b.rs(), rs2: this.#b.rs() });
    a.label(middle);
    if (depth < COUNTERS.length - 2 && random.chance(2) && a.offset % 4096 < MOST_CODE) {
      this.construct(depth + 1, Math.floor(most / rounds));
    } else if (random.chance(2)) this.call();
    this.#steps(0, 4);
    if (random.chance(6)) {
      // Rarely true.
      a.to('beq', out, { rs1: this.#b.rs(), rs2: this.#b.rs() });
      this.#steps(0, 2);
    }
    a.label(next);
    a.op('addi', { rd: counter, rs1: counter, imm: -1 });
    const back = random.pick(['bne', 'blt', 'bltu'] as const);
    // The loop whose body was long jumps back by way of a jump.
    if (random.chance(4)) {
      a.to('bge', out, { rs1: 0, rs2: counter });
      a.jump(top);
    } else a.to(back, top, { rs1: 0, rs2: counter });
    a.label(out);
  }

  /** Blocks that jump to each other in any way until the fuel is used up. */
  #disorder(most: number): void {
    const { a, random } = this.#b;
    const labels = Array.from({ length: random.between(3, 9) }, () => this.#b.label());
    const out = this.#b.label();
    a.li(FUEL, Math.max(4, Math.min(most, 150)));
    if (random.chance(2)) a.jump(random.pick(labels));
    for (const label of labels) {
      a.label(label);
      a.op('addi', { rd: FUEL, rs1: FUEL, imm: -1 });
      a.to('blt', out, { rs1: FUEL, rs2: 0 });
      this.#steps(0, 4);
      switch (random.below(5)) {
        case 0:
          a.jump(random.pick(labels));
          break;
        case 1:
        case 2:
          a.to(random.pick(BRANCH_NAMES), random.pick(labels), { rs1: this.#b.rs(), rs2: this.#b.rs() });
          break;
        case 3:
          a.to(random.pick(BRANCH_NAMES), random.pick(labels), { rs1: this.#b.rs(), rs2: FUEL });
          a.jump(random.pick(labels));
          break;
        default:
          if (random.chance(2)) this.call();
      }
    }
    a.label(out);
  }

  /** Leaves the address of an entry of the table that `entries` emits, all of 4 bytes, in SCRATCH. */
  #indexTable(entries: readonly string[]): void {
    const { a } = this.#b;
    const behind = this.#b.label();
    a.to('jal', behind, { rd: SCRATCH });
    for (const label of entries) a.jump(label);
    a.label(behind);
    a.op('andi', { rd: INDEX, rs1: INDEX, imm: (entries.length - 1) * 4 });
    a.op('add', { rd: SCRATCH, rs1: SCRATCH, rs2: INDEX });
  }

  #index(counter: number): void {
    const { a, random } = this.#b;
    if (random.chance(3)) a.op('xor', { rd: INDEX, rs1: this.#b.rs(), rs2: counter });
    else a.op('slli', { rd: INDEX, rs1: counter, imm: random.between(1, 3) });
  }

  /** A loop around a choice by a table. */
  #table(depth: number, most: number): void {
    const { a, random } = this.#b;
    const counter = COUNTERS[depth]!;
    const [top, next] = [this.#b.label(), this.#b.label()];
    const cases = Array.from({ length: random.pick([2, 4, 4, 8]) }, () => this.#b.label());
    a.li(counter, random.between(2, Math.max(2, Math.min(40, most))));
    a.label(top);
    this.#steps(0, 2);
    this.#index(counter);
    this.#indexTable(cases);
    a.op('jalr', { rd: random.pick([0, 0, SCRATCH]), rs1: SCRATCH, imm: random.below(2) });
    for (const label of cases) {
      a.label(label);
      this.#steps(0, 3);
      // Or on into the next case.
      if (random.chance(2)) a.jump(next);
    }
    a.label(next);
    a.op('addi', { rd: counter, rs1: counter, imm: -1 });
    a.to('blt', top, { rs1: 0, rs2: counter });
  }

  /** A loop around calls through a table. */
  #callTable(depth: number, most: number): void {
    const { a, random } = this.#b;
    const callees = this.#callees.filter(({ link }) => link === RA);
    if (callees.length === 0) {
      this.#loop(depth, most);
      return;
    }
    const counter = COUNTERS[depth]!;
    const top = this.#b.label();
    const entries = Array.from({ length: random.pick([2, 4, 8]) }, () => random.pick(callees).label);
    a.li(counter, random.between(2, Math.max(2, Math.min(30, most))));
    a.label(top);
    this.#steps(0, 3);
    this.#index(counter);
    this.#indexTable(entries);
    a.li(ARGUMENT, random.between(0, 4));
    a.op('jalr', { rd: RA, rs1: SCRATCH, imm: 0 });
    this.#b.integer();
    a.op('addi', { rd: counter, rs1: counter, imm: -1 });
    a.to('blt', top, { rs1: 0, rs2: counter });
  }

  #steps(low: number, high: number): void {
    for (let n = this.#b.random.between(low, high); n > 0; n--) emitLoopStep(this.#b);
  }
}

/** Something short that neither jumps nor touches the stack. */
export function emitLoopStep(b: Builder): void {
  switch (b.random.below(8)) {
    case 0:
      emitDataAccess(b);
      break;
    case 1:
      emitGroup(b, DATA_BASE, b.random.between(-120, 100) * 8);
      break;
    case 2:
    case 3:
      emitCompressedArithmetic(b);
      break;
    default:
      b.compute();
  }
}

/** Some accesses by the same base, near an offset from it. */
export function emitGroup(b: Builder, base: number, offset: number): void {
  const aligned = !b.random.chance(4);
  for (let n = b.random.between(2, 5); n > 0; n--) {
    const distance = b.random.between(-40, 40);
    emitAccess(b, base, offset + (aligned ? distance & ~7 : distance));
    if (b.random.chance(4)) b.integer();
  }
}
