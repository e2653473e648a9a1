import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pmpRanges } from '../../src/engine/pmp.ts';
import { Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, PageTables, RAM, RWX } from './bare-machine.ts';
import { defaultTier, type Tier } from './tiers.ts';

const { a0, a1, a2 } = R;
const [PMP_R, W, X, TOR, NA4, NAPOT, L] = [1, 2, 4, 1 << 3, 2 << 3, 3 << 3, 0x80];

const napot = (address: number, size: number): bigint => (BigInt(address) >> 2n) | ((BigInt(size) >> 3n) - 1n);
const top = (address: number): bigint => BigInt(address) >> 2n;
/** Configuration bytes of entries 0 to 7. */
const config = (...bytes: number[]): bigint => bytes.reduceRight((all, byte) => (all << 8n) | BigInt(byte), 0n);

describe('ranges', () => {
  const ranges = (bytes: number[], addresses: bigint[]) =>
    pmpRanges([config(...bytes), 0n], addresses).map(({ first, last }) => [first, last]);

  test('TOR begins where the entry below ends, the first one at 0; empty ones do not count', () => {
    assert.deepEqual(ranges([TOR, TOR], [top(0x1000), top(0x3000)]), [
      [0n, 0xfffn],
      [0x1000n, 0x2fffn],
    ]);
    assert.deepEqual(ranges([0, TOR], [top(0x1000), top(0x1000)]), []);
  });

  test('NA4 and NAPOT', () => {
    assert.deepEqual(ranges([NA4], [top(0x1004)]), [[0x1004n, 0x1007n]]);
    assert.deepEqual(ranges([NAPOT], [top(0x1000)]), [[0x1000n, 0x1007n]]);
    assert.deepEqual(ranges([NAPOT], [napot(0x10000, 0x10000)]), [[0x10000n, 0x1ffffn]]);
    assert.deepEqual(ranges([NAPOT], [(1n << 54n) - 1n]), [[0n, (1n << 57n) - 1n]]);
  });

  test('the second configuration register holds entries 8 and following', () => {
    const addresses = Array.from({ length: 16 }, (_, i) => top(0x1000 * (i + 1)));
    const found = pmpRanges([0n, config(NA4 | PMP_R)], addresses);
    assert.deepEqual(found, [{ first: 0x9000n, last: 0x9003n, configuration: NA4 | PMP_R }]);
  });
});

/** Runs a program in S-mode under PMP entries; entry 7 allows everything that no entry before it denies. */
function under(
  entries: [byte: number, address: bigint][],
  write: (a: Assembler) => void,
  privilege: 1 | 3 = 1,
  tier: Tier = defaultTier(),
): BareMachine {
  const machine = new BareMachine({ tier });
  const bytes = Array.from({ length: 8 }, (_, i) => entries[i]?.[0] ?? 0);
  bytes[7] = NAPOT | PMP_R | W | X;
  const csrs: Record<string, bigint> = {};
  for (const [i, [, address]] of entries.entries()) csrs[`pmpaddr${i}`] = address;
  csrs.pmpaddr7 = (1n << 54n) - 1n;
  csrs.pmpcfg0 = config(...bytes);
  return machine.execute(write, { privilege, csrs });
}

const PAGE = napot(DATA, 4096);

