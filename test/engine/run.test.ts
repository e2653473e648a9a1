import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CHUNK, EXIT, LONGEST_CHUNK, POLL_TICKS } from '../../src/engine/state.ts';
import { HART_REQUEST_BYTE, HART_REQUEST_CONTROL } from '../../src/memory/layout.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA } from './bare-machine.ts';

const { a0, a1, a2, a3, t0 } = R;
const FOREVER = Number.MAX_SAFE_INTEGER;

/** A machine that counts in a0, for ever. */
function counting(options: ConstructorParameters<typeof BareMachine>[0] = {}): BareMachine {
  const machine = new BareMachine(options);
  machine.load(CODE, (a) => a.li(a0, 0).label('loop').i('addi', { rd: a0, rs1: a0, imm: 1 }).jump('loop'));
  machine.boot();
  return machine;
}

describe('why a run ends', () => {
  test('the budget is used up, and the next run goes on where it was', () => {
    const machine = counting();
    assert.equal(machine.hart.run(2 * CHUNK, FOREVER), EXIT.budget);
    const first = Number(machine.x(a0));
    assert.ok(first > CHUNK / 2 && first < 2 * CHUNK);
    assert.equal(machine.hart.run(2 * CHUNK, FOREVER), EXIT.budget);
    assert.ok(Number(machine.x(a0)) > first + CHUNK / 2);
  });

  test('the deadline has come', () => {
    const machine = counting();
    machine.time = 7;
    assert.equal(machine.hart.run(10 * CHUNK, 7), EXIT.deadline);
    assert.equal(machine.hart.run(3 * CHUNK, 8), EXIT.budget);
  });

  test('somebody asks for attention', () => {
    const machine = counting();
    machine.guest.request(HART_REQUEST_CONTROL);
    assert.equal(machine.hart.run(100 * CHUNK, FOREVER), EXIT.request);
    assert.ok(machine.hart.retired <= CHUNK + 4);
    assert.equal(machine.control.takeRequests(), HART_REQUEST_CONTROL);
    assert.equal(machine.hart.run(CHUNK, FOREVER), EXIT.budget);
    assert.equal(HART_REQUEST_BYTE, 0);
  });

  describe('polls come', () => {
    /** A machine whose clock goes on by a number of ticks at each look. */
    const ticking = (ticks: () => number, harts = 1): BareMachine => {
      let time = 0;
      const now = (): number => {
        time += ticks();
        return time;
      };
      return counting({ harts, environment: { now } });
    };
    /** Polls for so many instructions. */
    const pollsOf = (machine: BareMachine, instructions: number): number => {
      const { retired } = machine.hart;
      const before = machine.hart.field('polls');
      machine.run(EXIT.budget, instructions);
      const executed = machine.hart.retired - retired;
      assert.ok(executed >= instructions && executed < instructions + LONGEST_CHUNK, `${executed} instructions`);
      return Number(machine.hart.field('polls') - before);
    };
    const polls = (instructions: number, ticks: number, harts = 1): number =>
      pollsOf(
        ticking(() => ticks, harts),
        instructions,
      );

    test('behind the more instructions the faster they are executed, up to a limit', () => {
      assert.equal(polls(100 * CHUNK, POLL_TICKS.least), 100);
      // 1, 2, 4 and 8 times as many, then 16 times.
      const fewer = polls(100 * CHUNK, POLL_TICKS.least - 1);
      assert.ok(fewer >= 10 && fewer <= 12, `${fewer} polls`);
    });

    test('as often as before when the clock stands still', () => assert.equal(polls(50 * CHUNK, 0), 50));

    test('as often as before where other harts wait for what they ask for', () =>
      assert.equal(polls(50 * CHUNK, 1, 2), 50));

    test('sooner again when it takes longer', () => {
      let ticks = 1;
      const machine = ticking(() => ticks);
      machine.run(EXIT.budget, 100 * CHUNK);
      ticks = POLL_TICKS.most + 1;
      machine.run(EXIT.budget, 100 * CHUNK);
      assert.equal(pollsOf(machine, 50 * CHUNK), 50);
    });
  });

  test('wfi; the program counter stands behind it', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.nops(1));
    assert.equal(machine.hart.pc, BigInt(CODE + 8));
  });

  test('a request made by a device access is seen at the next instruction', () => {
    const machine: BareMachine = new BareMachine({
      environment: {
        deviceWrite: () => {
          machine.guest.request(HART_REQUEST_CONTROL);
          return true;
        },
      },
    });
    machine.load(CODE, (a) => a.li(a0, 0).li(a1, 0x1000_0000).i('sw', { rs1: a1 }).li(a0, 1).i('wfi'));
    machine.boot();
    assert.equal(machine.hart.run(CHUNK, FOREVER), EXIT.request);
    assert.equal(machine.x(a0), 0n);
    machine.control.takeRequests();
    machine.run();
    assert.equal(machine.x(a0), 1n);
  });

  test('an error of the memory manager or a device comes out of run', () => {
    const machine = new BareMachine({
      environment: {
        deviceRead: () => {
          throw new Error('device broke');
        },
      },
    });
    machine.load(CODE, (a) => a.li(a1, 0x1000_0000).i('lw', { rd: a0, rs1: a1 }));
    machine.boot();
    assert.throws(() => machine.hart.run(CHUNK, FOREVER), /device broke/);
  });
});

