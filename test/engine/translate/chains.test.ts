import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_PREDICTION, PREDICTION } from '../../../src/engine/predictions.ts';
import { PREDICTION_BYTES, PREDICTIONS, PREDICTIONS_OFFSET } from '../../../src/engine/state.ts';
import { findChains } from '../../../src/engine/translate/chains.ts';
import { analyseFlow } from '../../../src/engine/translate/flow.ts';
import { groupBlocks } from '../../../src/engine/translate/groups.ts';
import { findStreams } from '../../../src/engine/translate/streams.ts';
import { type Assembler, R } from '../assembler.ts';
import { BareMachine, DATA } from '../bare-machine.ts';
import { regionOf } from './regions.ts';

const { sp, a0, a1, a2, a3, t0 } = R;

/** Base registers of the chains of a region. */
function chainsOf(write: (a: Assembler) => void): number[] {
  const region = regionOf(write)!;
  const flow = analyseFlow(region);
  return [...findChains(region, flow, groupBlocks(region, flow, findStreams(region, flow)))].map(({ base }) => base);
}

describe('chains', () => {
  const end = (a: Assembler): unknown => a.to('bne', 'loop', { rs1: t0 }).i('ebreak');

  for (const [name, body, bases] of [
    ['the next node of a list', (a) => a.i('ld', { rd: a0, rs1: a0, imm: 8 }), [a0]],
    [
      'its other fields, before and behind',
      (a) => a.i('lw', { rd: a1, rs1: a0 }).i('addi', { rd: a2, rs1: a1 }).i('ld', { rd: a0, rs1: a0, imm: 8 }),
      [a0],
    ],
    [
      'a place in a table',
      (a) =>
        a
          .i('lbu', { rd: a1, rs1: sp })
          .i('xor', { rd: a1, rs1: a1, rs2: a0 })
          .i('add', { rd: a1, rs1: a1, rs2: a2 })
          .i('lw', { rd: a0, rs1: a1 }),
      [a1],
    ],
    [
      'a pointer that is loaded anew in each turn',
      (a) => a.i('ld', { rd: a0, rs1: sp }).i('ld', { rd: a1, rs1: a0 }).i('ld', { rd: a2, rs1: a1 }),
      [],
    ],
    [
      'what is read and not followed',
      (a) =>
        a.i('ld', { rd: a1, rs1: a0 }).i('add', { rd: a2, rs1: a2, rs2: a1 }).i('addi', { rd: a0, rs1: a0, imm: 8 }),
      [],
    ],
    [
      'what is overwritten before the next turn',
      (a) => a.i('ld', { rd: a0, rs1: a0 }).i('add', { rd: a1, rs1: a0, rs2: a1 }).i('addi', { rd: a0, rs1: sp }),
      [],
    ],
    ['what is written', (a) => a.i('sd', { rs1: a0, rs2: a0 }).i('add', { rd: a0, rs1: a0, rs2: a1 }), []],
    [
      'nodes of which one side or the other is taken',
      (a) => {
        a.i('ld', { rd: a1, rs1: a0 }).to('beq', 'right', { rs1: a1 });
        a.i('ld', { rd: a0, rs1: a0, imm: 8 }).to('jal', 'on');
        a.label('right').i('ld', { rd: a0, rs1: a0, imm: 16 }).label('on');
      },
      // One look for all three.
      [a0],
    ],
  ] satisfies [string, (a: Assembler) => unknown, number[]][]) {
    test(`${name}: ${bases.length > 0 ? 'followed' : 'not followed'} from turn to turn`, () => {
      const chains = chainsOf((a) => {
        a.label('loop');
        body(a);
        end(a);
      });
      assert.deepEqual(chains, bases);
    });
  }

  test('outside of loops there are none', () => {
    assert.deepEqual(
      chainsOf((a) => a.i('ld', { rd: a0, rs1: a0 }).i('ld', { rd: a0, rs1: a0 }).i('ebreak')),
      [],
    );
  });
});

describe('predictions', () => {
  const NODES = 64;

  /**
   * A ring of nodes that is followed through, each with its number, on pages in turn whose frames are in reverse order.
   * @param pages how many
   * @param inRow nodes on one page, before the next one's turn
   */
  function ring(pages: number, inRow: number): BareMachine {
    const machine = new BareMachine({ tier: 'translator', threshold: 20 });
    for (let page = pages - 1; page >= 0; page--) machine.load(DATA + page * 0x1000, new Uint8Array(1));
    const at = (node: number): number => DATA + (Math.floor(node / inRow) % pages) * 0x1000 + node * 16;
    for (let node = 0; node < NODES; node++) {
      const fields = BigUint64Array.of(BigInt(at((node + 1) % NODES)), BigInt(node));
      machine.load(at(node), new Uint8Array(fields.buffer));
    }
    return machine;
  }

  function follow(machine: BareMachine, rounds: number): void {
    machine.execute((a) => {
      a.li(a0, DATA)
        .li(a2, 0)
        .li(a3, NODES * rounds)
        .label('loop')
        .i('ld', { rd: a1, rs1: a0, imm: 8 });
      a.i('add', { rd: a2, rs1: a2, rs2: a1 }).i('ld', { rd: a0, rs1: a0 });
      a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'loop', { rs1: a3 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt((rounds * NODES * (NODES - 1)) / 2));
    assert.ok(machine.hart.field('translatedInstructions') > BigInt(rounds * NODES));
  }

  /** The differences that are predicted, as far as there are any. */
  function predicted({ guest, machineMemory }: BareMachine): number[] {
    const first = guest.hartArea(0) + PREDICTIONS_OFFSET;
    const { i32 } = machineMemory;
    const places = Array.from({ length: PREDICTIONS }, (_, n) => first + n * PREDICTION_BYTES + PREDICTION.difference);
    return places.map((place) => i32[place / 4]!).filter((difference) => difference !== 0);
  }

  test('what lies on one page is predicted', () => {
    const machine = ring(1, NODES);
    follow(machine, 50);
    assert.deepEqual(predicted(machine), [(machine.frameOf(DATA) * 4096 - DATA) | 0]);
  });

  test('so is what goes on to another page seldom', () => {
    const machine = ring(2, NODES / 2);
    follow(machine, 500);
    const differences = [0, 1].map((n) => ((machine.frameOf(DATA + n * 0x1000) - n) * 4096 - DATA) | 0);
    assert.equal(new Set(differences).size, 2);
    const [found, ...others] = predicted(machine);
    assert.ok(differences.includes(found!) && others.length === 0);
  });

  test('what is on another page in each turn is predicted no more, until it is looked anew', () => {
    const machine = ring(7, 1);
    follow(machine, 50);
    assert.deepEqual(predicted(machine), [NO_PREDICTION]);
    machine.hart.cool();
    assert.deepEqual(predicted(machine), []);
  });
});
