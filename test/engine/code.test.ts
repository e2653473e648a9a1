import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode, encodeCompressed } from '../../src/isa/encode.ts';
import { FRAME_CODE, FRAME_GENERATION_SHIFT, FRAME_INFO, FRAME_WORDS } from '../../src/memory/layout.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, PageTables, RAM, RWX } from './bare-machine.ts';

const { a0, a1, a2, a3, a4, a5, ra, t0 } = R;

/** addi a2, a2, n: what the programs here patch into themselves. */
const addN = (n: number): number => encode('addi', { rd: a2, rs1: a2, imm: n });
const addShort = (n: number): number => encodeCompressed('c.addi', { rd: a2, rs1: a2, imm: n });

/** Runs a program and gives a2. */
function sum(write: (a: Assembler) => void, machine = new BareMachine()): bigint {
  machine.execute((a) => {
    a.li(a2, 0);
    write(a);
  });
  machine.expectNoTrap();
  return machine.x(a2);
}

/** A loop of two rounds around `body`, which is executed once before and once after it has changed itself. */
function twice(a: Assembler, body: () => void): void {
  a.li(a5, 2).label('again');
  body();
  a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', 'again', { rs1: a5 });
}

/** Loads the address of a label that stands behind, in one instruction after the auipc: 8 bytes. */
function addressOf(a: Assembler, rd: number, distance: number): void {
  a.i('auipc', { rd }).i('addi', { rd, rs1: rd, imm: distance });
}

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

describe('code that others change', () => {
  test('a device writes to the page that is executed', () => {
    const machine: BareMachine = new BareMachine({
      environment: {
        deviceWrite: (_address, _bytes, value) => {
          const word = new Uint8Array(4);
          new DataView(word.buffer).setUint32(0, Number(value), true);
          machine.memory.write(CODE + 0x100, word);
          return true;
        },
      },
    });
    machine.load(CODE, (a) => {
      a.li(a2, 0).li(a4, 0x1000_0000).jump('patched');
      a.nops((0x100 - a.length) / 4);
      a.label('patched').word(addN(1));
      a.li(a1, addN(100)).to('bne', 'out', { rs1: a3 });
      a.li(a3, 1).i('sw', { rs1: a4, rs2: a1 }).jump('patched');
      a.label('out').i('wfi');
      assert.equal(a.offset('patched'), 0x100);
    });
    machine.boot();
    machine.hart.setX(a3, 0n);
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 101n);
  });

  test('memory is written while the hart waits', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.word(addN(1)));
    const before = machine.x(a2);
    machine.execute((a) => a.word(addN(7)));
    assert.equal(machine.x(a2), before + 7n);
  });

  test('a frame that holds another page now', () => {
    const machine = new BareMachine();
    const [first, second] = [DATA, DATA + 0x1000];
    machine.load(first, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    const frame = machine.frameOf(first);
    const call = (at: number) => sum((a) => a.li(a0, at).i('jalr', { rd: ra, rs1: a0 }), machine);
    assert.equal(call(first), 1n);
    machine.memory.discard((first - RAM) / 4096, 1);
    machine.load(second, (a) => a.word(addN(100)).i('jalr', { rs1: ra }));
    assert.equal(machine.frameOf(second), frame, 'the frame that was freed last is used next');
    assert.equal(call(second), 100n);
  });

  test('a frame that holds another page now, of which somebody else has decoded code', () => {
    const machine = new BareMachine();
    const [first, second] = [DATA, DATA + 0x1000];
    machine.load(first, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    const frame = machine.frameOf(first);
    const call = (at: number) => sum((a) => a.li(a0, at).i('jalr', { rd: ra, rs1: a0 }), machine);
    assert.equal(call(first), 1n);
    machine.memory.discard((first - RAM) / 4096, 1);
    machine.load(second, (a) => a.word(addN(100)).i('jalr', { rs1: ra }));
    assert.equal(machine.frameOf(second), frame);
    // As another hart does when it executes from the frame; then this one stores elsewhere in the page.
    const { i32, frameTable } = machine.machineMemory;
    Atomics.or(i32, frameTable + frame * FRAME_WORDS + FRAME_INFO, FRAME_CODE);
    sum((a) => a.li(a0, second).i('sw', { rs1: a0, imm: 512 }), machine);
    assert.equal(call(second), 100n);
  });

  test('fence.i: another hart has stored to the page that is executed', () => {
    const machine: BareMachine = new BareMachine({
      environment: {
        deviceWrite: (_address, _bytes, value) => {
          // What the other hart does: it announces the store to everybody by the frame's generation.
          const { i32, frameTable } = machine.machineMemory;
          const frame = machine.frameOf(CODE);
          i32[frame * 1024 + 0x100 / 4] = Number(value);
          Atomics.add(i32, frameTable + frame * FRAME_WORDS + FRAME_INFO, 1 << FRAME_GENERATION_SHIFT);
          return true;
        },
      },
    });
    machine.load(CODE, (a) => {
      a.li(a2, 0).li(a3, 0).li(a4, 0x1000_0000).li(a1, addN(100)).jump('patched');
      a.nops((0x100 - a.length) / 4);
      a.label('patched').word(addN(1)).to('bne', 'out', { rs1: a3 });
      a.li(a3, 1).i('sw', { rs1: a4, rs2: a1 }).i('fence.i').jump('patched');
      a.label('out').i('wfi');
      assert.equal(a.offset('patched'), 0x100);
    });
    machine.boot();
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 101n);
  });

  test('the page of zeros is no code', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.li(a0, DATA).i('jalr', { rs1: a0 }));
    machine.expectTrap(2, DATA, 0);
    machine.load(DATA, (a) => a.word(addN(1)).i('wfi'));
    machine.execute((a) => a.li(a2, 1).li(a0, DATA).i('jalr', { rs1: a0 }));
    machine.expectNoTrap();
    assert.equal(machine.x(a2), 2n);
  });
});