describe('devices', () => {
  test('get address, width and the low bytes of the value; reads are extended as the load says', () => {
    const accesses: string[] = [];
    const machine = new BareMachine({
      environment: {
        deviceRead: (address, bytes) => {
          accesses.push(`r${bytes} ${address.toString(16)}`);
          return BigInt.asUintN(bytes * 8, 0xfedc_ba98_8776_85f4n);
        },
        deviceWrite: (address, bytes, value) => {
          accesses.push(`w${bytes} ${address.toString(16)} ${value.toString(16)}`);
          return true;
        },
      },
    });
    const seen: bigint[] = [];
    for (const name of ['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld']) {
      machine.execute((a) => a.li(a0, 0x1000_0000).i(name, { rd: a1, rs1: a0, imm: 8 }));
      seen.push(machine.x(a1));
    }
    assert.deepEqual(seen, [
      0xffff_ffff_ffff_fff4n,
      0xf4n,
      0xffff_ffff_ffff_85f4n,
      0x85f4n,
      0xffff_ffff_8776_85f4n,
      0x8776_85f4n,
      0xfedc_ba98_8776_85f4n,
    ]);
    for (const name of ['sb', 'sh', 'sw', 'sd']) {
      machine.execute((a) => a.li(a0, 0x1000_0000).li(a1, 0x1122334455667788n).i(name, { rs2: a1, rs1: a0 }));
    }
    assert.deepEqual(accesses.slice(0, 2), ['r1 10000008', 'r1 10000008']);
    assert.deepEqual(accesses.slice(7), [
      'w1 10000000 88',
      'w2 10000000 7788',
      'w4 10000000 55667788',
      'w8 10000000 1122334455667788',
    ]);
  });

  test('where none answers, loads and stores are access faults, and so are fetches', () => {
    const none = (write: (a: Assembler) => void): BareMachine => new BareMachine().execute(write);
    none((a) => a.li(a0, 0x1000_0000).i('lw', { rd: a1, rs1: a0, imm: 4 })).expectTrap(5, CODE + 8, 0x1000_0004);
    none((a) => a.li(a0, 0x1000_0000).i('sw', { rs1: a0, imm: 4 })).expectTrap(7, CODE + 8, 0x1000_0004);
    none((a) => a.li(a0, 0x1000_0000).i('jalr', { rs1: a0 })).expectTrap(1, 0x1000_0000, 0x1000_0000);
    none((a) => a.li(a0, 1n << 56n).i('lw', { rd: a1, rs1: a0 }));
  });

  test('behind the end of RAM there is no RAM', () => {
    const machine = new BareMachine({ pages: 64 });
    machine.execute((a) =>
      a
        .li(a0, 0x8000_0000 + 64 * 4096 - 4)
        .i('lw', { rd: a1, rs1: a0 })
        .i('lw', { rd: a1, rs1: a0, imm: 4 }),
    );
    assert.deepEqual(
      [machine.hart.field('mcause'), machine.hart.field('mtval')],
      [5n, BigInt(0x8000_0000 + 64 * 4096)],
    );
  });

  test('a load that faults leaves its register as it was', () => {
    const machine = new BareMachine().execute((a) => a.li(a1, 7).li(a0, 0x1000_0000).i('ld', { rd: a1, rs1: a0 }));
    assert.equal(machine.x(a1), 7n);
  });
});