describe('accesses', () => {
  for (const kind of ['read', 'write'] as const) {
    test(`a page that is denied in part, by a loop that has got at the rest of it before: ${kind}`, () => {
      const entries: [number, bigint][] = [[NAPOT, napot(DATA + 0x200, 8)]];
      const access = (a: Assembler, rs1: number): unknown =>
        kind === 'read' ? a.i('ld', { rd: a2, rs1 }) : a.i('sd', { rs1, rs2: a2 });
      const walk = (a: Assembler): unknown =>
        a
          .li(a0, DATA + 0x200 - 64 * 8)
          .li(a1, 100)
          .label('loop');
      const write = (a: Assembler): void => {
        walk(a);
        access(a, a0);
        a.i('addi', { rd: a0, rs1: a0, imm: 8 }).i('addi', { rd: a1, rs1: a1, imm: -1 }).to('bne', 'loop', { rs1: a1 });
      };
      const at = new Assembler();
      walk(at);
      const machine = under(entries, write, 1, 'translator');
      machine.expectTrap(kind === 'read' ? 5 : 7, CODE + at.offset('loop'), DATA + 0x200);
      assert.equal(machine.x(a1), 100n - 64n);
    });
  }

  test('no entry at all: everything is denied below M-mode', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.li(a0, 1), { privilege: 1, csrs: { pmpcfg0: 0 } });
    machine.expectTrap(1, CODE, CODE);
  });

  test('read, write and execute are granted one by one', () => {
    under([[NAPOT | W | X, PAGE]], (a) => a.li(a0, DATA).i('ld', { rd: a1, rs1: a0, imm: 8 })).expectTrap(
      5,
      CODE + 16,
      DATA + 8,
    );
    under([[NAPOT | PMP_R | X, PAGE]], (a) =>
      a.li(a0, DATA).i('ld', { rd: a1, rs1: a0 }).i('sd', { rs1: a0 }),
    ).expectTrap(7, CODE + 20, DATA);
    under([[NAPOT | PMP_R | W, PAGE]], (a) => a.li(a0, DATA).i('jalr', { rs1: a0 })).expectTrap(1, DATA, DATA);
  });

  test('the first entry that matches decides', () => {
    under(
      [
        [NAPOT | PMP_R, napot(DATA, 4096)],
        [NAPOT, napot(DATA, 8192)],
      ],
      (a) =>
        a
          .li(a0, DATA)
          .i('ld', { rd: a1, rs1: a0 })
          .li(a0, DATA + 4096)
          .i('ld', { rd: a1, rs1: a0 }),
    ).expectTrap(5, CODE + 36, DATA + 4096);
  });

  test('a part of a page: each access is looked at, cached or not', () => {
    const machine = under([[NA4, top(DATA + 64)]], (a) =>
      a
        .li(a0, DATA)
        .i('lw', { rd: a1, rs1: a0, imm: 60 })
        .i('sw', { rs1: a0, imm: 68 })
        .i('lw', { rd: a1, rs1: a0, imm: 68 })
        .i('lw', { rd: a1, rs1: a0, imm: 64 }),
    );
    machine.expectTrap(5, CODE + 28, DATA + 64);
  });

  test('a part of a page of code: each instruction is looked at', () => {
    // Twelve bytes may be executed: a loop of three rounds. What stands behind it may not.
    const machine = new BareMachine();
    machine.load(DATA, (a) =>
      a
        .i('addi', { rd: a1, rs1: a1, imm: 1 })
        .c('c.addi', { rd: a1, rs1: a1, imm: 2 })
        .c('c.addi', { rd: a2, rs1: a2, imm: -1 })
        .i('bne', { rs1: a2, imm: -8 })
        .i('addi', { rd: a1, rs1: a1, imm: 100 }),
    );
    machine.load(CODE, (a) => a.li(a1, 0).li(a2, 3).li(a0, DATA).i('jalr', { rs1: a0 }));
    machine.boot({
      privilege: 1,
      csrs: {
        pmpaddr0: napot(DATA, 8),
        pmpaddr1: top(DATA + 8),
        pmpaddr2: napot(DATA, 4096),
        pmpaddr3: -1n,
        pmpcfg0: config(NAPOT | PMP_R | X, NA4 | PMP_R | X, NAPOT | PMP_R, NAPOT | PMP_R | W | X),
      },
    });
    machine.run();
    machine.expectTrap(1, DATA + 12, DATA + 12);
    assert.deepEqual([machine.x(a1), machine.x(a2)], [9n, 0n]);
  });

  test('an access that only partly matches is denied', () => {
    const machine = under([[NA4 | PMP_R | W, top(DATA + 64)]], (a) =>
      a.li(a0, DATA).i('lw', { rd: a1, rs1: a0, imm: 64 }).i('ld', { rd: a1, rs1: a0, imm: 64 }),
    );
    machine.expectTrap(5, CODE + 20, DATA + 64);
  });

  test('M-mode is bound by locked entries only', () => {
    const load = (a: Assembler) => a.li(a0, DATA).i('ld', { rd: a1, rs1: a0 });
    under([[NAPOT, PAGE]], load, 3).expectNoTrap();
    under([[NAPOT | L, PAGE]], load, 3).expectTrap(5, CODE + 16, DATA);
  });

  test('MPRV: the entries bind M-mode as the mode in MPP', () => {
    const machine = under(
      [[NAPOT, PAGE]],
      (a) =>
        a
          .li(a1, (1 << 17) | (1 << 11))
          .csr('csrrs', 0, 'mstatus', a1)
          .li(a0, DATA)
          .i('ld', { rd: a1, rs1: a0 }),
      3,
    );
    assert.equal(machine.hart.field('mcause'), 5n);
  });

  test('a change of the registers holds at once', () => {
    const machine = under(
      [[NAPOT | PMP_R | L, napot(DATA + 0x1000, 4096)]],
      (a) => {
        a.li(a0, DATA).i('ld', { rd: a1, rs1: a0 }).i('sd', { rs1: a0, imm: 8 });
        a.setCsr('pmpaddr1', PAGE).setCsr('pmpcfg0', config(0, NAPOT | L));
        a.i('ld', { rd: a2, rs1: a0 });
      },
      3,
    );
    assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [5n, BigInt(DATA)]);
  });

  test('page tables are read and written with S-mode rights', () => {
    for (const [flags, denied, cause] of [
      [RWX, PMP_R | W, undefined],
      [RWX, 0, 5],
      [RWX & ~0x40, PMP_R, 5],
    ] as const) {
      const machine = new BareMachine();
      const tables = new PageTables(machine);
      for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
      const entry = tables.map(0x7000_0000, DATA, flags);
      const table = entry - (entry % 4096);
      machine.execute((a) => a.li(a0, 0x7000_0000).i('ld', { rd: a1, rs1: a0 }), {
        privilege: 1,
        csrs: {
          satp: tables.satp,
          pmpaddr0: napot(table, 4096),
          pmpaddr1: (1n << 54n) - 1n,
          pmpcfg0: config(NAPOT | denied, NAPOT | PMP_R | W | X),
        },
      });
      if (cause === undefined) machine.expectNoTrap();
      else assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [BigInt(cause), 0x7000_0000n]);
    }
  });
});

