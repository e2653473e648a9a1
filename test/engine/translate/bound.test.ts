import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIGURES } from '../../../src/engine/counters.ts';
import { encode } from '../../../src/isa/encode.ts';
import { R } from '../assembler.ts';
import { BareMachine, DATA } from '../bare-machine.ts';

const { ra, a0, a1, a2, a3, t0, t1 } = R;

/** Functions that the guest makes, one after the other at the same place, each of them another one. */
const MADE = 13_000;
/** More functions than this are never held. */
const BOUND = 12_001;
const ROUNDS = 4;

test('a guest that makes new code all the time does not make the table of translations longer and longer', () => {
  const machine = new BareMachine({ tier: 'translator' });
  machine.load(DATA, (a) => {
    a.label('loop')
      .nops(2)
      .i('addi', { rd: t1, rs1: t1, imm: -1 })
      .to('bne', 'loop', { rs1: t1 })
      .i('jalr', { rs1: ra });
  });
  machine.execute((a) => {
    a.li(a0, DATA)
      .li(a1, encode('addi', { rd: a2, rs1: a2 }))
      .li(a3, MADE)
      .li(a2, 0);
    a.label('again');
    // The number of the function is in the immediates of two instructions.
    for (const [shift, imm] of [
      [0, 0],
      [7, 4],
    ] as const) {
      a.i('srli', { rd: t0, rs1: a3, imm: shift }).i('andi', { rd: t0, rs1: t0, imm: 127 });
      a.i('slli', { rd: t0, rs1: t0, imm: 20 })
        .i('add', { rd: t0, rs1: t0, rs2: a1 })
        .i('sw', { rs1: a0, rs2: t0, imm });
    }
    a.i('fence.i').li(t1, ROUNDS).i('jalr', { rd: ra, rs1: a0 });
    a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 });
  });
  machine.expectNoTrap();
  const { counters } = machine;
  const held = (figure: 'heldTranslations' | 'heldModules'): number =>
    FIGURES[figure].of({ instructions: 1, busyMs: 1, counters });
  assert.ok(counters.installedTranslations > MADE, `only ${counters.installedTranslations} were translated`);
  assert.ok(counters.releasedTranslations > 0 && counters.releasedModules > 0);
  assert.ok(held('heldTranslations') <= BOUND && held('heldModules') <= BOUND, JSON.stringify(counters));
  let sum = 0;
  for (let n = 1; n <= MADE; n++) sum += ROUNDS * ((n & 127) + (n >> 7));
  assert.equal(machine.x(a2), BigInt(sum));
});
