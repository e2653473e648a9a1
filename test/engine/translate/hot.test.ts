import assert from 'node:assert/strict';
import { test } from 'node:test';
import { R } from '../assembler.ts';
import { BareMachine } from '../bare-machine.ts';

const { a0, a1 } = R;
const ROUNDS = 1000;

for (const imm of [1, 0, -1]) {
  test(`a loop is found by the jumps back, when its first instruction has the immediate ${imm}`, () => {
    const machine = new BareMachine({ threshold: 16 });
    machine.execute((a) => {
      a.li(a0, ROUNDS).label('loop').i('addi', { rd: a1, rs1: a1, imm }).i('addi', { rd: a0, rs1: a0, imm: -1 });
      a.to('bne', 'loop', { rs1: a0 });
    });
    machine.expectNoTrap();
    assert.ok(machine.hart.field('translatedInstructions') > 3 * (ROUNDS - 20));
  });
}
