import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode } from '../../src/isa/encode.ts';
import { NPT_ACCESSED, NPT_DIRTY, NPT_WRITABLE } from '../../src/memory/layout.ts';
import { clearEntryBits, loadEntry } from '../../src/memory/npt.ts';
import { type Assembler, R } from './assembler.ts';
import { type BareMachine, CODE, DATA, PageTables, PTE, RAM, RWX } from './bare-machine.ts';
import { dataMode, load, MPP_S, MPP_U, MPRV, MXR, paged, SUM } from './supervisor.ts';

const { ra, a0, a1, a2, a3, t0, t1 } = R;
const HERE = 0x1000;
const NEAR = 0x3000;
const WINDOW = 0x5000_0000;
const gfn = (address: number): number => (address - RAM) / 4096;

/** Empties the first level, but for global pages, by a change to another address space and back. */
function elsewhere(a: Assembler, satp: bigint): void {
  a.setCsr('satp', satp | (5n << 44n)).setCsr('satp', satp);
}

/** Goes on with other code in S-mode, with all that is cached. */
function goOn(machine: BareMachine, write: (a: Assembler) => void): void {
  const at = CODE + 0x800;
  machine.load(at, (a) => {
    write(a);
    a.i('wfi');
  });
  machine.hart.pc = BigInt(at);
  machine.run();
}

