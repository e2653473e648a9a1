/** Functions that call themselves: a region that waits, as a function of WebAssembly, for the return. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RETURNS } from '../../../src/engine/state.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { BareMachine, CODE, DATA, PTE, RAM, RWX } from '../bare-machine.ts';
import { addN } from '../patching.ts';
import { MPP_S, paged } from '../supervisor.ts';
import { TIERS } from '../tiers.ts';

const { ra, sp, a0, a1, a2, a3, a4, t0, s0 } = R;
const STACK = RAM + 0x8_0000;
const FRAME = 16;

const push = (a: Assembler): Assembler =>
  a.i('addi', { rd: sp, rs1: sp, imm: -FRAME }).i('sd', { rs1: sp, rs2: ra }).i('sd', { rs1: sp, rs2: s0, imm: 8 });
const popAndReturn = (a: Assembler): Assembler =>
  a
    .i('ld', { rd: ra, rs1: sp })
    .i('ld', { rd: s0, rs1: sp, imm: 8 })
    .i('addi', { rd: sp, rs1: sp, imm: FRAME })
    .i('jalr', { rs1: ra });

/** f(a0): calls itself with a0 - 1 down to 0, and does something on the way back. */
function countdown(a: Assembler, behind: () => void): Assembler {
  push(a.label('f').to('beq', 'leaf', { rs1: a0 }));
  a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('jal', 'f', { rd: ra });
  behind();
  return popAndReturn(a).label('leaf').i('jalr', { rs1: ra });
}