describe('registers', () => {
  /** Writes and reads back in M-mode. */
  function written(name: string, value: bigint, before: (a: Assembler) => void = () => undefined): bigint {
    const machine = new BareMachine();
    machine.execute((a) => {
      before(a);
      a.setCsr(name, value).csr('csrrs', a0, name);
    });
    machine.expectNoTrap();
    return machine.x(a0);
  }

  test('pmpaddr has 54 bits; pmpcfg has no reserved bits and no W without R', () => {
    assert.equal(written('pmpaddr3', -1n), (1n << 54n) - 1n);
    assert.equal(written('pmpcfg0', config(0x7f, W, W | X, PMP_R | W)), config(0x1f, 0, X, PMP_R | W));
    assert.equal(written('pmpcfg2', config(0x1b)), config(0x1b));
  });

  test('a locked entry keeps its address and configuration; locked TOR keeps the address below too', () => {
    const lock = (byte: number) => (a: Assembler) =>
      a
        .setCsr('pmpaddr2', 5)
        .setCsr('pmpaddr3', 7)
        .setCsr('pmpcfg0', config(0, 0, 0, byte));
    assert.equal(written('pmpaddr3', 9n, lock(L)), 7n);
    assert.equal(written('pmpaddr2', 9n, lock(L)), 9n);
    assert.equal(written('pmpaddr2', 9n, lock(L | TOR)), 5n);
    assert.equal(written('pmpcfg0', config(0, PMP_R, 0, PMP_R), lock(L | X)), config(0, PMP_R, 0, L | X));
  });
});
