import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FRAME_CODE, FRAME_INFO, FRAME_WORDS, NPT_WRITABLE } from '../../src/memory/layout.ts';
import { clearEntryBits } from '../../src/memory/npt.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, PageTables, PTE, RAM, RWX, TABLES } from './bare-machine.ts';
import { addN } from './patching.ts';

const { a0, a1, a2, t0 } = R;

/** Pages of code that both harts use, and programs of theirs. */
const SHARED = DATA;
const UNUSED = DATA + 0x1000;
const [FIRST, SECOND] = [CODE, CODE + 0x1000];
const STORES = { sw: CODE + 0x2000, 'amoswap.w': CODE + 0x2100 } as const;

/** Three harts that take turns in one thread. */
function threeHarts() {
  const machine = new BareMachine({ harts: 3 });
  const harts = [1, 2].map((id) => machine.sibling(id));
  const [first, second] = [harts[0]!, harts[1]!];
  machine.control.park();
  const load = (address: number, write: (a: Assembler) => void): void => {
    machine.control.unpark();
    machine.load(address, write);
    machine.control.park();
  };
  load(FIRST, (a) => a.li(a2, 0).i('fence.i').i('jalr', { rs1: a0 }));
  for (const page of [SHARED, UNUSED]) load(page, (a) => a.word(addN(1)).i('wfi'));
  /** What a page adds when a hart fetches it anew. */
  const result = (hart: typeof first, page = SHARED): bigint => {
    hart.hart.setX(a0, BigInt(page));
    hart.run(FIRST);
    return hart.hart.x(a2);
  };
  for (const [name, at] of Object.entries(STORES)) load(at, (a) => a.i(name, { rs1: a0, rs2: a1 }).i('wfi'));
  const stores = (hart: typeof first, bits: number, name: keyof typeof STORES, page = SHARED): void => {
    hart.hart.setX(a0, BigInt(page));
    hart.hart.setX(a1, BigInt(bits));
    hart.run(STORES[name]);
  };
  const isCode = (page: number): boolean => {
    const { frameTable, i32 } = machine.machineMemory;
    return (i32[frameTable + machine.frameOf(page) * FRAME_WORDS + FRAME_INFO]! & FRAME_CODE) !== 0;
  };
  return { machine, first, second, load, result, stores, isCode };
}

describe('code and the other harts of a guest', () => {
  for (const store of ['sw', 'amoswap.w'] as const) {
    test(`a hart that has stored to a page before it became code is noticed when it stores again (${store})`, () => {
      const { first, second, result, stores } = threeHarts();
      // The second hart may write to the page without being looked at.
      stores(second, addN(2), store);
      assert.equal(result(first), 2n);
      stores(second, addN(3), store);
      assert.equal(result(first), 3n);
      stores(second, addN(4), store);
      stores(first, addN(5), store);
      assert.equal(result(first), 5n);
      assert.equal(result(second), 5n);
      stores(first, addN(6), store);
      assert.equal(result(second), 6n);
      assert.equal(result(first), 6n);
    });
  }

  test("a hart's own changes of code do not hide those of others", () => {
    const { first, second, result, stores } = threeHarts();
    // So that nothing of all this is flagged as code only later, which flushes the other harts.
    for (const hart of [first, second]) stores(hart, 0, 'sw', UNUSED + 0x1000);
    for (const page of [SHARED, UNUSED]) for (const hart of [first, second]) result(hart, page);
    stores(second, addN(2), 'sw');
    stores(first, addN(3), 'sw', UNUSED);
    assert.equal(result(first), 2n);
    assert.equal(result(second, UNUSED), 3n);
    assert.equal(result(first, UNUSED), 3n);
  });

  test('a page that is written so often that it counts as data, while others fetch from it at every store', () => {
    const { first, second, load, result, stores } = threeHarts();
    assert.equal(result(first), 1n);
    assert.equal(result(second), 1n);
    for (let n = 2; n < 200; n++) {
      stores(second, addN(n), n % 3 === 0 ? 'amoswap.w' : 'sw');
      assert.equal(result(first), BigInt(n));
    }
    // A device, on the thread of a hart that never fetched from there.
    load(SHARED, (a) => a.word(addN(300)).i('wfi'));
    assert.equal(result(first), 300n);
    assert.equal(result(second), 300n);
  });

  test('an atomic store, which comes behind its announcement, takes the flag, so that a fetch waits for it', () => {
    const { first, result, stores, isCode } = threeHarts();
    result(first);
    assert.ok(isCode(SHARED));
    stores(first, addN(1), 'sw');
    assert.ok(isCode(SHARED), 'a plain store is announced when it is done');
    stores(first, addN(1), 'amoswap.w');
    assert.ok(!isCode(SHARED));
  });

  test('a hart that finds a page flagged as code waits for the others as well, until one has seen to it', () => {
    const { first, second, result } = threeHarts();
    const flushes: string[] = [];
    result(first);
    result(second);
    let nested: bigint | undefined;
    second.onFlush = (shootDown) => {
      flushes.push('second');
      shootDown();
    };
    first.onFlush = (shootDown) => {
      flushes.push('first');
      // The first hart has flagged the page and waits for the third; now comes the second.
      first.control.park();
      nested ??= result(second, UNUSED);
      first.control.unpark();
      shootDown();
    };
    assert.equal(result(first, UNUSED), 1n);
    assert.equal(nested, 1n);
    assert.deepEqual(flushes, ['first', 'second']);
    result(first, UNUSED);
    result(second, UNUSED);
    assert.deepEqual(flushes, ['first', 'second'], 'all know of it by now');
  });

  test('a fence.i that is served in the middle of an instruction holds for the next one', () => {
    const machine: BareMachine = new BareMachine({
      harts: 2,
      environment: {
        deviceRead: () => {
          // While the hart waits for the device, the other one changes the code behind the load and asks for a flush.
          machine.control.park();
          other.run(SECOND);
          machine.control.unpark();
          machine.hart.flush();
          return 0n;
        },
      },
    });
    const other = machine.sibling(1);
    machine.load(FIRST, (a) => {
      a.li(t0, 0x1000_0000).jump('patched');
      a.nops((0x100 - a.length) / 4);
      a.label('load').i('lw', { rd: a1, rs1: t0 });
      a.label('patched').word(addN(1)).to('beq', 'load', { rs1: a1 }).i('wfi');
    });
    machine.load(SECOND, (a) =>
      a
        .li(a0, FIRST + 0x104)
        .li(a1, addN(100))
        .i('sw', { rs1: a0, rs2: a1 })
        .i('wfi'),
    );
    machine.boot({ pc: FIRST });
    machine.hart.setX(a1, 0n);
    machine.hart.setX(a2, 0n);
    // The loop would go on for ever: the device gives 0.
    machine.load(FIRST + 0x10c, (a) => a.i('wfi'));
    machine.run(1, 60);
    assert.ok(machine.x(a2) >= 101n && machine.x(a2) % 100n === 1n, `a2 is ${machine.x(a2)}`);
  });
});

