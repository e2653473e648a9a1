import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, PageTables, PTE, RAM, RWX } from './bare-machine.ts';
import { dataMode, load, MPP_S, MPP_U, MPRV, MXR, paged, SUM } from './supervisor.ts';

const { a0, a1, a2, a3, t0, t1 } = R;

describe('privilege and TLB', () => {
  test('M-mode, and S-mode by MPRV, see the same address differently, in turn', () => {
    const { machine, tables } = paged();
    tables.map(DATA, DATA + 0x1000, RWX);
    machine.memory.writeU64(DATA, 1n);
    machine.memory.writeU64(DATA + 0x1000, 2n);
    machine.execute(
      (a) => {
        a.li(a0, DATA).i(...load(a1));
        dataMode(a, MPRV | MPP_S);
        a.i(...load(a2)).i('sd', { rs1: a0, rs2: a2, imm: 8 });
        dataMode(a, 0);
        a.i(...load(a3)).i('sd', { rs1: a0, rs2: a3, imm: 16 });
      },
      { csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    assert.deepEqual([machine.x(a1), machine.x(a2), machine.x(a3)], [1n, 2n, 1n]);
    assert.equal(machine.memory.readU64(DATA + 0x1008), 2n);
    assert.equal(machine.memory.readU64(DATA + 16), 1n);
  });

  test('what SUM allowed is not allowed after it was cleared', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, RWX | PTE.U);
    let at = 0;
    machine.execute(
      (a) => {
        a.li(a0, 0x1000);
        dataMode(a, MPRV | MPP_S | SUM);
        a.i(...load(a1)).i('sd', { rs1: a0, rs2: a1 });
        dataMode(a, MPRV | MPP_S);
        at = a.length;
        a.i(...load(a1));
      },
      { csrs: { satp: tables.satp } },
    );
    machine.expectTrap(13, CODE + at, 0x1000);
  });

  test('what MXR made readable is not readable after it was cleared', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, PTE.V | PTE.X | PTE.A);
    let at = 0;
    machine.execute(
      (a) => {
        a.li(a0, 0x1000);
        dataMode(a, MPRV | MPP_S | MXR);
        a.i(...load(a1));
        dataMode(a, MPRV | MPP_S);
        at = a.length;
        a.i(...load(a1));
      },
      { csrs: { satp: tables.satp } },
    );
    machine.expectTrap(13, CODE + at, 0x1000);
  });

  test('U-mode does not get at what S-mode has in its TLB, nor S-mode at what U-mode has', () => {
    for (const [first, second, flags] of [
      [MPP_S, MPP_U, RWX],
      [MPP_U, MPP_S, RWX | PTE.U],
    ] as const) {
      const { machine, tables } = paged();
      tables.map(0x1000, DATA, flags);
      let at = 0;
      machine.execute(
        (a) => {
          a.li(a0, 0x1000);
          dataMode(a, MPRV | first);
          a.i(...load(a1)).i('sd', { rs1: a0, rs2: a1 });
          dataMode(a, MPRV | second);
          at = a.length;
          a.i('sd', { rs1: a0, rs2: a1 });
        },
        { csrs: { satp: tables.satp } },
      );
      machine.expectTrap(15, CODE + at, 0x1000);
    }
  });

  test('S-mode does not execute user pages, even with SUM; U-mode executes only them', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, RWX | PTE.U);
    machine.load(DATA, (a) => a.i('ecall'));
    machine.load(CODE, (a) => a.i('wfi'));
    machine.boot({ pc: 0x1000, privilege: 1, csrs: { satp: tables.satp, mstatus: SUM } });
    machine.run();
    machine.expectTrap(12, 0x1000, 0x1000);
    machine.boot({ pc: 0x1000, privilege: 0, csrs: { satp: tables.satp } });
    machine.run();
    machine.expectTrap(8, 0x1000);
    machine.boot({ pc: CODE, privilege: 0, csrs: { satp: tables.satp } });
    machine.run();
    machine.expectTrap(12, CODE, CODE);
  });

  test('mret to a lower mode clears MPRV', () => {
    const { machine, tables } = paged();
    machine.execute((a) => a.i('ecall'), { privilege: 1, csrs: { satp: tables.satp, mstatus: MPRV } });
    assert.equal(machine.hart.field('mstatus') & BigInt(MPRV), 0n);
  });
});