describe('second level', () => {
  for (const [name, first, second, flags, cause] of [
    ['U-mode does not get at a page of S-mode', MPP_S, MPP_U, RWX, 13],
    ['S-mode does not get at a page of U-mode', MPP_U, MPP_S, RWX | PTE.U, 13],
    ['what SUM allowed is not allowed without', MPP_S | SUM, MPP_S, RWX | PTE.U, 13],
    ['what MXR made readable is not readable without', MPP_S | MXR, MPP_S, PTE.V | PTE.X | PTE.A, 13],
  ] as const) {
    test(name, () => {
      const { machine, tables } = paged();
      tables.map(HERE, DATA, flags);
      let at = 0;
      machine.execute(
        (a) => {
          a.li(a0, HERE);
          dataMode(a, MPRV | first);
          a.i(...load(a1));
          elsewhere(a, tables.satp);
          a.i(...load(a1));
          elsewhere(a, tables.satp);
          dataMode(a, MPRV | second);
          at = a.length;
          a.i(...load(a1));
        },
        { csrs: { satp: tables.satp } },
      );
      machine.expectTrap(cause, CODE + at, HERE);
    });
  }

  test('S-mode with SUM reads a user page, and does not fetch from it for that', () => {
    const { machine, tables } = paged();
    tables.map(HERE, DATA, RWX | PTE.U);
    machine.execute(
      (a) =>
        a
          .li(a0, HERE)
          .i(...load(a1))
          .i('jalr', { rs1: a0 }),
      {
        privilege: 1,
        csrs: { satp: tables.satp, mstatus: SUM },
      },
    );
    machine.expectTrap(12, HERE, HERE);
  });

  test('what one entry allowed U-mode, and another one to write, does not allow U-mode to write', () => {
    const { machine, tables } = paged();
    const entry = tables.map(HERE, DATA, RWX);
    tables.map(WINDOW, entry - (entry % 4096), RWX);
    let at = 0;
    machine.execute(
      (a) => {
        a.li(a0, HERE);
        dataMode(a, MPRV | MPP_S);
        a.i('sd', { rs1: a0, rs2: a0 });
        // No fence: either entry may be used for what comes, but not something of both.
        a.li(t0, WINDOW + (entry % 4096)).li(
          t1,
          ((BigInt(DATA) >> 12n) << 10n) | BigInt(PTE.V | PTE.R | PTE.U | PTE.A),
        );
        a.i('sd', { rs1: t0, rs2: t1 });
        dataMode(a, MPRV | MPP_U);
        a.i(...load(a1));
        at = a.length;
        a.i('sd', { rs1: a0, rs2: a1 });
      },
      { csrs: { satp: tables.satp } },
    );
    machine.expectTrap(15, CODE + at, HERE);
  });

  test('a store to a page that was read only finds out whether it may, and sets D', () => {
    for (const [flags, cause] of [
      [RWX & ~PTE.D, undefined],
      [RWX & ~PTE.W, 15],
    ] as const) {
      const { machine, tables } = paged();
      const entry = tables.map(HERE, DATA, flags);
      let at = 0;
      machine.execute(
        (a) => {
          a.li(a0, HERE).i(...load(a1));
          elsewhere(a, tables.satp);
          at = a.length;
          a.i('sd', { rs1: a0, rs2: a0 });
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      if (cause !== undefined) machine.expectTrap(cause, CODE + at, HERE);
      else {
        machine.expectNoTrap();
        assert.equal(machine.memory.readU64(entry) & BigInt(PTE.D), BigInt(PTE.D));
        assert.equal(machine.memory.readU64(DATA), BigInt(HERE));
      }
    }
  });

  test('after a shootdown, accesses set the bits of the nested page table again', () => {
    const { machine, tables } = paged();
    tables.map(HERE, DATA, RWX);
    const access = (a: Assembler): unknown =>
      a
        .li(a0, HERE)
        .i(...load(a1))
        .i('sd', { rs1: a0, rs2: a0 });
    machine.execute(access, { privilege: 1, csrs: { satp: tables.satp } });
    clearEntryBits(machine.guest, gfn(DATA), NPT_ACCESSED | NPT_DIRTY);
    machine.hart.forgetFrames();
    const { walks } = machine.counters;
    goOn(machine, access);
    machine.expectNoTrap();
    const bits = NPT_ACCESSED | NPT_DIRTY;
    assert.equal(loadEntry(machine.guest, gfn(DATA)) & bits, bits);
    assert.ok(machine.counters.walks > walks, 'the bits are set by the walk');
  });

  test('after a shootdown, a store asks for the right to write again; what was only read never had it', () => {
    for (const write of [false, true]) {
      const { machine, tables } = paged();
      tables.map(HERE, DATA, RWX);
      machine.memory.writeU64(DATA, 1n);
      machine.execute(
        (a) => {
          a.li(a0, HERE);
          if (write) a.i('sd', { rs1: a0, rs2: a0 });
          a.i(...load(a1));
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      clearEntryBits(machine.guest, gfn(DATA), NPT_WRITABLE);
      machine.hart.forgetFrames();
      goOn(machine, (a) => {
        a.li(a0, HERE).i(...load(a1));
        elsewhere(a, tables.satp);
        a.i('sd', { rs1: a0, rs2: a0 });
      });
      machine.expectNoTrap();
      const bits = NPT_WRITABLE | NPT_DIRTY;
      assert.equal(loadEntry(machine.guest, gfn(DATA)) & bits, bits, write ? 'written before' : 'read before');
    }
  });

  test('a store finds the code on its page, however it got to its translation', () => {
    const { machine, tables } = paged();
    tables.map(HERE, DATA, RWX);
    const add = (n: number): number => encode('addi', { rd: a2, rs1: a2, imm: n });
    machine.load(DATA, (a) => a.word(add(1)).i('jalr', { rs1: ra }));
    machine.execute(
      (a) => {
        a.li(a0, HERE).li(a2, 0).li(a1, add(1));
        // The translation for writing is there before the page holds code.
        a.i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
        a.li(a1, add(16)).i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
        elsewhere(a, tables.satp);
        a.li(a1, add(256)).i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 0x111n);
  });

  test('more pages than a set has ways', () => {
    const { machine, tables } = paged();
    // 16 MiB apart, they are in one entry of the first level; with bits 24 to 35 in the index, a few sets take them.
    const stride = 0x100_1000;
    for (let i = 0; i < 24; i++) {
      tables.map(0x6000_0000 + i * stride, DATA + 0x1000 * (i % 8), RWX);
      machine.memory.writeU64(DATA + 0x1000 * (i % 8), BigInt(i % 8));
    }
    machine.execute(
      (a) => {
        a.li(a3, 0).li(t1, 20).label('again');
        for (let i = 0; i < 24; i++) {
          a.li(a0, 0x6000_0000 + i * stride).i(...load(a1));
          a.li(t0, i % 8).to('bne', 'wrong', { rs1: a1, rs2: t0 });
        }
        a.i('addi', { rd: t1, rs1: t1, imm: -1 }).to('bne', 'again', { rs1: t1 }).i('wfi');
        a.label('wrong').li(a3, 1);
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    assert.equal(machine.x(a3), 0n);
  });
});

describe('PMP', () => {
  const RAM_ALL = (1n << 54n) - 1n;
  const page = (address: number, size = 4096): bigint => (BigInt(address) >> 2n) | BigInt((size >> 3) - 1);
  const [PMP_R, NAPOT, ALL] = [1, 0x18, 0x1f];

  test('what it grants for one kind of access is not granted for another', () => {
    for (const [write, cause, gva] of [
      [(a: Assembler) => a.i('sd', { rs1: a0 }), 7, HERE],
      [(a: Assembler) => a.i('jalr', { rs1: a0 }), 1, HERE],
    ] as const) {
      const { machine, tables } = paged();
      tables.map(HERE, DATA, RWX);
      machine.execute(
        (a) => {
          a.li(a0, HERE).i(...load(a1));
          elsewhere(a, tables.satp);
          a.i(...load(a1));
          write(a);
        },
        {
          privilege: 1,
          csrs: { pmpaddr0: page(DATA), pmpaddr1: RAM_ALL, pmpcfg0: (ALL << 8) | NAPOT | PMP_R, satp: tables.satp },
        },
      );
      assert.equal(machine.hart.field('mcause'), BigInt(cause));
      assert.equal(machine.hart.field('mtval'), BigInt(gva));
    }
  });

  test('it is asked for every entry of a page table that it grants in part', () => {
    const { machine, tables } = paged();
    const low = tables.map(0x20_0000, DATA, RWX);
    const table = low - (low % 4096);
    tables.map(0x20_0000 + 0x1f_f000, DATA, RWX);
    machine.execute(
      (a) =>
        a
          .li(a0, 0x20_0000)
          .i(...load(a1))
          .li(a0, 0x3f_f000)
          .i(...load(a1)),
      {
        privilege: 1,
        csrs: { pmpaddr0: page(table + 2048, 2048), pmpaddr1: RAM_ALL, pmpcfg0: (ALL << 8) | NAPOT, satp: tables.satp },
      },
    );
    assert.equal(machine.hart.field('mcause'), 5n);
    assert.equal(machine.hart.field('mtval'), 0x3f_f000n);
  });
});

describe('walk cache', () => {
  const bad: [name: string, flags: number, page?: number, bits?: bigint][] = [
    ['that is not valid', RWX & ~PTE.V],
    ['that is writable but not readable', PTE.V | PTE.W | PTE.A | PTE.D],
    ['of a user page', RWX | PTE.U],
    ['that points to a table', PTE.V],
    ['that points to a table, with A set', PTE.V | PTE.A],
    ['that can only be executed', PTE.V | PTE.X | PTE.A],
    ['with a reserved bit', RWX, DATA, 1n << 54n],
  ];
  for (const [name, flags, page = DATA, bits = 0n] of bad) {
    test(`an entry ${name} faults, its neighbour having been used`, () => {
      const { machine, tables } = paged();
      tables.map(NEAR, DATA, RWX);
      const entry = tables.map(HERE, page, flags);
      machine.memory.writeU64(entry, machine.memory.readU64(entry) | bits);
      let at = 0;
      machine.execute(
        (a) => {
          a.li(a0, NEAR)
            .i(...load(a1))
            .li(a0, HERE);
          at = a.length;
          a.i(...load(a1));
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectTrap(13, CODE + at, HERE);
    });
  }

  test('accessed and dirty bits are set in tables that have been used', () => {
    const { machine, tables } = paged();
    tables.map(NEAR, DATA, RWX);
    const [read, written] = [HERE, HERE + 0x1000].map((gva) => tables.map(gva, DATA, RWX & ~PTE.A & ~PTE.D));
    machine.execute(
      (a) => {
        a.li(a0, NEAR)
          .i(...load(a1))
          .li(a0, HERE)
          .i(...load(a1));
        a.li(a0, HERE + 0x1000).i('sd', { rs1: a0 });
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    const bits = (entry: number | undefined): number => Number(machine.memory.readU64(entry!)) & (PTE.A | PTE.D);
    assert.deepEqual([bits(read), bits(written)], [PTE.A, PTE.A | PTE.D]);
  });

  test('an entry that becomes valid is found without a fence', () => {
    const { machine, tables } = paged();
    tables.map(NEAR, DATA, RWX);
    const entry = tables.map(HERE, DATA, 0);
    tables.map(WINDOW, entry - (entry % 4096), RWX);
    machine.memory.writeU64(DATA, 5n);
    const wanted = machine.memory.readU64(entry) | BigInt(RWX);
    machine.load(RAM + 0x3000, (a) => {
      a.li(t0, WINDOW + (entry % 4096)).li(t1, wanted);
      a.i('sd', { rs1: t0, rs2: t1 }).i('sret');
    });
    machine.execute(
      (a) =>
        a
          .li(a0, NEAR)
          .i(...load(a1))
          .li(a0, HERE)
          .i(...load(a2)),
      { privilege: 1, csrs: { satp: tables.satp, medeleg: 1 << 13, stvec: RAM + 0x3000 } },
    );
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 5n);
    assert.equal(machine.hart.field('scause'), 13n);
  });

  test('a table that is exchanged for another is gone with any fence that means its addresses', () => {
    for (const operands of [{}, { rs2: t1 }, { rs1: a0 }, { rs1: a0, rs2: t1 }]) {
      const { machine, tables } = paged();
      const other = new PageTables(machine);
      tables.map(HERE, DATA, RWX);
      tables.map(NEAR, DATA, RWX);
      const moved = other.map(NEAR, DATA + 0x1000, RWX);
      machine.memory.writeU64(DATA, 1n);
      machine.memory.writeU64(DATA + 0x1000, 2n);
      // The entry of the middle level for the first 2 MiB.
      const middle = Number(machine.memory.readU64(tables.root) >> 10n) * 4096;
      tables.map(WINDOW, middle, RWX);
      machine.execute(
        (a) => {
          a.li(a0, HERE).i(...load(a1));
          a.li(t0, WINDOW).li(t1, ((BigInt(moved) >> 12n) << 10n) | 1n);
          a.i('sd', { rs1: t0, rs2: t1 }).li(t1, 0).i('sfence.vma', operands);
          a.li(a0, NEAR).i(...load(a2));
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      assert.deepEqual([machine.x(a1), machine.x(a2)], [1n, 2n]);
    }
  });

  test('a table page that gets another frame is read there', () => {
    const { machine, tables } = paged();
    const entry = tables.map(HERE, DATA, RWX);
    tables.map(NEAR, DATA, RWX);
    const table = entry - (entry % 4096);
    tables.map(WINDOW, table, RWX);
    machine.memory.writeU64(DATA, 1n);
    machine.memory.writeU64(DATA + 0x1000, 2n);
    machine.execute((a) => a.li(a0, NEAR).i(...load(a1)), { privilege: 1, csrs: { satp: tables.satp } });
    const before = machine.frameOf(table);
    // As after page sharing: the table's page is read-only, and somebody else has its frame, too.
    const { i32 } = machine.machineMemory;
    const references = (machine.machineMemory.frameTable * 4 + before * 16) >>> 2;
    i32[references]!++;
    clearEntryBits(machine.guest, gfn(table), NPT_WRITABLE);
    machine.hart.flush();
    goOn(machine, (a) => {
      a.li(a0, NEAR).i(...load(a1));
      a.li(t0, WINDOW + (entry % 4096)).li(t1, ((BigInt(DATA + 0x1000) >> 12n) << 10n) | BigInt(RWX));
      a.i('sd', { rs1: t0, rs2: t1 })
        .li(a0, HERE)
        .i(...load(a2));
    });
    machine.expectNoTrap();
    assert.notEqual(machine.frameOf(table), before);
    assert.deepEqual([machine.x(a1), machine.x(a2)], [1n, 2n]);
  });

  for (const [level, levels] of [
    [1, 3],
    [2, 3],
    [3, 4],
  ] as const) {
    test(`pages of 4 KiB in a large page of level ${level} are where they should be`, () => {
      const { machine, tables } = paged(levels);
      const base = levels === 3 ? 0x40_0000_0000n - 0x8000_0000n : 0x80_0000_0000n;
      // The large page begins where RAM begins, but the largest one at 0.
      const start = level === 3 ? 0 : RAM;
      tables.map(base, start, RWX, level);
      for (let i = 0; i < 8; i++) machine.memory.writeU64(DATA + i * 4096, BigInt(i));
      machine.execute(
        (a) => {
          a.li(a3, 0);
          for (let i = 7; i >= 0; i--) {
            a.li(a0, base + BigInt(DATA + i * 4096 - start)).i(...load(a1));
            a.i('slli', { rd: a3, rs1: a3, imm: 4 }).i('add', { rd: a3, rs1: a3, rs2: a1 });
          }
        },
        { privilege: 1, csrs: { satp: tables.satp } },
      );
      machine.expectNoTrap();
      assert.equal(machine.x(a3), 0x7654_3210n);
    });
  }
});
