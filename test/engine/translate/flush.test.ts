import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRAME_CODE, FRAME_GENERATION_SHIFT, FRAME_INFO, FRAME_WORDS } from '../../../src/memory/layout.ts';
import { R } from '../assembler.ts';
import { BareMachine, DATA, RAM, RWX } from '../bare-machine.ts';
import { addN } from '../patching.ts';
import { paged } from '../supervisor.ts';

const { a0, a1, a2, a3, s0, s1, t0 } = R;
const ROUNDS = 60;
const MOVED_IN = 40;
/** Pages that the loop comes to one after the other, and one that takes another's frame. */
const FRESH = DATA + 0x1_0000;
const OTHER = DATA + 0x1000;

/** Runs a loop of two groups of stores; `meanwhile` is called while it waits for a page of the second one. */
function run(meanwhile: (machine: BareMachine) => void): BareMachine {
  const machine: BareMachine = new BareMachine({
    tier: 'translator',
    environment: {
      nestedFault: (gfn, write) => {
        if (gfn === (FRESH - RAM) / 4096 + MOVED_IN) meanwhile(machine);
        machine.faults.fault(gfn, write);
      },
    },
  });
  machine.execute((a) => {
    a.li(a0, DATA).li(a3, FRESH).li(s0, ROUNDS).li(a2, 0);
    a.label('round').i('addi', { rd: a2, rs1: a2, imm: 1 });
    // The page of the first group is known when that of the second is looked for.
    a.i('sd', { rs1: a0, rs2: a2 }).i('sd', { rs1: a3, rs2: a2 });
    a.i('sd', { rs1: a3, rs2: a2, imm: 8 }).i('sd', { rs1: a0, rs2: a2, imm: 8 });
    a.li(a1, 4096).i('add', { rd: a3, rs1: a3, rs2: a1 });
    a.i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', 'round', { rs1: s0 });
  });
  machine.expectNoTrap();
  assert.ok(machine.hart.field('translatedInstructions') > 0n);
  assert.equal(machine.memory.readU64(DATA + 8), BigInt(ROUNDS));
  return machine;
}

test('a frame that goes while a group of accesses waits for another page is not used by the rest of its own group', () => {
  let moved = 0;
  const { memory } = run((machine) => {
    const frame = machine.frameOf(DATA);
    machine.memory.discard((DATA - RAM) / 4096, 1);
    machine.memory.writeU64(OTHER + 8, 77n);
    if (machine.frameOf(OTHER) === frame) moved++;
  });
  assert.equal(moved, 1, 'the frame that was freed last is used next');
  assert.equal(memory.readU64(OTHER + 8), 77n, 'the other page is as it was');
});

test('a frame that another hart flags as code meanwhile is not written to unnoticed', () => {
  const wordOf = ({ machineMemory }: BareMachine, mfn: number): number =>
    machineMemory.frameTable + mfn * FRAME_WORDS + FRAME_INFO;
  let before = 0;
  const machine = run((waiting) => {
    const mfn = waiting.frameOf(DATA);
    before = Atomics.or(waiting.machineMemory.i32, wordOf(waiting, mfn), FRAME_CODE);
    waiting.hart.forgetWrites(mfn);
  });
  const after = machine.machineMemory.i32[wordOf(machine, machine.frameOf(DATA))]!;
  assert.notEqual(after >>> FRAME_GENERATION_SHIFT, before >>> FRAME_GENERATION_SHIFT);
});

test('a region that fences its own page ends there, though all that was known of it went meanwhile', () => {
  const page = 0x10_0000;
  const frames = [DATA, DATA + 0x1000] as const;
  const window = 0x5000_0000;
  const fresh = 0x4000_0000;
  // Behind the page tables.
  const data = RAM + 0x8_0000;
  let flushes = 0;
  const { machine, tables } = paged(3, {
    tier: 'translator',
    environment: {
      nestedFault: (gfn, write) => {
        if (gfn === (data - RAM) / 4096 + MOVED_IN) {
          machine.hart.flush();
          flushes++;
        }
        machine.faults.fault(gfn, write);
      },
    },
  });
  const entry = tables.map(page, frames[0], RWX);
  tables.map(window, entry - (entry % 4096), RWX);
  for (let n = 0; n < ROUNDS; n++) tables.map(fresh + n * 4096, data + n * 4096, RWX);
  const pte = (gpa: number): bigint => (BigInt(gpa / 4096) << 10n) | BigInt(RWX);
  for (const [n, frame] of frames.entries()) {
    machine.load(frame, (a) => {
      // The page becomes that of the other frame.
      a.label('round')
        .i('sd', { rs1: a3, rs2: a2 })
        .li(t0, Number(pte(frames[1 - n]!)));
      a.i('sd', { rs1: a1, rs2: t0 })
        .i('sfence.vma', { rs1: a0 })
        .word(addN(n === 0 ? 100 : 1));
      a.li(t0, 4096).i('add', { rd: a3, rs1: a3, rs2: t0 });
      a.i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', 'round', { rs1: s0 }).i('jalr', { rs1: s1 });
    });
  }
  machine.execute(
    (a) => {
      a.li(a0, page)
        .li(a1, window + (entry % 4096))
        .li(a2, 0)
        .li(a3, fresh)
        .li(s0, ROUNDS);
      a.i('jalr', { rd: s1, rs1: a0 });
    },
    { privilege: 1, csrs: { satp: tables.satp } },
  );
  machine.expectNoTrap();
  assert.equal(flushes, 1);
  assert.ok(machine.hart.field('translatedInstructions') > 0n);
  assert.equal(machine.x(a2), BigInt((ROUNDS / 2) * 101));
});