describe('a page table that changes while a walk waits', () => {
  test('a table that was left meanwhile is not written to', () => {
    const virtual = 0x4000_0000;
    const page = RAM + 0x4_0000;
    let changed = false;
    const machine: BareMachine = new BareMachine({
      environment: {
        nestedFault: (gfn, write) => {
          if (gfn === Math.floor((oldEntry - RAM) / 4096) && !changed) {
            changed = true;
            machine.memory.writeU64(link, machine.memory.readU64(newLink));
            machine.hart.flush();
          }
          machine.faults.fault(gfn, write);
        },
      },
    });
    const tables = new PageTables(machine);
    for (let at = 0; at < 64; at++) tables.map(RAM + at * 4096, RAM + at * 4096, RWX);
    const clean = RWX & ~(PTE.A | PTE.D);
    const oldEntry = tables.map(virtual, page, clean);
    const newEntry = tables.map(virtual + 2 ** 21, page, clean);
    // The entries that lead to the two tables stand side by side in a table of the second level, the fourth that was made.
    const link = TABLES + 3 * 4096;
    const newLink = link + 8;
    assert.equal(machine.memory.readU64(link) >> 10n, BigInt(Math.floor(oldEntry / 4096)));
    // As a page that sharing has looked at: a write to it, here of the A and D bits, asks for the right again.
    clearEntryBits(machine.guest, Math.floor((oldEntry - RAM) / 4096), NPT_WRITABLE);
    machine.execute((a) => a.li(a0, virtual).li(a2, 5).i('sd', { rs1: a0, rs2: a2 }), {
      privilege: 1,
      csrs: { satp: tables.satp },
    });
    machine.expectNoTrap();
    assert.ok(changed);
    assert.equal(machine.memory.readU64(page), 5n);
    assert.equal(machine.memory.readU64(oldEntry) & BigInt(PTE.A | PTE.D), 0n);
    assert.equal(machine.memory.readU64(newEntry) & BigInt(PTE.A | PTE.D), BigInt(PTE.A | PTE.D));
  });

  for (const [name, write] of [
    ['load', (a: Assembler) => a.i('ld', { rd: a1, rs1: a0 })],
    ['store', (a: Assembler) => a.i('sd', { rs1: a0, rs2: a2 })],
    ['amo', (a: Assembler) => a.i('amoadd.d', { rd: a1, rs1: a0, rs2: a2 })],
  ] as const) {
    test(`${name}: the translation is that of afterwards`, () => {
      const virtual = 0x4000_0000;
      const [before, after] = [RAM + 0x4_0000, RAM + 0x4_1000];
      let changed = false;
      const machine: BareMachine = new BareMachine({
        environment: {
          nestedFault: (gfn, write) => {
            if (gfn === (before - RAM) / 4096 && !changed) {
              changed = true;
              // Another hart maps the page elsewhere and has this one flushed, while it waits for the frame.
              tables.map(virtual, after, RWX);
              machine.hart.flush();
            }
            machine.faults.fault(gfn, write);
          },
        },
      });
      const tables = new PageTables(machine);
      for (let page = 0; page < 64; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
      tables.map(virtual, before, RWX);
      machine.memory.writeU64(after, 77n);
      // A first page of zeros needs no frame to be read: let it come from a write.
      machine.execute(
        (a) => {
          a.li(a0, virtual).li(a2, 5);
          if (name === 'load') a.i('sd', { rs1: a0, rs2: a2 });
          write(a);
          a.i('ld', { rd: t0, rs1: a0 });
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      assert.ok(changed);
      assert.equal(machine.x(t0), name === 'amo' ? 82n : 5n);
      assert.equal(machine.memory.readU64(after), name === 'amo' ? 82n : 5n);
      assert.equal(machine.memory.readU64(before), 0n);
    });
  }
});
