import assert from 'node:assert/strict';
import { test } from 'node:test';
import { R } from '../assembler.ts';
import { BareMachine } from '../bare-machine.ts';

const { a0, a1 } = R;

test('code is hot when it is executed often between two calls of cool, not when it is in the end', () => {
  for (const [rounds, cools] of [
    [60, true],
    [60, false],
    [150, true],
  ] as const) {
    const machine = new BareMachine({ threshold: 100 });
    for (let time = 0; time < 10; time++) {
      machine.execute((a) => {
        a.li(a0, rounds).label('again').i('add', { rd: a1, rs1: a1, rs2: a0 });
        a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('bne', 'again', { rs1: a0 });
      });
      if (cools) machine.hart.cool();
    }
    const translated = machine.hart.field('translatedInstructions') > 0n;
    assert.equal(translated, rounds > 100 || !cools, `${rounds} rounds, ${cools ? 'cooled' : 'not cooled'}`);
  }
});
