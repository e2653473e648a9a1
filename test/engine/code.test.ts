import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode } from '../../src/isa/encode.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, PageTables, RAM, RWX } from './bare-machine.ts';
import { addN, addressOf, addShort, sum, twice } from './patching.ts';

const { a0, a1, a2, a3, a4, a5, ra, t0 } = R;

describe('code that changes itself', () => {
  test('the next instruction', () => {
    const result = sum((a) =>
      twice(a, () => {
        a.li(a1, addN(100));
        addressOf(a, a0, 12);
        a.i('sw', { rs1: a0, rs2: a1 }).word(addN(1));
      }),
    );
    assert.equal(result, 200n);
  });

  test('an instruction that was executed before, on the same page', () => {
    const result = sum((a) =>
      twice(a, () => {
        addressOf(a, a0, 8);
        a.word(addN(1)).li(a1, addN(100)).i('sw', { rs1: a0, rs2: a1 });
      }),
    );
    assert.equal(result, 101n);
  });

  for (const [name, write] of [
    ['sb of the upper byte', (a: Assembler) => a.li(a1, addN(100) >>> 24).i('sb', { rs1: a0, rs2: a1, imm: 3 })],
    ['sh of the upper half', (a: Assembler) => a.li(a1, addN(100) >>> 16).i('sh', { rs1: a0, rs2: a1, imm: 2 })],
    [
      'sd over two instructions',
      (a: Assembler) => a.li(a1, (BigInt(addN(60)) << 32n) | BigInt(addN(40))).i('sd', { rs1: a0, rs2: a1, imm: -4 }),
    ],
    ['amoswap', (a: Assembler) => a.li(a1, addN(100)).i('amoswap.w', { rs1: a0, rs2: a1 })],
    [
      'sc',
      (a: Assembler) => a.li(a1, addN(100)).i('lr.w', { rd: a3, rs1: a0 }).i('sc.w', { rd: a3, rs1: a0, rs2: a1 }),
    ],
    ['fsw', (a: Assembler) => a.li(a1, addN(100)).i('fmv.w.x', { rd: 1, rs1: a1 }).i('fsw', { rs1: a0, rs2: 1 })],
  ] as const) {
    test(name, () => {
      const machine = new BareMachine();
      machine.load(CODE, (a) => {
        a.li(t0, 3 << 13)
          .csr('csrrs', 0, 'mstatus', t0)
          .li(a2, 0);
        twice(a, () => {
          a.i('auipc', { rd: a0 }).i('addi', { rd: a0, rs1: a0, imm: 12 }).word(addN(0)).word(addN(4));
          write(a);
        });
        a.i('wfi');
      });
      machine.boot();
      machine.run();
      machine.expectNoTrap();
      assert.equal(machine.x(a2), 104n);
    });
  }

  test('a long instruction becomes two short ones, of which the second was never one before', () => {
    const result = sum((a) =>
      twice(a, () => {
        addressOf(a, a0, 8);
        a.word(addN(1))
          .li(a1, addShort(10) | (addShort(20) << 16))
          .i('sw', { rs1: a0, rs2: a1 });
      }),
    );
    assert.equal(result, 31n);
  });

  test('two short instructions become a long one, by a store to the second half and one to the first', () => {
    const result = sum((a) =>
      twice(a, () => {
        addressOf(a, a0, 8);
        a.half(addShort(1)).half(addShort(2));
        a.li(a1, addN(100) >>> 16).i('sh', { rs1: a0, rs2: a1, imm: 2 });
        a.li(a1, addN(100) & 0xffff).i('sh', { rs1: a0, rs2: a1 });
      }),
    );
    assert.equal(result, 103n);
  });

  for (const half of [0, 2]) {
    test(`an instruction across two pages, by a store to its ${half === 0 ? 'first' : 'second'} half`, () => {
      const machine = new BareMachine();
      // Both immediates differ in the upper half only; the register in the lower one.
      const before = encode('addi', { rd: a2, rs1: a2, imm: 1 });
      const after = half === 2 ? addN(100) : encode('addi', { rd: a3, rs1: a2, imm: 1 });
      machine.load(DATA + 0xffe, (a) => a.word(before).i('jalr', { rs1: ra }));
      machine.execute((a) => {
        a.li(a0, DATA + 0xffe)
          .li(a2, 0)
          .li(a3, 0)
          .i('jalr', { rd: ra, rs1: a0 });
        a.li(a1, (after >>> (8 * half)) & 0xffff).i('sh', { rs1: a0, rs2: a1, imm: half });
        a.i('jalr', { rd: ra, rs1: a0 });
      });
      machine.expectNoTrap();
      assert.deepEqual([machine.x(a2), machine.x(a3)], half === 2 ? [101n, 0n] : [1n, 2n]);
    });
  }

  test('a store across the border of two code pages', () => {
    const machine = new BareMachine();
    machine.load(DATA + 0xffc, (a) => a.word(addN(1)).word(addN(2)).i('jalr', { rs1: ra }));
    machine.execute((a) => {
      a.li(a0, DATA + 0xffc)
        .li(a2, 0)
        .i('jalr', { rd: ra, rs1: a0 });
      a.li(a1, (BigInt(addN(200)) << 32n) | BigInt(addN(100))).i('sd', { rs1: a0, rs2: a1 });
      a.i('jalr', { rd: ra, rs1: a0 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 303n);
  });

  test('a page that was written to before it was executed, and again after that', () => {
    const machine = new BareMachine();
    machine.load(DATA, (a) => a.word(0).i('jalr', { rs1: ra }));
    machine.execute((a) => {
      a.li(a0, DATA).li(a2, 0);
      for (const n of [1, 10, 100]) a.li(a1, addN(n)).i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
    });
    assert.equal(machine.x(a2), 111n);
  });

  test('through another address of the same page', () => {
    const machine = new BareMachine();
    const tables = new PageTables(machine);
    for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
    tables.map(0x1000, DATA, RWX);
    tables.map(0x2000, DATA, RWX);
    machine.load(DATA, (a) => a.word(addN(5)).i('jalr', { rs1: ra }));
    machine.execute(
      (a) => {
        a.li(a0, 0x1000).li(a3, 0x2000).li(a2, 0);
        // The write translation of the other address is there before the page is decoded.
        a.i('sw', { rs1: a3, imm: 64 });
        a.i('jalr', { rd: ra, rs1: a0 });
        for (const n of [10, 100]) a.li(a1, addN(n)).i('sw', { rs1: a3, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 115n);
  });

  test('very often: the page counts as data, and its code is still the one that was stored last', () => {
    const machine = new BareMachine();
    machine.load(DATA, (a) => a.word(0).i('jalr', { rs1: ra }));
    machine.execute((a) => {
      a.li(a0, DATA).li(a2, 0).li(a4, 0).li(a5, 300);
      a.label('again');
      // Stores 100 times (the code and other words), executes once.
      a.li(t0, 100).label('stores').li(a1, addN(1)).i('slli', { rd: a3, rs1: a4, imm: 20 });
      a.i('add', { rd: a1, rs1: a1, rs2: a3 }).i('sw', { rs1: a0, rs2: a1 }).i('sw', { rs1: a0, rs2: a1, imm: 64 });
      a.i('addi', { rd: t0, rs1: t0, imm: -1 }).to('bne', 'stores', { rs1: t0 });
      a.i('jalr', { rd: ra, rs1: a0 });
      a.i('addi', { rd: a4, rs1: a4, imm: 1 }).to('bne', 'again', { rs1: a4, rs2: a5 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt((300 * 301) / 2));
  });

  test('a program that stores to its own page more often than the page stays code', () => {
    const machine = new BareMachine();
    machine.execute((a) => {
      a.li(a2, 0).li(a4, 0).li(a5, 500).label('again');
      a.li(a1, addN(0)).i('slli', { rd: a3, rs1: a4, imm: 20 }).i('add', { rd: a1, rs1: a1, rs2: a3 });
      addressOf(a, a0, 12);
      a.i('sw', { rs1: a0, rs2: a1 }).word(addN(1));
      a.i('addi', { rd: a4, rs1: a4, imm: 1 }).to('bne', 'again', { rs1: a4, rs2: a5 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt((500 * 499) / 2));
  });

  for (const name of ['amoswap.w', 'sc.w']) {
    test(`${name} into its own block more often than the block stays code`, () => {
      const machine = new BareMachine();
      machine.execute((a) => {
        a.li(a2, 0).li(a4, 0).li(a5, 500).label('again');
        a.li(a1, addN(0)).i('slli', { rd: a3, rs1: a4, imm: 20 }).i('add', { rd: a1, rs1: a1, rs2: a3 });
        addressOf(a, a0, 16);
        a.i('lr.w', { rd: a3, rs1: a0 }).i(name, { rd: a3, rs1: a0, rs2: a1 }).word(addN(1));
        a.i('addi', { rd: a4, rs1: a4, imm: 1 }).to('bne', 'again', { rs1: a4, rs2: a5 });
      });
      machine.expectNoTrap();
      assert.equal(machine.x(a2), BigInt((500 * 499) / 2));
    });
  }

  test('a program that fills all of a page with code, runs it, and fills it again', () => {
    const machine = new BareMachine();
    machine.execute((a) => {
      a.li(a2, 0)
        .li(a5, 1)
        .label('again')
        .li(a0, DATA)
        .li(a4, DATA + 4092);
      a.li(a1, addN(0)).i('slli', { rd: a3, rs1: a5, imm: 20 }).i('add', { rd: a1, rs1: a1, rs2: a3 });
      a.label('fill').i('sw', { rs1: a0, rs2: a1 }).i('addi', { rd: a0, rs1: a0, imm: 4 });
      a.to('bne', 'fill', { rs1: a0, rs2: a4 });
      a.li(a1, encode('jalr', { rs1: ra })).i('sw', { rs1: a0, rs2: a1 });
      a.i('fence.i').li(a0, DATA).i('jalr', { rd: ra, rs1: a0 });
      a.i('addi', { rd: a5, rs1: a5, imm: 1 }).li(a3, 4).to('bne', 'again', { rs1: a5, rs2: a3 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 1023n * 6n);
  });
});

test('an atomic instruction that overwrites itself still has its operands', () => {
  const machine = new BareMachine();
  const nop = encode('addi');
  machine.execute((a) => {
    a.li(a1, nop);
    addressOf(a, a0, 8);
    a.i('amoswap.w', { rd: a2, rs1: a0, rs2: a1 });
  });
  machine.expectNoTrap();
  assert.equal(machine.x(a2), BigInt(encode('amoswap.w', { rd: a2, rs1: a0, rs2: a1 })));
});

test('a load from a device that writes to the code that loads', () => {
  const machine: BareMachine = new BareMachine({
    environment: {
      deviceRead: () => {
        // More writes than the block stays code.
        for (let i = 0; i < 100; i++) machine.memory.writeU32(CODE, encode('addi'));
        return 42n;
      },
    },
  });
  machine.execute((a) => a.nops(1).li(a0, 0x1000_0000).i('lw', { rd: a2, rs1: a0 }));
  machine.expectNoTrap();
  assert.equal(machine.x(a2), 42n);
});