describe('few decoded pages', () => {
  test('a walk over more pages than can be decoded, again and again', () => {
    const machine = new BareMachine({ decodedBlocks: 4 });
    const pages = 12;
    for (let page = 0; page < pages; page++) {
      const isLast = page === pages - 1;
      machine.load(DATA + page * 4096, (a) => {
        a.word(addN(1 << (page % 8)));
        if (isLast) a.i('jalr', { rs1: ra });
        else a.i('lui', { rd: a1, imm: 4096 }).i('add', { rd: a0, rs1: a0, rs2: a1 }).i('jalr', { rs1: a0 });
      });
    }
    machine.execute((a) => {
      a.li(a2, 0).li(a5, 50).label('again').li(a0, DATA).i('jalr', { rd: ra, rs1: a0 });
      a.i('addi', { rd: a5, rs1: a5, imm: -1 }).to('bne', 'again', { rs1: a5 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt(50 * (255 + 15)));
  });

  test('a page that was decoded, pushed out, written and executed again', () => {
    const machine = new BareMachine({ decodedBlocks: 4 });
    for (let page = 0; page < 8; page++) {
      machine.load(DATA + page * 4096, (a) => a.word(addN(1)).i('jalr', { rs1: ra }));
    }
    machine.execute((a) => {
      a.li(a2, 0).li(a5, 1).label('again').li(a0, DATA).li(a4, 8).label('pages');
      a.li(a1, addN(0)).i('slli', { rd: a3, rs1: a5, imm: 20 }).i('add', { rd: a1, rs1: a1, rs2: a3 });
      a.i('sw', { rs1: a0, rs2: a1 }).i('jalr', { rd: ra, rs1: a0 });
      a.i('lui', { rd: a1, imm: 4096 }).i('add', { rd: a0, rs1: a0, rs2: a1 });
      a.i('addi', { rd: a4, rs1: a4, imm: -1 }).to('bne', 'pages', { rs1: a4 });
      a.i('addi', { rd: a5, rs1: a5, imm: 1 }).li(a3, 21).to('bne', 'again', { rs1: a5, rs2: a3 });
    });
    machine.expectNoTrap();
    assert.equal(machine.x(a2), BigInt((8 * 20 * 21) / 2));
  });
});