describe('sfence.vma and satp', () => {
  /** Loads from `gva`, changes the entry, fences, loads again. */
  function reload(gva: bigint, level: number, fence: (a: Assembler) => void, levels: 3 | 4 = 3): [bigint, bigint] {
    const { machine, tables } = paged(levels);
    const first = level === 0 ? DATA : RAM;
    const entry = tables.map(gva, first, RWX, level);
    tables.map(0x5000_0000, entry - (entry % 4096), RWX);
    const other = machine.memory.readU64(entry) ^ BigInt(level === 0 ? 1 << 10 : 0);
    // A large page is taken away; a small one goes to the next frame.
    const changed = level === 0 ? other : 0n;
    machine.memory.writeU64(DATA, 1n);
    machine.memory.writeU64(DATA + 0x1000, 2n);
    machine.execute(
      (a) => {
        a.li(a0, gva + BigInt(level === 0 ? 0 : DATA - RAM)).i(...load(a1));
        a.li(t0, 0x5000_0000 + (entry % 4096))
          .li(t1, changed)
          .i('sd', { rs1: t0, rs2: t1 });
        fence(a);
        a.i(...load(a2));
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    if (level !== 0) assert.equal(machine.hart.field('mcause'), 13n, 'the page that is gone is still in the TLB');
    return [machine.x(a1), machine.x(a2)];
  }

  test('by address: the new entry holds', () => {
    assert.deepEqual(
      reload(0x1000n, 0, (a) => a.i('sfence.vma', { rs1: a0 })),
      [1n, 2n],
    );
  });

  test('of everything: the new entry holds', () => {
    assert.deepEqual(
      reload(0x1000n, 0, (a) => a.i('sfence.vma')),
      [1n, 2n],
    );
  });

  test('by address and address space', () => {
    assert.deepEqual(
      reload(0x1000n, 0, (a) => a.i('sfence.vma', { rs1: a0, rs2: a1 })),
      [1n, 2n],
    );
  });

  for (const [gva, level, levels] of [
    [0x20_0000n, 1, 3],
    [-0x20_0000n, 1, 3],
    [-0x4000_0000n, 2, 3],
    [-0x4000_0000n, 2, 4],
  ] as const) {
    test(`any address of a large page takes all of it out of the TLB: level ${level} at ${gva.toString(16)}`, () => {
      // The first byte of the page, while what is cached lies behind it.
      const fence = (a: Assembler) => a.li(t0, gva).i('sfence.vma', { rs1: t0 });
      assert.equal(reload(gva, level, fence, levels)[0], 1n);
    });
  }

  test('by address: code is fetched through the new entry, wherever in the page it stands', () => {
    const { machine, tables } = paged();
    const entry = tables.map(0x1000, DATA, RWX);
    tables.map(0x5000_0000, entry - (entry % 4096), RWX);
    for (let quarter = 0; quarter < 4; quarter++) {
      for (const [page, value] of [
        [DATA, 1],
        [DATA + 0x1000, 0x10],
      ] as const) {
        const addend = value << quarter;
        machine.load(page + quarter * 1024, (a) =>
          a.i('addi', { rd: a1, rs1: a1, imm: addend }).i('jalr', { rs1: R.ra }),
        );
      }
    }
    const callAll = (a: Assembler): void => {
      for (let quarter = 0; quarter < 4; quarter++) a.li(t0, 0x1000 + quarter * 1024).i('jalr', { rd: R.ra, rs1: t0 });
    };
    machine.execute(
      (a) => {
        a.li(a1, 0);
        callAll(a);
        a.li(t0, 0x5000_0000 + (entry % 4096)).i('ld', { rd: t1, rs1: t0 });
        a.i('addi', { rd: t1, rs1: t1, imm: 1 << 10 }).i('sd', { rs1: t0, rs2: t1 });
        a.li(a0, 0x1ff8).i('sfence.vma', { rs1: a0 });
        callAll(a);
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    assert.equal(machine.x(a1), 0xffn);
  });

  test('a new satp holds at once', () => {
    const { machine, tables } = paged();
    const others = new PageTables(machine);
    for (let page = 0; page < 8; page++) others.map(RAM + page * 4096, RAM + page * 4096, RWX);
    tables.map(0x1000, DATA, RWX);
    others.map(0x1000, DATA + 0x1000, RWX);
    machine.memory.writeU64(DATA, 1n);
    machine.memory.writeU64(DATA + 0x1000, 2n);
    machine.execute(
      (a) =>
        a
          .li(a0, 0x1000)
          .i(...load(a1))
          .setCsr('satp', others.satp)
          .i(...load(a2)),
      {
        privilege: 1,
        csrs: { satp: tables.satp },
      },
    );
    machine.expectNoTrap();
    assert.deepEqual([machine.x(a1), machine.x(a2)], [1n, 2n]);
  });

  test('a mode that does not exist leaves satp as it was', () => {
    const { machine, tables } = paged();
    machine.execute((a) => a.setCsr('satp', (10n << 60n) | 5n).csr('csrrs', a0, 'satp'), {
      privilege: 1,
      csrs: { satp: tables.satp },
    });
    assert.equal(machine.x(a0), tables.satp);
  });

  test('TVM makes sfence.vma and satp illegal in S-mode, and both are in U-mode', () => {
    for (const [privilege, mstatus] of [
      [1, 1 << 20],
      [0, 0],
    ] as const) {
      for (const name of ['sfence.vma', 'satp']) {
        const machine = new BareMachine();
        machine.execute((a) => (name === 'satp' ? a.csr('csrrs', a0, 'satp') : a.i('sfence.vma')), {
          privilege,
          csrs: { mstatus },
        });
        assert.equal(machine.hart.field('mcause'), 2n, name);
      }
    }
  });
});
