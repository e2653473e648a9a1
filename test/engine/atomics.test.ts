import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, DATA, PageTables, PTE, RAM, RWX } from './bare-machine.ts';

const { a0, a1, a2, a3, a4 } = R;
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const s32 = (value: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(32, value));

/** Runs with a0 = DATA, where `memory` stands. */
function run(memory: bigint, write: (a: Assembler) => void): BareMachine {
  const machine = new BareMachine();
  machine.memory.writeU64(DATA, u64(memory));
  machine.execute((a) => {
    a.li(a0, DATA);
    write(a);
  });
  machine.expectNoTrap();
  return machine;
}

describe('LR and SC', () => {
  const lr = { rd: a1, rs1: a0 };
  const sc = { rd: a3, rs1: a0, rs2: a2 };

  test('a pair stores and gives 0, once', () => {
    const machine = run(5n, (a) =>
      a
        .li(a2, 7)
        .i('lr.d', lr)
        .i('sc.d', sc)
        .i('sc.d', { ...sc, rd: a4 }),
    );
    assert.deepEqual([machine.x(a1), machine.x(a3), machine.x(a4)], [5n, 0n, 1n]);
    assert.equal(machine.memory.readU64(DATA), 7n);
  });

  test('without a reservation, or with one of another word, nothing is stored', () => {
    const none = run(5n, (a) => a.li(a2, 7).i('sc.w', sc));
    assert.deepEqual([none.x(a3), none.memory.readU64(DATA)], [1n, 5n]);
    const other = run(5n, (a) =>
      a
        .li(a2, 7)
        .i('addi', { rd: a4, rs1: a0, imm: 8 })
        .i('lr.w', { ...lr, rs1: a4 })
        .i('sc.w', sc),
    );
    assert.deepEqual([other.x(a3), other.memory.readU64(DATA)], [1n, 5n]);
  });

  test('what another hart has stored in between is not written over', () => {
    const machine: BareMachine = new BareMachine({
      environment: {
        // The other hart is quick: it stores while this one is in a device.
        deviceWrite: () => {
          machine.memory.writeU32(DATA, 99);
          return true;
        },
      },
    });
    machine.memory.writeU32(DATA, 5);
    machine.execute((a) =>
      a.li(a0, DATA).li(a2, 7).li(a4, 0x1000_0000).i('lr.w', lr).i('sw', { rs1: a4 }).i('sc.w', sc),
    );
    machine.expectNoTrap();
    assert.deepEqual([machine.x(a3), machine.memory.readU32(DATA)], [1n, 99]);
  });

  test('LR.W extends the sign', () => {
    assert.equal(run(0x8000_0000n, (a) => a.i('lr.w', lr)).x(a1), 0xffff_ffff_8000_0000n);
  });

  test('LR needs a readable page only, SC a writable one', () => {
    const machine = new BareMachine();
    const tables = new PageTables(machine);
    for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
    tables.map(0x1000, DATA, RWX & ~PTE.W);
    const start = { privilege: 1, csrs: { satp: tables.satp } } as const;
    machine.execute((a) => a.li(a0, 0x1000).i('lr.d', lr), start);
    machine.expectNoTrap();
    machine.execute((a) => a.li(a0, 0x1000).i('lr.d', lr).i('sc.d', sc), start);
    assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [15n, 0x1000n]);
  });

  test('on a device they are access faults', () => {
    for (const [name, cause] of [
      ['lr.w', 5],
      ['amoswap.w', 7],
    ] as const) {
      const machine = new BareMachine({ environment: { deviceRead: () => 0n, deviceWrite: () => true } });
      machine.execute((a) => a.li(a0, 0x1000_0000).i(name, { rd: a1, rs1: a0 }));
      assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mtval')], [BigInt(cause), 0x1000_0000n]);
    }
  });
});

describe('AMO', () => {
  const OPERATIONS: Record<string, (a: bigint, b: bigint) => bigint> = {
    amoswap: (_a, b) => b,
    amoadd: (a, b) => a + b,
    amoxor: (a, b) => a ^ b,
    amoand: (a, b) => a & b,
    amoor: (a, b) => a | b,
    amomin: (a, b) => (a < b ? a : b),
    amomax: (a, b) => (a > b ? a : b),
  };
  const UNSIGNED: typeof OPERATIONS = { amominu: OPERATIONS.amomin!, amomaxu: OPERATIONS.amomax! };
  const VALUES = [0n, 1n, -1n, 0x7fffffffn, -0x80000000n, 0x123456789abcdef0n, -(1n << 63n), (1n << 63n) - 1n];

  for (const [name, operation] of [...Object.entries(OPERATIONS), ...Object.entries(UNSIGNED)]) {
    test(name, () => {
      for (const bits of [32, 64]) {
        const take = (v: bigint): bigint => (name in UNSIGNED ? BigInt.asUintN(bits, v) : BigInt.asIntN(bits, v));
        const instruction = `${name}.${bits === 32 ? 'w' : 'd'}`;
        const pairs = VALUES.flatMap((memory) => VALUES.map((operand) => ({ memory, operand })));
        const machine = new BareMachine();
        for (const [i, { memory }] of pairs.entries()) machine.memory.writeU64(DATA + i * 8, u64(memory));
        // What comes back in rd goes to the next page.
        machine.execute((a) => {
          a.li(a0, DATA).li(a3, DATA + 4096);
          for (const { operand } of pairs) {
            a.li(a2, operand).i(instruction, { rd: a1, rs1: a0, rs2: a2 }).i('sd', { rs1: a3, rs2: a1 });
            a.i('addi', { rd: a0, rs1: a0, imm: 8 }).i('addi', { rd: a3, rs1: a3, imm: 8 });
          }
        });
        machine.expectNoTrap();
        for (const [i, { memory, operand }] of pairs.entries()) {
          const old = bits === 32 ? s32(memory) : u64(memory);
          const result = BigInt.asUintN(bits, operation(take(memory), take(operand)));
          const kept = bits === 32 ? (u64(memory) >> 32n) << 32n : 0n;
          assert.equal(machine.memory.readU64(DATA + 4096 + i * 8), old, `${instruction} rd`);
          assert.equal(machine.memory.readU64(DATA + i * 8), kept | result, `${instruction} ${memory} ${operand}`);
        }
      }
    });
  }

  test('rd, rs1 and rs2 can be one register', () => {
    const machine = run(5n, (a) => a.i('amoadd.d', { rd: a0, rs1: a0, rs2: a0 }));
    assert.deepEqual([machine.x(a0), machine.memory.readU64(DATA)], [5n, 5n + BigInt(DATA)]);
  });
});
