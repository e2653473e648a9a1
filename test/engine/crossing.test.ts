import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, DATA, RWX } from './bare-machine.ts';
import { paged } from './supervisor.ts';

const { a0, a1, a2, a3, t0 } = R;

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
