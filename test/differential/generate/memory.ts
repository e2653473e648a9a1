/** Loads and stores, branches and loops, atomics, self-modifying code. */
import { ATOMICS, ENCODERS, FLOAT_LOADS, FLOAT_STORES, LOADS, type Mnemonic, STORES } from '../encode.ts';
import { CODE, PAGE } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { ADDRESS, Builder, COUNTER, DATA_BASE, ROUNDS, SCRATCH } from './builder.ts';
import { emitCompressed } from './simple.ts';

const LOAD_NAMES = Object.keys(LOADS) as Mnemonic[];
const STORE_NAMES = Object.keys(STORES) as Mnemonic[];
const FLOAT_LOAD_NAMES = Object.keys(FLOAT_LOADS) as Mnemonic[];
const FLOAT_STORE_NAMES = Object.keys(FLOAT_STORES) as Mnemonic[];

/** A load or store at base + imm. */
export function emitAccess(b: Builder, base: number, imm: number): void {
  const { random, a } = b;
  const names = random.pick([
    LOAD_NAMES,
    LOAD_NAMES,
    LOAD_NAMES,
    STORE_NAMES,
    STORE_NAMES,
    FLOAT_LOAD_NAMES,
    FLOAT_STORE_NAMES,
  ]);
  const isFloat = names === FLOAT_LOAD_NAMES || names === FLOAT_STORE_NAMES;
  a.op(random.pick(names), { rd: isFloat ? b.rs() : b.rd(), rs1: base, rs2: b.rs(), imm });
}

/** An access anywhere in the data pages, aligned or not, crossing pages now and then. */
export function emitDataAccess(b: Builder): void {
  const { random, a } = b;
  switch (random.below(4)) {
    case 0: {
      // Around the boundary between two pages.
      a.op('addi', { rd: ADDRESS, rs1: DATA_BASE, imm: random.between(-9, 1) });
      emitAccess(b, ADDRESS, random.pick([0, 0, -PAGE / 2, 1, 2]));
      break;
    }
    case 1: {
      // An address that was computed.
      a.op('andi', { rd: ADDRESS, rs1: b.rs(), imm: random.pick([0x7ff, 0x7f8, 0x3ff]) });
      a.op('add', { rd: ADDRESS, rs1: ADDRESS, rs2: DATA_BASE });
      emitAccess(b, ADDRESS, random.between(-1024, 1000));
      break;
    }
    default:
      emitAccess(b, DATA_BASE, random.chance(2) ? random.between(-2048, 2047) : random.between(-256, 255) * 8);
  }
}

export function memory(random: Random, number: number): Program {
  const b = new Builder(random, number, 'memory');
  b.anyMode();
  b.repeat();
  for (let n = random.between(30, 80); n > 0; n--) {
    if (random.chance(4)) b.compute();
    else emitDataAccess(b);
  }
  return b.build();
}

export const BRANCH_NAMES = ['beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu'] as const;

function body(b: Builder): void {
  for (let n = b.random.below(5); n > 0; n--) {
    const draw = b.random.below(4);
    if (draw === 0) emitDataAccess(b);
    else if (draw === 1) emitCompressed(b);
    else b.compute();
  }
}

