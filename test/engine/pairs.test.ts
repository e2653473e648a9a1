/** Instructions that the interpreter executes two at a time: everything is as if it did not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  aloneOperation,
  FIRST_INSTRUCTION,
  HANDLERS,
  OPERATIONS,
  PAIRS,
  pairOperation,
} from '../../src/engine/slots.ts';
import { EFFECTS } from '../../src/engine/translate/effects.ts';
import { INSTRUCTIONS } from '../../src/isa/decode.ts';
import { encode } from '../../src/isa/encode.ts';
import { CAUSE } from '../../src/isa/fields.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA } from './bare-machine.ts';

const { a0, a1, a2, a3, a4, a5, t0 } = R;
const NOWHERE = 0x4000_0000;

/** Where the second one of a pair is that is stored to: aligned to double words. */
const SECOND = 0x80;

const pad = (a: Assembler, to: number): Assembler => a.nops((to - a.length) / 4);
const machine = (): BareMachine => new BareMachine({ tier: 'interpreter' });
/** An instruction that is the second one of a pair behind `sd`, and a no-operation behind it. */
const spare = (a: Assembler): Assembler => a.i('sd', { rs1: a5, rs2: 0 }).nops(1);
const addOne = BigInt(encode('addi', { rd: a3, rs1: a3, imm: 1 })) | (BigInt(encode('addi')) << 32n);

describe('pairs', () => {
  test('the first of a pair always goes on to the second, and each pair is known by its operations', () => {
    for (const { first, second } of PAIRS) {
      assert.equal(EFFECTS[INSTRUCTIONS.indexOf(first.instruction)]!.control, 'next', first.instruction.name);
      const alone = FIRST_INSTRUCTION + HANDLERS.indexOf(first);
      const operation = pairOperation(alone, FIRST_INSTRUCTION + HANDLERS.indexOf(second));
      assert.ok(operation >= FIRST_INSTRUCTION + HANDLERS.length && operation < OPERATIONS);
      assert.equal(aloneOperation(operation), alone);
    }
    const names = PAIRS.map(({ first, second }) =>
      [first, second].map(({ instruction, length }) => `${instruction.name}/${length}`).join(' '),
    );
    assert.equal(new Set(names).size, PAIRS.length, 'no pair twice');
  });

  test('two are retired, whichever of them is jumped to', () => {
    const m = machine().execute((a) =>
      a
        .li(a0, 3)
        .label('both')
        .i('addi', { rd: a1, rs1: a1, imm: 1 })
        .label('second')
        .i('addi', { rd: a2, rs1: a2, imm: 16 })
        .i('addi', { rd: a0, rs1: a0, imm: -1 })
        .to('beq', 'end', { rs1: a0 })
        .i('andi', { rd: t0, rs1: a0, imm: 1 })
        .to('bne', 'second', { rs1: t0 })
        .jump('both')
        .label('end'),
    );
    assert.deepEqual([m.x(a1), m.x(a2)], [2n, 48n]);
  });

  test('an exception of the second one is its own, and the first one has been executed', () => {
    const at = (a: Assembler): Assembler =>
      a.li(a0, DATA).li(a1, 77).i('sd', { rs1: a0, rs2: a1 }).li(a1, 0).li(a4, NOWHERE);
    let second = 0;
    const m = machine().execute((a) => {
      at(a).i('ld', { rd: a2, rs1: a0 });
      second = CODE + a.length;
      a.i('ld', { rd: a3, rs1: a4 });
    });
    m.expectTrap(CAUSE.loadAccessFault, second, NOWHERE);
    assert.deepEqual([m.x(a2), m.x(a3)], [77n, 0n]);
  });

  test('after an exception of the first one the second has not been executed', () => {
    let first = 0;
    const m = machine().execute((a) => {
      a.li(a0, DATA).li(a1, 77).li(a4, NOWHERE);
      first = CODE + a.length;
      a.i('sd', { rs1: a4, rs2: a1 }).i('sd', { rs1: a0, rs2: a1 });
    });
    m.expectTrap(CAUSE.storeAccessFault, first, NOWHERE);
    assert.equal(m.memory.readU64(DATA), 0n);
  });

  test('a store to the second one takes effect at once', () => {
    const m = machine().execute((a) => {
      pad(
        a
          .li(a0, CODE + SECOND)
          .li(a1, addOne)
          .li(a5, DATA),
        SECOND - 4,
      );
      spare(a.i('sd', { rs1: a0, rs2: a1 }));
    });
    assert.equal(m.x(a3), 1n);
  });

  test('what another hart has made of the second one while the first waited is seen behind a fence.i', () => {
    const other = CODE + 0x1000;
    const m: BareMachine = new BareMachine({
      tier: 'interpreter',
      harts: 2,
      environment: {
        deviceRead: () => {
          m.control.park();
          sibling.run(other);
          m.control.unpark();
          m.hart.flush();
          return 0n;
        },
      },
    });
    const sibling = m.sibling(1);
    m.load(other, (a) =>
      a
        .li(a0, CODE + SECOND)
        .li(a1, encode('addi', { rd: a2, imm: 77 }))
        .i('sw', { rs1: a0, rs2: a1 })
        .i('wfi'),
    );
    m.execute((a) =>
      pad(a.li(a0, DATA).li(a4, NOWHERE), SECOND - 4)
        .i('ld', { rd: a1, rs1: a4 })
        .i('ld', { rd: a2, rs1: a0 }),
    );
    assert.equal(m.x(a2), 77n);
  });

  for (const offset of [0, 2]) {
    test(`a later store to the second one from its byte ${offset} on undoes the pair`, () => {
      const m = machine().execute((a) =>
        pad(a.li(a0, CODE + SECOND).li(a1, encode('addi', { rd: a3, rs1: a3, imm: 5 }) >>> (8 * offset)), SECOND - 4)
          .label('again')
          .i('addi', { rd: a2, rs1: a2, imm: 1 })
          .i('addi', { rd: a3, rs1: a3, imm: 1 })
          .i('sh', { rs1: a0, rs2: a1, imm: offset })
          .i('fence.i')
          .i('slti', { rd: t0, rs1: a2, imm: 2 })
          .to('bne', 'again', { rs1: t0 }),
      );
      // Only the upper half holds the immediate.
      assert.equal(m.x(a3), offset === 0 ? 2n : 6n);
    });
  }

  test('a region that begins at the first one leaves it alone to the interpreter', () => {
    const environment = { deviceRead: (): bigint => 7n };
    const m = new BareMachine({ tier: 'translator', threshold: 2, environment }).execute((a) =>
      a
        .li(a0, DATA)
        .li(a5, 40)
        .li(a4, NOWHERE)
        .i('sd', { rs1: a0, rs2: a5 })
        .label('again')
        .i('ld', { rd: a1, rs1: a4 })
        .i('ld', { rd: a2, rs1: a0 })
        .i('add', { rd: a3, rs1: a3, rs2: a1 })
        .i('addi', { rd: a2, rs1: a2, imm: -1 })
        .i('sd', { rs1: a0, rs2: a2 })
        .to('bne', 'again', { rs1: a2 }),
    );
    assert.ok(m.counters.interpretExits > 10, 'the device is read by the interpreter');
    assert.deepEqual([m.x(a2), m.x(a3)], [0n, 7n * 40n]);
  });
});
