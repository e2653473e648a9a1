import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { R } from './assembler.ts';
import { BareMachine, CODE, DATA, type PageTables, PTE, RAM, RWX, TRAP } from './bare-machine.ts';
import { dataMode, load, MPP_S, MPRV, paged } from './supervisor.ts';

const { a0, a1, a2, a3 } = R;
const ADUE = 1n << 61n;

describe('page tables', () => {
  for (const levels of [3, 4] as const) {
    test(`Sv${levels === 3 ? 39 : 48} translates loads, stores and fetches`, () => {
      const { machine, tables } = paged(levels);
      const far = levels === 3 ? -0x20_0000_0000n : -0x4000_0000_0000n;
      tables.map(far, DATA, RWX);
      machine.execute(
        (a) => a.li(a0, far).li(a1, 77).i('sd', { rs1: a0, rs2: a1, imm: 8 }).i('ld', { rd: a2, rs1: a0, imm: 8 }),
        {
          privilege: 1,
          csrs: { satp: tables.satp },
        },
      );
      machine.expectNoTrap();
      assert.equal(machine.x(a2), 77n);
      assert.equal(machine.memory.readU64(DATA + 8), 77n);
    });
  }

  test('large pages of each level translate every address in them', () => {
    const { machine, tables } = paged(4);
    tables.map(0x4000_0000, RAM, RWX, 2);
    tables.map(0x60_0000, RAM, RWX, 1);
    machine.memory.writeU64(DATA + 0x2008, 5n);
    machine.execute(
      (a) =>
        a
          .li(a0, 0x4000_0000 + DATA - RAM + 0x2008)
          .i(...load(a1))
          .li(a0, 0x60_0000 + DATA - RAM + 0x2008)
          .i(...load(a2)),
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    assert.deepEqual([machine.x(a1), machine.x(a2)], [5n, 5n]);
  });

  const bad: [name: string, change: (machine: BareMachine, tables: PageTables) => void, cause?: number][] = [
    ['an entry that is not valid', (_m, t) => t.map(0x1000, DATA, RWX & ~PTE.V)],
    ['writable but not readable', (_m, t) => t.map(0x1000, DATA, PTE.V | PTE.W | PTE.A | PTE.D)],
    ['a misaligned large page', (_m, t) => t.map(0, DATA, RWX, 1)],
    ['a user page without SUM', (_m, t) => t.map(0x1000, DATA, RWX | PTE.U)],
    ['a pointer at the last level', (_m, t) => t.map(0x1000, DATA, PTE.V)],
    ['a pointer with A set', (_m, t) => t.map(0, DATA, PTE.V | PTE.A, 1)],
    [
      'a reserved bit',
      (m, t) => {
        const at = t.map(0x1000, DATA, RWX);
        m.memory.writeU64(at, m.memory.readU64(at) | (1n << 54n));
      },
    ],
    ['a table that is outside of RAM', (_m, t) => t.map(0, 0x1000_0000, PTE.V, 1), 5],
    ['a page that is outside of RAM', (_m, t) => t.map(0x1000, 0x1000_0000, RWX), 5],
  ];
  for (const [name, change, cause = 13] of bad) {
    test(`${name} faults`, () => {
      const { machine, tables } = paged();
      change(machine, tables);
      machine.execute((a) => a.li(a0, 0x1238).i(...load(a1)), { privilege: 1, csrs: { satp: tables.satp } });
      machine.expectTrap(cause, CODE + 8, 0x1238);
    });
  }

  test('an address whose upper bits are no sign extension faults', () => {
    const { machine, tables } = paged();
    tables.map(-0x4000_0000n, DATA, RWX);
    machine.execute((a) => a.li(a0, 0x7f_c000_0000).i(...load(a1)), { privilege: 1, csrs: { satp: tables.satp } });
    assert.equal(machine.hart.field('mcause'), 13n);
  });

  test('a store needs W, a fetch needs X', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, RWX & ~PTE.W & ~PTE.X);
    machine.load(DATA, (a) => a.i('wfi'));
    const start = { privilege: 1, csrs: { satp: tables.satp } } as const;
    machine.execute(
      (a) =>
        a
          .li(a0, 0x1000)
          .i(...load(a1))
          .i('sd', { rs1: a0, rs2: a1 }),
      start,
    );
    machine.expectTrap(15, CODE + 12, 0x1000);
    machine.execute((a) => a.li(a0, 0x1000).i('jalr', { rs1: a0, imm: 4 }), start);
    machine.expectTrap(12, 0x1004, 0x1004);
  });
});