function emitBranchBlock(b: Builder): void {
  const { random, a } = b;
  const target = b.label();
  const same = b.rs();
  switch (random.below(6)) {
    case 0:
    case 1:
      a.to(random.pick(BRANCH_NAMES), target, { rs1: same, rs2: random.chance(3) ? same : b.rs() });
      body(b);
      a.label(target);
      break;
    case 2: {
      // A loop; the counter is nothing's destination, and there are no loops inside.
      a.li(COUNTER, random.between(1, 40));
      a.label(target);
      for (let n = random.between(1, 3); n > 0; n--) emitLoopPart(b);
      a.op('addi', { rd: COUNTER, rs1: COUNTER, imm: -1 });
      a.to(random.pick(['bne', 'blt', 'bltu'] as const), target, { rs1: 0, rs2: COUNTER });
      break;
    }
    case 3: {
      // A call to a short function behind a jump over it.
      const over = b.label();
      const link = random.pick([1, 5]);
      a.jump(over);
      a.label(target);
      body(b);
      a.op('jalr', { rd: 0, rs1: SCRATCH, imm: 0 });
      a.label(over);
      a.to('jal', target, { rd: SCRATCH });
      a.op('add', { rd: link, rs1: link, rs2: SCRATCH });
      break;
    }
    case 4: {
      // An indirect jump forward with an odd target: bit 0 is ignored.
      const skipped = random.below(4);
      a.op('auipc', { rd: SCRATCH, imm: 0 });
      a.op('jalr', { rd: random.pick([0, 1, SCRATCH]), rs1: SCRATCH, imm: 8 + skipped * 4 + random.below(2) });
      for (let n = 0; n < skipped; n++) a.op('addi', { rd: b.rd(), rs1: b.rs(), imm: b.imm12() });
      break;
    }
    default:
      body(b);
      a.to('jal', target, { rd: b.rd() });
      b.compute();
      a.label(target);
  }
}

/** Part of a loop: no compressed sequences that use the counter, no loops. */
function emitLoopPart(b: Builder): void {
  const { random, a } = b;
  const target = b.label();
  a.to(random.pick(BRANCH_NAMES), target, { rs1: b.rs(), rs2: b.rs() });
  for (let n = random.below(4); n > 0; n--) {
    if (random.chance(3)) emitDataAccess(b);
    else b.compute();
  }
  a.label(target);
  b.compute();
}

export function branches(random: Random, number: number): Program {
  const b = new Builder(random, number, 'branches');
  b.anyMode();
  b.repeat();
  for (let n = random.between(8, 18); n > 0; n--) emitBranchBlock(b);
  return b.build();
}

export const AMO_NAMES = Object.keys(ATOMICS).filter((name) => name.startsWith('amo'));

/** Atomics on data: single operations and reservations that are used as the specification says they may be. */
export function emitAtomic(b: Builder): void {
  const { random, a } = b;
  const size = random.pick([4, 8]);
  const suffix = size === 4 ? '.w' : '.d';
  const order = random.below(4);
  const aligned = random.between(-128, 127) * 8 + (size === 4 && random.chance(2) ? 4 : 0);
  a.op('addi', { rd: ADDRESS, rs1: DATA_BASE, imm: aligned });
  switch (random.below(8)) {
    case 0:
      // A reservation that is used.
      a.atomic(`lr${suffix}`, { rd: b.rd(), rs1: ADDRESS, order });
      for (let n = random.below(3); n > 0; n--) b.integer();
      a.atomic(`sc${suffix}`, { rd: b.rd(), rs1: ADDRESS, rs2: b.rs(), order });
      break;
    case 1:
      // The second conditional store has no reservation any more.
      a.atomic(`lr${suffix}`, { rd: b.rd(), rs1: ADDRESS, order });
      a.atomic(`sc${suffix}`, { rd: SCRATCH, rs1: ADDRESS, rs2: b.rs(), order });
      a.atomic(`sc${suffix}`, { rd: b.rd(), rs1: ADDRESS, rs2: b.rs(), order });
      break;
    case 2:
      // A reservation of another address does not count.
      a.atomic(`lr${suffix}`, { rd: b.rd(), rs1: ADDRESS, order });
      a.op('addi', { rd: ADDRESS, rs1: ADDRESS, imm: 64 });
      a.atomic(`sc${suffix}`, { rd: b.rd(), rs1: ADDRESS, rs2: b.rs(), order });
      break;
    default: {
      if (random.chance(16)) {
        // Misaligned: a trap.
        a.op('addi', { rd: ADDRESS, rs1: ADDRESS, imm: random.between(1, 3) });
        a.atomic(random.pick([...AMO_NAMES, `lr${suffix}`]), { rd: b.rd(), rs1: ADDRESS, rs2: 0, order });
        break;
      }
      const name = random.pick(AMO_NAMES);
      if (name.endsWith('.d')) a.op('andi', { rd: ADDRESS, rs1: ADDRESS, imm: -8 });
      a.atomic(name, { rd: b.rd(), rs1: ADDRESS, rs2: b.rs(), order });
    }
  }
}

