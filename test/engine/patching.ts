/** What tests of code that changes have in common. */

import { encode, encodeCompressed } from '../../src/isa/encode.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine } from './bare-machine.ts';

const { a2, a5 } = R;

/** addi a2, a2, n: what the programs here patch into themselves. */
export const addN = (n: number): number => encode('addi', { rd: a2, rs1: a2, imm: n });
export const addShort = (n: number): number => encodeCompressed('c.addi', { rd: a2, rs1: a2, imm: n });

/** Runs a program and gives a2. */
export function sum(write: (a: Assembler) => void, machine = new BareMachine()): bigint {
  machine.execute((a) => {
    a.li(a2, 0);
    write(a);
  });
  machine.expectNoTrap();
  return machine.x(a2);
}

/** A loop of two rounds around `body`, which is executed once before and once after it has changed itself. */
export function twice(a: Assembler, body: () => void): void {
  a.li(a5, 2).label('again');
  body();
  a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', 'again', { rs1: a5 });
}

/** Loads the address `distance` bytes behind the auipc, which comes first: 8 bytes of code. */
export function addressOf(a: Assembler, rd: number, distance: number): void {
  a.i('auipc', { rd }).i('addi', { rd, rs1: rd, imm: distance });
}
