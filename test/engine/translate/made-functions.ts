/** A guest that makes functions, one after the other at the same place, each of them another one. */
import { encode } from '../../../src/isa/encode.ts';
import { R } from '../assembler.ts';
import { type BareMachine, DATA } from '../bare-machine.ts';

const { ra, a0, a1, a2, a3, a4, t0, t1 } = R;
/** Turns of the loop in each function. */
const ROUNDS = 4;
/** The number of a function is in the immediates of two instructions, 7 bits each. */
const BITS = 7;
const MASK = 2 ** BITS - 1;
/** Functions that can be told apart. */
export const MOST_FUNCTIONS = 2 ** (2 * BITS);

/** Makes and calls the functions from number `first` on, `count` of them; they have to compute what they should. */
export function makeFunctions(machine: BareMachine, first: number, count: number): void {
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
      .li(a3, first)
      .li(a4, first + count)
      .li(a2, 0);
    a.label('again');
    for (const [shift, imm] of [
      [0, 0],
      [BITS, 4],
    ] as const) {
      a.i('srli', { rd: t0, rs1: a3, imm: shift }).i('andi', { rd: t0, rs1: t0, imm: MASK });
      a.i('slli', { rd: t0, rs1: t0, imm: 20 })
        .i('add', { rd: t0, rs1: t0, rs2: a1 })
        .i('sw', { rs1: a0, rs2: t0, imm });
    }
    a.i('fence.i').li(t1, ROUNDS).i('jalr', { rd: ra, rs1: a0 });
    a.i('addi', { rd: a3, rs1: a3, imm: 1 }).to('bne', 'again', { rs1: a3, rs2: a4 });
  });
  machine.expectNoTrap();
  let sum = 0;
  for (let n = first; n < first + count; n++) sum += ROUNDS * ((n & MASK) + (n >> BITS));
  const x = machine.x(a2);
  if (x !== BigInt(sum)) throw new Error(`functions ${first} to ${first + count - 1} gave ${x}, ${sum} is right`);
}
