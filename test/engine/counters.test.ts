import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type CounterName, FIGURES, sumCounters } from '../../src/engine/counters.ts';
import { CHUNK, EXIT } from '../../src/engine/state.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, type BareOptions, CODE, DATA, RAM, RWX } from './bare-machine.ts';
import { addN } from './patching.ts';
import { paged } from './supervisor.ts';

const { ra, a0, a1, a2, s0, t0 } = R;
const TRANSLATED: BareOptions = { tier: 'translator', threshold: 3 };
const HANDLER = RAM + 0x3000;
const DEVICE = 0x1000_0000;
const environment: BareOptions['environment'] = { deviceRead: () => 0n, deviceWrite: () => true };

/** What a program has counted beyond an empty one; `more` is loaded beside it. */
function counted(write: (a: Assembler) => void, options: BareOptions = {}, more?: [number, (a: Assembler) => void]) {
  const [these, none] = [write, () => {}].map((program) => {
    const machine = new BareMachine({ environment, ...options });
    if (more !== undefined) machine.load(...more);
    return machine.execute(program);
  });
  const [all, without] = [these!.counters, none!.counters];
  return { machine: these!, more: (name: CounterName): number => all[name] - without[name] };
}

const repeat = (a: Assembler, times: number, body: (a: Assembler) => void): unknown => {
  a.li(s0, times).label('again');
  body(a);
  return a.i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', 'again', { rs1: s0 });
};

describe('counters of a hart', () => {
  for (const [name, options] of [
    ['interpreted', { tier: 'interpreter' }],
    ['translated', TRANSLATED],
  ] as const) {
    describe(name, () => {
      test('accesses to devices', () => {
        const { more } = counted((a) => {
          a.li(a0, DEVICE);
          repeat(a, 40, () => a.i('ld', { rd: a1, rs1: a0 }));
          a.i('sd', { rs1: a0, rs2: a1 }).i('sb', { rs1: a0, rs2: a1 });
        }, options);
        assert.deepEqual([more('deviceReads'), more('deviceWrites')], [40, 2]);
      });

      test('exceptions, with none of them an interrupt', () => {
        const { more } = counted(
          (a) => {
            a.li(t0, HANDLER).csr('csrrw', 0, 'mtvec', t0);
            repeat(a, 25, () => a.i('ecall'));
          },
          options,
          [
            HANDLER,
            (a) =>
              a
                .csr('csrrs', t0, 'mepc', 0)
                .i('addi', { rd: t0, rs1: t0, imm: 4 })
                .csr('csrrw', 0, 'mepc', t0)
                .i('mret'),
          ],
        );
        assert.deepEqual([more('exceptions'), more('interrupts')], [25, 0]);
      });
    });
  }

  test('an interrupt', () => {
    const machine = new BareMachine();
    machine.load(CODE, (a) => a.setCsr('mie', 8).li(t0, 8).csr('csrrs', 0, 'mstatus', t0).label('x').to('jal', 'x'));
    machine.hart.setPending(3, true);
    machine.boot();
    machine.run();
    const { interrupts, exceptions } = machine.counters;
    assert.deepEqual({ interrupts, exceptions }, { interrupts: 1, exceptions: 0 });
  });

  test('polls, and what ends a run', () => {
    const machine = new BareMachine();
    machine.load(CODE, (a) => a.label('here').to('jal', 'here'));
    machine.boot();
    machine.run(EXIT.budget, 10 * CHUNK);
    const { polls, budgetStops, waits } = machine.counters;
    assert.deepEqual({ budgetStops, waits }, { budgetStops: 1, waits: 0 });
    assert.ok(polls === 10 || polls === 9, `${polls} polls`);
  });

  test('translated instructions and the ways out of regions', () => {
    const rounds = 20_000;
    const { machine, more } = counted((a) => {
      repeat(a, rounds, () => a.i('addi', { rd: a2, rs1: a2, imm: 3 }));
    }, TRANSLATED);
    const translated = more('translatedInstructions');
    assert.ok(translated > 3 * rounds - 100 && translated <= 3 * rounds, `${translated} translated`);
    assert.equal(more('pollExits'), 3, 'one for each 20,000 instructions');
    assert.equal(more('installedTranslations'), 1);
    assert.equal(more('requestedTranslations'), 1);
    assert.equal(more('hotPlaces'), 1);
    assert.equal(more('droppedPlaces'), 0);
    assert.equal(more('interpretExits'), 0);
    const totals = { instructions: machine.hart.retired, busyMs: 1, processorMs: 0, counters: machine.counters };
    // The way out at the end of the loop.
    assert.equal(FIGURES.unknownExits.of(totals), 1);
    assert.equal(FIGURES.waitingTranslations.of(totals), 0);
    assert.ok(FIGURES.translatedShare.of(totals) > 99);
    const { interpretedInstructions } = FIGURES;
    assert.equal(interpretedInstructions.of(totals) + machine.counters.translatedInstructions, totals.instructions);
  });

  test('an instruction that regions leave to the interpreter is an exit of its own', () => {
    const { more } = counted((a) => repeat(a.li(a0, DEVICE), 30, () => a.i('ld', { rd: a1, rs1: a0 })), {
      ...TRANSLATED,
    });
    assert.ok(more('interpretExits') >= 25 && more('interpretExits') <= 30, String(more('interpretExits')));
  });

  test('a store to translated code drops its region', () => {
    const { machine, more } = counted(
      (a) => {
        a.li(a0, DATA).li(a1, addN(1));
        repeat(a, 10, () => {
          for (let i = 0; i < 8; i++) a.i('jalr', { rd: ra, rs1: a0 });
          a.i('sw', { rs1: a0, rs2: a1 });
        });
      },
      TRANSLATED,
      [DATA, (a) => a.word(addN(1)).i('jalr', { rs1: ra })],
    );
    machine.expectNoTrap();
    assert.ok(more('droppedPlaces') >= 1, `${more('droppedPlaces')} dropped`);
    assert.ok(more('codeWrites') >= 9, `${more('codeWrites')} writes`);
  });

  test('misses, walks and changes of the address space', () => {
    const { machine, tables } = paged(3);
    for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
    for (let page = 0; page < 32; page++) tables.map(0x4000_0000 + page * 4096, DATA, RWX);
    machine.execute(
      (a) => {
        a.li(a0, 0x4000_0000).li(a2, 0x1000);
        repeat(a, 32, () => a.i('ld', { rd: a1, rs1: a0 }).i('add', { rd: a0, rs1: a0, rs2: a2 }));
        for (const asid of [1n, 1n, 2n]) a.setCsr('satp', tables.satp | (asid << 44n));
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    const { dataMisses, fetchMisses, walks, shortWalks, spaceChanges, secondHits } = machine.counters;
    assert.equal(dataMisses, 32);
    assert.ok(walks >= 32 && shortWalks >= 31 && shortWalks < walks, `${walks} walks, ${shortWalks} short`);
    assert.equal(spaceChanges, 3);
    assert.ok(secondHits <= fetchMisses, `${secondHits} hits, and no load is of a page that was loaded from before`);
  });

  test('sums over harts', () => {
    const one = new BareMachine().execute((a) => a.i('ecall')).counters;
    assert.deepEqual(sumCounters([one]), one);
    const doubled = Object.fromEntries(Object.entries(one).map(([name, count]) => [name, 2 * count]));
    assert.deepEqual(sumCounters([one, one]), doubled);
    assert.ok(one.exceptions > 0);
  });
});
