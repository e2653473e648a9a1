import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Assembler } from './assembler.ts';
import { R } from './assembler.ts';
import { BareMachine, CODE, DATA, PageTables, PTE, RAM, RWX, TRAP } from './bare-machine.ts';

const { a0, a1, a2, a3, t0, t1 } = R;
const MPRV = 1 << 17;
const SUM = 1 << 18;
const MXR = 1 << 19;
const ADUE = 1n << 61n;
const [MPP_U, MPP_S] = [0, 1 << 11];

const load = (rd: number, rs1: number = a0) => ['ld', { rd, rs1 }] as const;

/** A machine with page tables that map the first pages of RAM to themselves, for S-mode. */
function paged(levels: 3 | 4 = 3): { machine: BareMachine; tables: PageTables } {
  const machine = new BareMachine();
  const tables = new PageTables(machine, levels);
  for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
  return { machine, tables };
}

/** Sets MPP and flags of mstatus for data accesses of M-mode. */
function dataMode(a: Assembler, bits: number): void {
  a.li(t1, MPRV | SUM | MXR | (3 << 11))
    .csr('csrrc', 0, 'mstatus', t1)
    .li(t1, bits)
    .csr('csrrs', 0, 'mstatus', t1);
}

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

describe('misaligned and page-crossing accesses', () => {
  const PATTERN = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
  const bytes = (offset: number, length: number): bigint =>
    PATTERN.subarray(offset, offset + length).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

  test('loads of all widths at all distances from the end of a page, from two frames', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA + 0x3000, RWX);
    tables.map(0x2000, DATA + 0x1000, RWX);
    machine.memory.write(DATA + 0x3ff0, PATTERN.subarray(0, 16));
    machine.memory.write(DATA + 0x1000, PATTERN.subarray(16));
    const start = { privilege: 1, csrs: { satp: tables.satp } } as const;
    for (let offset = 8; offset < 20; offset++) {
      machine.execute(
        (a) =>
          a
            .li(a0, 0x1ff0 + offset)
            .i('lhu', { rd: a1, rs1: a0 })
            .i('lwu', { rd: a2, rs1: a0 })
            .i('ld', { rd: a3, rs1: a0 })
            .i('lw', { rd: t0, rs1: a0 }),
        start,
      );
      machine.expectNoTrap();
      assert.deepEqual(
        [machine.x(a1), machine.x(a2), machine.x(a3)],
        [2, 4, 8].map((n) => bytes(offset, n)),
      );
      assert.equal(machine.x(t0), BigInt.asUintN(64, BigInt.asIntN(32, bytes(offset, 4))));
    }
  });

  test('stores of all widths at all distances', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA + 0x3000, RWX);
    tables.map(0x2000, DATA + 0x1000, RWX);
    for (const [name, width] of [
      ['sh', 2],
      ['sw', 4],
      ['sd', 8],
    ] as const) {
      for (let offset = 8; offset < 20; offset++) {
        machine.memory.fill(DATA + 0x3ff0, 16, 0x55);
        machine.memory.fill(DATA + 0x1000, 16, 0x55);
        machine.execute(
          (a) =>
            a
              .li(a0, 0x1ff0 + offset)
              .li(a1, bytes(0, 8))
              .i(name, { rs1: a0, rs2: a1 }),
          {
            privilege: 1,
            csrs: { satp: tables.satp },
          },
        );
        machine.expectNoTrap();
        const expected = new Uint8Array(32).fill(0x55);
        expected.set(PATTERN.subarray(0, width), offset);
        const seen = new Uint8Array(32);
        machine.memory.read(DATA + 0x3ff0, seen.subarray(0, 16));
        machine.memory.read(DATA + 0x1000, seen.subarray(16));
        assert.deepEqual(seen, expected, `${name} at ${offset}`);
      }
    }
  });

  test('a fault on the second page names its first byte, and a store has stored nothing', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, RWX);
    machine.memory.fill(DATA, 4096, 0x55);
    const start = { privilege: 1, csrs: { satp: tables.satp } } as const;
    machine.execute((a) => a.li(a0, 0x1ffd).i('ld', { rd: a1, rs1: a0 }), start);
    assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [13n, 0x2000n]);
    machine.execute((a) => a.li(a0, 0x1ffd).i('sd', { rs1: a0, rs2: a0 }), start);
    assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [15n, 0x2000n]);
    assert.equal(machine.memory.readU32(DATA + 0xffc), 0x55555555);
  });

  test('atomics have to be aligned', () => {
    for (const [name, cause] of [
      ['lr.w', 4],
      ['sc.w', 6],
      ['amoadd.w', 6],
    ] as const) {
      const machine = new BareMachine();
      const rs2 = name === 'lr.w' ? {} : { rs2: a1 };
      machine.execute((a) => a.li(a0, DATA + 2).i(name, { rd: a2, rs1: a0, ...rs2 }));
      assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [BigInt(cause), BigInt(DATA + 2)]);
    }
  });

  test('an instruction across two pages comes from both frames', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA + 0x3000, RWX);
    tables.map(0x2000, DATA, RWX);
    machine.load(DATA + 0x3ffa, (a) => a.li(a0, 1));
    const word = (a: Assembler) => a.i('addi', { rd: a0, rs1: a0, imm: 0x555 });
    const half = new Uint8Array(4);
    machine.load(DATA + 0x100, word);
    machine.memory.read(DATA + 0x100, half);
    machine.memory.write(DATA + 0x3ffe, half.subarray(0, 2));
    machine.memory.write(DATA, half.subarray(2));
    machine.load(DATA + 2, (a) => a.i('addi', { rd: a0, rs1: a0, imm: 1 }).i('wfi'));
    machine.boot({ pc: 0x1ffa, privilege: 1, csrs: { satp: tables.satp } });
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a0), 0x557n);
  });

  test('an instruction whose second half is on a page that faults', () => {
    const { machine, tables } = paged();
    tables.map(0x1000, DATA, RWX);
    machine.load(DATA + 0xffe, (a) => a.half(0x0013));
    machine.boot({ pc: 0x1ffe, privilege: 1, csrs: { satp: tables.satp } });
    machine.run();
    machine.expectTrap(12, 0x1ffe, 0x2000);
  });

  test('an illegal instruction across two pages is in mtval', () => {
    const machine = new BareMachine();
    machine.load(DATA + 0xffe, (a) => a.word(0xfffffff7));
    machine.boot({ pc: DATA + 0xffe });
    machine.run();
    machine.expectTrap(2, DATA + 0xffe, 0xfffffff7);
  });

  test('a branch from a crossing instruction, and a jump to one', () => {
    const machine = new BareMachine();
    machine.load(DATA + 0xff0, (a) =>
      a
        .li(a0, 3)
        .li(a1, 0)
        .jump('crossing')
        .half(1)
        .label('crossing')
        .to('beq', 'out', { rs1: a0, rs2: R.zero })
        .i('addi', { rd: a1, rs1: a1, imm: 5 })
        .i('addi', { rd: a0, rs1: a0, imm: -1 })
        .jump('crossing')
        .label('out')
        .i('wfi'),
    );
    machine.boot({ pc: DATA + 0xff0 });
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a1), 15n);
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