describe('accessed and dirty', () => {
  const AD = BigInt(PTE.A | PTE.D);

  test('ADUE: a load sets A, a store A and D, also behind a load that has filled the TLB', () => {
    const { machine, tables } = paged();
    const loaded = tables.map(0x1000, DATA, RWX & ~PTE.A & ~PTE.D);
    const stored = tables.map(0x2000, DATA, RWX & ~PTE.A & ~PTE.D);
    const both = tables.map(0x3000, DATA, RWX & ~PTE.A & ~PTE.D);
    const untouched = tables.map(0x4000, DATA, RWX & ~PTE.A & ~PTE.D);
    machine.execute(
      (a) =>
        a
          .li(a0, 0x1000)
          .i(...load(a1))
          .li(a0, 0x2000)
          .i('sd', { rs1: a0 })
          .li(a0, 0x3000)
          .i(...load(a1))
          .i('sd', { rs1: a0 }),
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    const bits = [loaded, stored, both, untouched].map((entry) => machine.memory.readU64(entry) & AD);
    assert.deepEqual(bits, [BigInt(PTE.A), AD, AD, 0n]);
  });

  test('ADUE: a fetch sets A', () => {
    const { machine, tables } = paged();
    const entry = tables.map(0x1000, DATA, PTE.V | PTE.X);
    machine.load(DATA, (a) => a.i('wfi'));
    machine.boot({ pc: 0x1000, privilege: 1, csrs: { satp: tables.satp } });
    machine.run();
    assert.equal(machine.memory.readU64(entry) & AD, BigInt(PTE.A));
  });

  test('without ADUE the access faults and nothing is set', () => {
    for (const [flags, cause] of [
      [RWX & ~PTE.A, 13],
      [RWX & ~PTE.D, 15],
    ] as const) {
      const { machine, tables } = paged();
      const entry = tables.map(0x1000, DATA, flags);
      machine.execute(
        (a) =>
          a
            .li(a0, 0x1000)
            .i(...load(a1))
            .i('sd', { rs1: a0, rs2: a1 }),
        {
          privilege: 1,
          csrs: { menvcfg: 0, satp: tables.satp },
        },
      );
      machine.expectTrap(cause, CODE + (cause === 13 ? 8 : 12), 0x1000);
      assert.equal(machine.memory.readU64(entry) & 0xffn, BigInt(flags));
    }
  });

  test('a change of ADUE holds at once', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, RWX & ~PTE.D);
    machine.execute(
      (a) => {
        a.li(a0, 0x1000).setCsr('menvcfg', 0);
        dataMode(a, MPRV | MPP_S);
        a.i(...load(a1)).i('sd', { rs1: a0, rs2: a1 });
      },
      { csrs: { menvcfg: ADUE, satp: tables.satp } },
    );
    assert.equal(machine.hart.field('mcause'), 15n);
  });
});

test('an untouched page reads as zeros, costs nothing, and is a page of its own after a store', () => {
  const machine = new BareMachine();
  const before = machine.machineMemory.freeFrames;
  machine.load(CODE, (a) => a.i('wfi'));
  machine.boot();
  machine.run();
  const used = machine.machineMemory.freeFrames;
  assert.ok(used < before);
  const again = new BareMachine();
  again.execute((a) =>
    a
      .li(a0, DATA)
      .i(...load(a1))
      .li(a2, 9)
      .i('sd', { rs1: a0, rs2: a2 })
      .i(...load(a3)),
  );
  again.expectNoTrap();
  assert.deepEqual([again.x(a1), again.x(a3)], [0n, 9n]);
  assert.equal(again.hart.pc > BigInt(TRAP), true);
  assert.equal(machine.machineMemory.freeFrames - again.machineMemory.freeFrames, 1);
});
