/** Loops around what needs more than registers: floating point in all its modes, CSRs, atomics, traps and interrupts. */
import { CSR_NUMBER, MSTATUS } from '../csr.ts';
import { DATA, DATA_SIZE } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { ADDRESS, Builder, DATA_BASE, randomFloat, SCRATCH } from './builder.ts';
import { emitFloat, emitFloatCsr } from './float.ts';
import { emitLoopStep } from './loops.ts';
import { BRANCH_NAMES, emitAtomic } from './memory.ts';
import { emitCsr, emitTrap } from './privileged.ts';

const OUTER = 20;
const INNER = 21;

/** A loop around `body`, and in one case of two another one in it. */
function around(b: Builder, most: number, body: () => void): void {
  const { random, a } = b;
  const [top, next] = [b.label(), b.label()];
  a.li(OUTER, random.between(3, most));
  a.label(top);
  for (let n = random.between(2, 8); n > 0; n--) body();
  if (random.chance(2)) a.to(random.pick(BRANCH_NAMES), next, { rs1: b.rs(), rs2: b.rs() });
  if (random.chance(2)) {
    const again = b.label();
    a.li(INNER, random.between(2, 8));
    a.label(again);
    for (let n = random.between(1, 4); n > 0; n--) body();
    a.op('addi', { rd: INNER, rs1: INNER, imm: -1 });
    a.to('bne', again, { rs1: INNER, rs2: 0 });
  }
  for (let n = random.below(4); n > 0; n--) body();
  a.label(next);
  a.op('addi', { rd: OUTER, rs1: OUTER, imm: -1 });
  a.to('blt', top, { rs1: 0, rs2: OUTER });
}

/**
 * The state of the floating-point unit: off (all of its instructions are illegal), or on. Whether it is dirty is not
 * looked at: a machine may say so earlier.
 */
function emitFloatState(b: Builder): void {
  const { random, a } = b;
  if (b.mode === 'U') return;
  const imm = b.mode === 'M' ? CSR_NUMBER.mstatus : CSR_NUMBER.sstatus;
  a.li(SCRATCH, 3n << MSTATUS.FS_SHIFT);
  a.op('csrrc', { rd: 0, rs1: SCRATCH, imm });
  const state = random.below(8);
  if (state === 0) return;
  a.li(SCRATCH, BigInt(Math.min(state, 3)) << MSTATUS.FS_SHIFT);
  a.op('csrrs', { rd: 0, rs1: SCRATCH, imm });
}

export function floatLoops(random: Random, number: number): Program {
  const b = new Builder(random, number, 'floatloops');
  b.anyMode();
  b.reserve(OUTER, INNER);
  for (let at = DATA + DATA_SIZE / 2; at < DATA + DATA_SIZE / 2 + 1024; at += 8) {
    b.program.pokes.push([at, randomFloat(random)]);
  }
  const changesState = random.chance(3);
  b.repeat(2, 5);
  b.program.trapLimit = 150;
  for (let n = random.between(1, 3); n > 0; n--) {
    around(b, 30, () => {
      const draw = random.below(16);
      if (draw < 9) emitFloat(b);
      else if (draw < 12) b.a.op('fld', { rd: b.rs(), rs1: DATA_BASE, imm: random.below(128) * 8 });
      else if (draw === 12) b.a.op('fsd', { rs2: b.rs(), rs1: DATA_BASE, imm: -random.between(1, 255) * 8 });
      else if (draw === 13) emitFloatCsr(b);
      else if (draw === 14 && changesState) emitFloatState(b);
      else emitLoopStep(b);
    });
  }
  if (changesState && b.mode !== 'U') {
    b.a.li(SCRATCH, 3n << MSTATUS.FS_SHIFT);
    b.a.op('csrrs', { rd: 0, rs1: SCRATCH, imm: b.mode === 'M' ? CSR_NUMBER.mstatus : CSR_NUMBER.sstatus });
  }
  return b.build();
}

/** Adds to a word until nobody has come between, which is at once. */
function emitReservationLoop(b: Builder): void {
  const { random, a } = b;
  const again = b.label();
  const suffix = random.pick(['.w', '.d']);
  const order = random.below(4);
  a.op('addi', { rd: ADDRESS, rs1: DATA_BASE, imm: random.between(-128, 127) * 8 });
  a.label(again);
  a.atomic(`lr${suffix}`, { rd: SCRATCH, rs1: ADDRESS, order });
  for (let n = random.below(3); n > 0; n--) b.integer();
  a.op(random.pick(['add', 'xor'] as const), { rd: SCRATCH, rs1: SCRATCH, rs2: b.rs() });
  a.atomic(`sc${suffix}`, { rd: SCRATCH, rs1: ADDRESS, rs2: SCRATCH, order });
  a.to('bne', again, { rs1: SCRATCH, rs2: 0 });
}

/** Raises a software interrupt, which is taken before the next instruction if it is enabled. */
function emitInterrupt(b: Builder): void {
  const { random, a } = b;
  if (b.mode === 'S') {
    a.op('csrrsi', { rd: b.rd(), rs1: 2, imm: CSR_NUMBER.sip });
    if (random.chance(2)) b.compute();
    a.op(random.pick(['csrrsi', 'csrrci'] as const), { rd: b.rd(), rs1: 2, imm: CSR_NUMBER.sstatus });
  } else if (b.mode === 'M') {
    a.li(SCRATCH, random.pick([0x2n, 0x20n, 0x200n]));
    a.op('csrrw', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mip });
    if (random.chance(2)) b.compute();
    a.op(random.pick(['csrrsi', 'csrrci'] as const), { rd: b.rd(), rs1: 8, imm: CSR_NUMBER.mstatus });
  }
}

export function systemLoops(random: Random, number: number): Program {
  const b = new Builder(random, number, 'systemloops');
  if (random.chance(5)) b.beginNearPageEnd();
  b.setMode(random.pick(['M', 'S', 'S', 'U'] as const));
  if (b.mode !== 'M') b.delegate();
  const interrupts = b.mode !== 'U' && random.chance(2);
  if (interrupts) {
    if (b.mode === 'S') b.program.mideleg = random.chance(2) ? 0x222n : 0n;
    if (random.chance(2)) b.program.stvec |= 1n;
    b.program.mie = 0x222n;
  }
  b.reserve(OUTER, INNER);
  b.repeat(2, 4);
  b.program.trapLimit = 200;
  for (let n = random.between(1, 3); n > 0; n--) {
    // What a loop does, so that not all do everything.
    const some = [
      () => emitAtomic(b),
      () => emitReservationLoop(b),
      () => b.a.op('fence'),
      () => b.a.op('fence.i'),
      () => (interrupts ? emitInterrupt(b) : emitCsr(b)),
      () => (interrupts ? emitAtomic(b) : emitCsr(b)),
      () => emitTrap(b),
    ];
    const chosen = [random.pick(some), random.pick(some), random.pick(some)];
    around(b, 20, () => (random.chance(3) ? random.pick(chosen)() : emitLoopStep(b)));
  }
  return b.build();
}