for (const tier of TIERS) {
  describe(`functions that call themselves (${tier})`, () => {
    test('twice each time', () => {
      const machine = new BareMachine({ tier });
      machine.execute((a) => {
        a.li(sp, STACK).li(a0, 20).to('jal', 'fib', { rd: ra }).jump('end');
        push(a.label('fib').i('sltiu', { rd: t0, rs1: a0, imm: 2 }).to('bne', 'small', { rs1: t0 }));
        a.i('addi', { rd: s0, rs1: a0, imm: -2 }).i('addi', { rd: a0, rs1: a0, imm: -1 }).to('jal', 'fib', { rd: ra });
        // One register for what is left to do, then for the first result.
        a.i('addi', { rd: t0, rs1: a0 }).i('addi', { rd: a0, rs1: s0 }).i('addi', { rd: s0, rs1: t0 });
        a.to('jal', 'fib', { rd: ra }).i('add', { rd: a0, rs1: a0, rs2: s0 });
        popAndReturn(a).label('small').i('jalr', { rs1: ra }).label('end');
      });
      machine.expectNoTrap();
      assert.equal(machine.x(a0), 6765n);
      assert.equal(machine.x(sp), BigInt(STACK));
      if (tier === 'translator') {
        const { regionEntries, translatedInstructions } = machine.counters;
        assert.ok(translatedInstructions / regionEntries > 1000, `${regionEntries} entries`);
      }
    });

    test('more deeply than regions may wait', () => {
      const machine = new BareMachine({ tier });
      const depth = 10 * RETURNS;
      machine.execute((a) => {
        a.li(sp, STACK).li(a2, 0).li(a3, 3).label('again').li(a0, depth).to('jal', 'f', { rd: ra });
        a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 }).jump('end');
        countdown(a, () => a.word(addN(1))).label('end');
      });
      machine.expectNoTrap();
      assert.equal(machine.x(a2), BigInt(3 * depth));
      assert.equal(machine.x(sp), BigInt(STACK));
    });

    test('and are left from the depth, for the caller of the first one', () => {
      const machine = new BareMachine({ tier });
      const rounds = 50;
      machine.execute((a) => {
        a.li(a2, 0).li(a3, rounds).label('again').li(sp, STACK).li(a0, 30).to('jal', 'f', { rd: ra }).jump('on');
        // At 10 from the bottom, with the stack pointer and return address of the call above.
        push(a.label('f').li(t0, 10).to('beq', 'out', { rs1: a0, rs2: t0 }));
        a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('jal', 'f', { rd: ra }).word(addN(100));
        popAndReturn(a)
          .label('out')
          .word(addN(1))
          .li(sp, STACK - FRAME);
        popAndReturn(a).label('on');
        a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 });
      });
      machine.expectNoTrap();
      assert.equal(machine.x(a2), BigInt(rounds));
    });

    test('return to where the stack says, be it not behind the call', () => {
      const machine = new BareMachine({ tier });
      const [rounds, depth] = [20, 12];
      machine.execute((a) => {
        a.li(sp, STACK).li(a2, 0).li(a3, rounds).label('again').li(a0, depth).to('jal', 'f', { rd: ra });
        a.word(addN(1)).word(addN(0));
        a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 }).jump('end');
        // Each time that the argument is odd, the instruction behind the call is left out.
        push(a.label('f').to('beq', 'leaf', { rs1: a0 })).i('addi', { rd: s0, rs1: a0 });
        a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('jal', 'f', { rd: ra }).word(addN(1)).word(addN(0));
        a.i('andi', { rd: t0, rs1: s0, imm: 1 }).i('slli', { rd: t0, rs1: t0, imm: 2 });
        a.i('ld', { rd: ra, rs1: sp }).i('add', { rd: ra, rs1: ra, rs2: t0 }).i('sd', { rs1: sp, rs2: ra });
        popAndReturn(a).label('leaf').i('jalr', { rs1: ra }).label('end');
      });
      machine.expectNoTrap();
      // Called with 0 to `depth - 1` by itself, and with `depth`, which is even, from outside.
      assert.equal(machine.x(a2), BigInt(rounds * (depth / 2 + 1)));
    });

    test('while what follows the call is changed', () => {
      const machine = new BareMachine({ tier });
      const [rounds, depth] = [40, 20];
      machine.execute((a) => {
        a.li(sp, STACK).li(a2, 0).li(a3, rounds).i('auipc', { rd: a4 }).i('addi', { rd: a4, rs1: a4, imm: 1024 });
        const base = a.length - 8 + 1024;
        a.label('again').li(a0, depth).to('jal', 'f', { rd: ra });
        a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 }).jump('end');
        a.label('change').i('andi', { rd: t0, rs1: a3, imm: 7 }).i('slli', { rd: t0, rs1: t0, imm: 20 });
        a.li(a1, addN(0)).i('add', { rd: a1, rs1: a1, rs2: t0 }).i('sw', { rs1: a4, rs2: a1 }).i('fence.i');
        a.i('jalr', { rs1: ra });
        a.nops((base - a.length) / 4 - 4).label('f');
        // Placed so that the instruction behind the call is where a4 points to.
        a.to('beq', 'change', { rs1: a0 }).jump('body').nops(1).label('call').to('jal', 'f', { rd: ra });
        assert.equal(a.length, base);
        popAndReturn(a.word(addN(0))).label('body');
        push(a).i('addi', { rd: a0, rs1: a0, imm: -1 }).jump('call').label('end');
      });
      machine.expectNoTrap();
      let sum = 0;
      for (let round = rounds; round > 0; round--) sum += depth * (round & 7);
      assert.equal(machine.x(a2), BigInt(sum));
    });

    test('while the page that they return to is mapped elsewhere', () => {
      const { machine, tables } = paged(3, { tier });
      const [page, window] = [0x10_0000, 0x5000_0000];
      const [rounds, depth] = [40, 20];
      const frames = [DATA, DATA + 0x1000];
      const entry = tables.map(page, frames[0]!, RWX);
      tables.map(window, entry - (entry % 4096), RWX);
      tables.map(STACK - 4096, STACK - 4096, RWX);
      const pte = (frame: number): bigint => (BigInt(frame / 4096) << 10n) | BigInt(RWX | PTE.A | PTE.D);
      // The same function in both frames, but for what it adds.
      for (const [n, frame] of frames.entries()) {
        machine.load(frame, (a) => {
          a.label('f').to('bne', 'body', { rs1: a0 }).i('jalr', { rs1: a4 });
          push(a.label('body')).i('addi', { rd: a0, rs1: a0, imm: -1 }).to('jal', 'f', { rd: ra });
          popAndReturn(a.word(addN(n === 0 ? 1 : 100)));
        });
      }
      machine.load(CODE, (a) => {
        a.li(sp, STACK)
          .li(a2, 0)
          .li(a3, rounds)
          .li(a1, window + (entry % 4096));
        a.i('auipc', { rd: a4 }).i('addi', { rd: a4, rs1: a4, imm: 12 }).jump('start');
        // At the bottom: each time the other frame.
        a.li(t0, Number(pte(frames[0]!) ^ pte(frames[1]!))).i('ld', { rd: s0, rs1: a1 });
        a.i('xor', { rd: s0, rs1: s0, rs2: t0 }).i('sd', { rs1: a1, rs2: s0 }).i('sfence.vma').i('jalr', { rs1: ra });
        a.label('start').li(a0, depth).li(t0, page).i('jalr', { rd: ra, rs1: t0 });
        a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'start', { rs1: a3 }).i('wfi');
      });
      machine.boot({ privilege: 1, csrs: { satp: tables.satp, mstatus: MPP_S } });
      machine.run();
      machine.expectNoTrap();
      assert.equal(machine.x(a2), BigInt((rounds / 2) * depth * 101));
    });
  });
}

test('the encoding of the instruction that is changed differs in its immediate only', () => {
  assert.equal(addN(5) - addN(0), 5 << 20);
  assert.equal(addN(0), encode('addi', { rd: a2, rs1: a2 }));
});