describe('counters', () => {
  test('instret counts every instruction, across chunks and runs', () => {
    const machine = new BareMachine();
    machine.load(CODE, (a) =>
      a
        .csr('csrrs', a1, 'instret')
        .li(t0, 30_000)
        .label('loop')
        .i('addi', { rd: t0, rs1: t0, imm: -1 })
        .to('bne', 'loop', { rs1: t0 })
        .csr('csrrs', a2, 'instret')
        .csr('csrrs', a3, 'instret')
        .i('wfi'),
    );
    machine.boot();
    machine.run(EXIT.budget, CHUNK);
    machine.run();
    // csrrs, two for the constant, the loop.
    assert.equal(machine.x(a2) - machine.x(a1), 3n + 2n * 30_000n);
    assert.equal(machine.x(a3) - machine.x(a2), 1n);
  });

  test('minstret and mcycle: what is written is what the next instruction reads', () => {
    for (const name of ['minstret', 'mcycle']) {
      const machine = new BareMachine().execute((a) =>
        a.li(a0, 1000).csr('csrrw', 0, name, a0).csr('csrrs', a1, name).csr('csrrs', a2, name),
      );
      assert.deepEqual([machine.x(a1), machine.x(a2)], [1000n, 1001n], name);
    }
  });

  test('mcountinhibit stops them', () => {
    const machine = new BareMachine().execute((a) =>
      a
        .setCsr('mcountinhibit', 5)
        .csr('csrrs', a0, 'minstret')
        .csr('csrrs', a1, 'mcycle')
        .nops(10)
        .csr('csrrs', a2, 'minstret')
        .csr('csrrs', a3, 'mcycle'),
    );
    assert.deepEqual([machine.x(a2), machine.x(a3)], [machine.x(a0), machine.x(a1)]);
  });

  test('time is the platform timer; counters are open below M-mode as mcounteren and scounteren say', () => {
    const read = (privilege: 0 | 1, csrs: Record<string, number>): boolean => {
      const machine = new BareMachine();
      machine.time = 123456;
      machine.execute((a) => a.csr('csrrs', a0, 'time').i('ecall'), { privilege, csrs });
      if (machine.hart.field('mcause') === 2n) return false;
      assert.equal(machine.x(a0), 123456n);
      return true;
    };
    assert.equal(read(1, { mcounteren: 2 }), true);
    assert.equal(read(1, { mcounteren: 5 }), false);
    assert.equal(read(0, { mcounteren: 2, scounteren: 2 }), true);
    assert.equal(read(0, { mcounteren: 2, scounteren: 0 }), false);
    assert.equal(read(0, { mcounteren: 0, scounteren: 2 }), false);
  });
});

describe('control and status registers keep what they may hold only', () => {
  /** Value written, value read back, from M-mode of a fresh hart. */
  const cases: [csr: string, written: bigint, read: bigint][] = [
    ['mstatus', 2n << 11n, 0xa00000000n],
    ['mstatus', -1n, 0x8000000a007e79aan | (3n << 11n)],
    ['sstatus', -1n, 0x80000002000c6122n],
    ['mtvec', 0x80001002n, 0x80001000n],
    ['mtvec', 0x80002001n, 0x80002001n],
    ['stvec', 0x80002003n, 0n],
    ['mepc', 0x80000003n, 0x80000002n],
    ['sepc', -1n, (1n << 64n) - 2n],
    ['medeleg', -1n, 0xb3ffn],
    ['mideleg', -1n, 0x222n],
    ['mie', -1n, 0xaaan],
    ['mcounteren', -1n, 0xffffffffn],
    ['scounteren', -1n, 0xffffffffn],
    ['menvcfg', -1n, (1n << 61n) | 1n],
    ['senvcfg', -1n, 1n],
    ['satp', (8n << 60n) | 5n, (8n << 60n) | 5n],
    ['satp', (5n << 60n) | 5n, 0n],
    ['misa', 0n, 0x800000000014112dn],
    ['mscratch', 0x123456789abcdef0n, 0x123456789abcdef0n],
    ['fcsr', -1n, 0xffn],
    ['frm', -1n, 7n],
    ['fflags', -1n, 0x1fn],
    ['mhpmcounter3', -1n, 0n],
    ['mhpmevent31', -1n, 0n],
    ['tselect', -1n, 0n],
    ['mcountinhibit', -1n, 5n],
  ];
  for (const [name, written, expected] of cases) {
    test(`${name} after ${BigInt.asUintN(64, written).toString(16)}`, () => {
      const machine = new BareMachine();
      const needsFloat = /^f/.test(name);
      machine.load(CODE, (a) => {
        if (needsFloat) a.li(t0, 1 << 13).csr('csrrs', 0, 'mstatus', t0);
        a.setCsr(name, written).csr('csrrs', a0, name).i('wfi');
      });
      machine.boot();
      machine.run();
      machine.expectNoTrap();
      assert.equal(machine.x(a0).toString(16), expected.toString(16));
      if (needsFloat) assert.equal((machine.hart.field('mstatus') >> 13n) & 3n, 3n, 'FS is dirty');
    });
  }

  test('csrrs and csrrc change single bits, csrrw swaps, immediates have 5 bits', () => {
    const machine = new BareMachine().execute((a) =>
      a
        .setCsr('mscratch', 0b1100)
        .csr('csrrsi', a0, 'mscratch', 0b11)
        .csr('csrrci', a1, 'mscratch', 0b101)
        .li(t0, 0b10)
        .csr('csrrc', a2, 'mscratch', t0)
        .csr('csrrw', t0, 'mscratch', t0)
        .csr('csrrs', a3, 'mscratch'),
    );
    assert.deepEqual(
      [a0, a1, a2, t0, a3].map((r) => machine.x(r)),
      [0b1100n, 0b1111n, 0b1010n, 0b1000n, 0b10n],
    );
  });

  test('the frame of a data page is written by the program alone', () => {
    const machine = new BareMachine().execute((a) => a.li(a0, DATA).li(a1, 3).i('sd', { rs1: a0, rs2: a1 }));
    assert.equal(machine.memory.readU64(DATA), 3n);
    assert.equal(machine.memory.readU64(DATA + 8), 0n);
  });
});