export function atomics(random: Random, number: number): Program {
  const b = new Builder(random, number, 'atomics');
  b.anyMode();
  b.repeat();
  for (let n = random.between(15, 45); n > 0; n--) {
    const draw = random.below(4);
    if (draw === 0) b.compute();
    else if (draw === 1) emitDataAccess(b);
    else emitAtomic(b);
  }
  return b.build();
}

/** Code that rewrites instructions ahead and behind, each time followed by fence.i. */
export function selfModifying(random: Random, number: number): Program {
  const b = new Builder(random, number, 'selfmod');
  b.setMode(random.pick(['M', 'S', 'U'] as const));
  if (b.mode !== 'M' && random.chance(2)) b.identityPaging();
  b.repeat();
  const { a } = b;
  for (let round = random.between(3, 8); round > 0; round--) {
    const site = b.label();
    const again = b.label();
    a.li(COUNTER, random.between(1, 4));
    a.label(again);
    // Build an instruction whose immediate depends on the round, store it over the site ahead.
    const rd = random.between(5, ROUNDS - 1);
    const base = ENCODERS[random.pick(['addi', 'xori', 'ori'] as const)]({ rd, rs1: rd, imm: random.below(1024) });
    a.li(SCRATCH, base);
    a.op('slli', { rd: ADDRESS, rs1: COUNTER, imm: 20 });
    a.op('add', { rd: SCRATCH, rs1: SCRATCH, rs2: ADDRESS });
    a.op('auipc', { rd: ADDRESS, imm: 0 });
    // auipc, sw or sh pair, fence.i, filler, site
    const filler = random.below(4);
    const halves = random.chance(3);
    const distance = 4 + (halves ? 12 : 4) + 4 + filler * 4;
    if (halves) {
      a.op('sh', { rs1: ADDRESS, rs2: SCRATCH, imm: distance });
      a.op('srli', { rd: SCRATCH, rs1: SCRATCH, imm: 16 });
      a.op('sh', { rs1: ADDRESS, rs2: SCRATCH, imm: distance + 2 });
    } else {
      a.op('sw', { rs1: ADDRESS, rs2: SCRATCH, imm: distance });
    }
    a.op('fence.i');
    for (let n = 0; n < filler; n++) a.op('addi', { rd: b.rd(), rs1: b.rs(), imm: b.imm12() });
    a.label(site);
    a.op('addi', { rd: 0, rs1: 0, imm: 0 });
    a.op('addi', { rd: COUNTER, rs1: COUNTER, imm: -1 });
    a.to('bne', again, { rs1: COUNTER, rs2: 0 });
    if (random.chance(2)) emitRemoteCode(b);
    body(b);
  }
  return b.build();
}

/** Writes a little function into the last part of the second code page and calls it. */
function emitRemoteCode(b: Builder): void {
  const { random, a } = b;
  a.li(ADDRESS, CODE + PAGE + 0x800 + random.below(64) * 8);
  const rd = random.between(5, ROUNDS - 1);
  const first = ENCODERS.addi({ rd, rs1: b.rs(), imm: b.imm12() });
  const back = ENCODERS.jalr({ rd: 0, rs1: SCRATCH, imm: 0 });
  a.li(SCRATCH, (BigInt(back) << 32n) | BigInt(first));
  a.op('sd', { rs1: ADDRESS, rs2: SCRATCH, imm: 0 });
  a.op('fence.i');
  a.op('jalr', { rd: SCRATCH, rs1: ADDRESS, imm: 0 });
}
