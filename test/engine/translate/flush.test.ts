import assert from 'node:assert/strict';
import { test } from 'node:test';
import { R } from '../assembler.ts';
import { BareMachine, DATA, RAM } from '../bare-machine.ts';

const { a0, a1, a2, a3, s0 } = R;
const ROUNDS = 60;
const MOVED_IN = 40;
/** Pages that the loop comes to one after the other, and one that takes another's frame. */
const FRESH = DATA + 0x1_0000;
const OTHER = DATA + 0x1000;

test('a frame that goes while a group of accesses waits for another page is not used by the rest of its own group', () => {
  let moved = 0;
  const machine: BareMachine = new BareMachine({
    tier: 'translator',
    environment: {
      nestedFault: (gfn, write) => {
        if (gfn === (FRESH - RAM) / 4096 + MOVED_IN) {
          // While the hart waits, its page loses its frame, which another page gets.
          const frame = machine.frameOf(DATA);
          machine.memory.discard((DATA - RAM) / 4096, 1);
          machine.memory.writeU64(OTHER + 8, 77n);
          if (machine.frameOf(OTHER) === frame) moved++;
        }
        machine.faults.fault(gfn, write);
      },
    },
  });
  machine.execute((a) => {
    a.li(a0, DATA).li(a3, FRESH).li(s0, ROUNDS).li(a2, 0);
    a.label('round').i('addi', { rd: a2, rs1: a2, imm: 1 });
    // Two groups: the page of the first is known when that of the second is looked for.
    a.i('sd', { rs1: a0, rs2: a2 }).i('sd', { rs1: a3, rs2: a2 });
    a.i('sd', { rs1: a3, rs2: a2, imm: 8 }).i('sd', { rs1: a0, rs2: a2, imm: 8 });
    a.li(a1, 4096).i('add', { rd: a3, rs1: a3, rs2: a1 });
    a.i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', 'round', { rs1: s0 });
  });
  machine.expectNoTrap();
  assert.equal(moved, 1, 'the frame that was freed last is used next');
  assert.ok(machine.hart.field('translatedInstructions') > 0n);
  assert.equal(machine.memory.readU64(OTHER + 8), 77n, 'the other page is as it was');
  assert.equal(machine.memory.readU64(DATA + 8), BigInt(ROUNDS));
});
