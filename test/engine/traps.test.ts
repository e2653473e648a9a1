import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INTERRUPT } from '../../src/isa/fields.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, HANDLER_BYTES, RAM, type Start, TRAP, trapHandler } from './bare-machine.ts';

const { a0, a1, a2, t0 } = R;
const { SSI, MSI, STI, MTI, SEI, MEI } = INTERRUPT;
const INTERRUPT_BIT = 1n << 63n;
const [SIE, MIE, SPIE, MPIE, SPP] = [1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8];
/** Where tests put a supervisor's trap handler. */
const S_TRAP = RAM + 0x7000;
const S_INTERRUPTS = (1 << SSI) | (1 << STI) | (1 << SEI);

/** A machine whose supervisor's handler is a WFI. */
function machineWithHandler(): BareMachine {
  const machine = new BareMachine();
  machine.load(S_TRAP, trapHandler('sie'));
  return machine;
}

const isInSupervisorHandler = (machine: BareMachine): boolean => machine.hart.pc === BigInt(S_TRAP + HANDLER_BYTES);

describe('exceptions', () => {
  const illegal: [name: string, privilege: 0 | 1 | 3, write: (a: Assembler) => void][] = [
    ['zeros', 3, (a) => a.word(0)],
    ['an undefined word', 3, (a) => a.word(0xffffffff)],
    ['mret in S-mode', 1, (a) => a.i('mret')],
    ['sret in U-mode', 0, (a) => a.i('sret')],
    ['wfi in U-mode', 0, (a) => a.i('wfi')],
    ['a CSR that is not there', 3, (a) => a.i('csrrs', { rd: a0, imm: 0x7c0 })],
    ['an M-mode CSR in S-mode', 1, (a) => a.csr('csrrs', a0, 'mstatus')],
    ['an S-mode CSR in U-mode', 0, (a) => a.csr('csrrs', a0, 'sstatus')],
    ['a write to a read-only CSR', 3, (a) => a.csr('csrrw', 0, 'mhartid', a0)],
    ['a set of a read-only CSR', 3, (a) => a.csr('csrrs', 0, 'cycle', a0)],
    ['time without mcounteren', 1, (a) => a.csr('csrrs', a0, 'time')],
    ['floating point while FS is off', 3, (a) => a.i('fadd.d', { rd: 1, rs1: 2, rs2: 3 })],
    ['fcsr while FS is off', 3, (a) => a.csr('csrrs', a0, 'fcsr')],
  ];
  for (const [name, privilege, write] of illegal) {
    test(`illegal: ${name}`, () => {
      const machine = new BareMachine();
      machine.load(CODE, (a) => {
        write(a);
        a.i('wfi');
      });
      machine.boot({ privilege });
      machine.run();
      const bits = machine.memory.readU32(CODE);
      machine.expectTrap(2, CODE, (bits & 3) === 3 ? bits : bits & 0xffff);
    });
  }

  test('the read of a read-only CSR by csrrs and csrrc with x0 is legal', () => {
    new BareMachine()
      .execute((a) => a.csr('csrrs', a0, 'cycle').csr('csrrc', a0, 'mhartid').csr('csrrsi', a0, 'mvendorid'))
      .expectNoTrap();
  });

  test('ecall by mode, ebreak', () => {
    for (const [privilege, cause] of [
      [0, 8],
      [1, 9],
      [3, 11],
    ] as const) {
      new BareMachine().execute((a) => a.i('ecall'), { privilege }).expectTrap(cause, CODE);
    }
    new BareMachine().execute((a) => a.c('c.ebreak')).expectTrap(3, CODE, CODE);
  });

  test('what medeleg delegates goes to S-mode, but never from M-mode', () => {
    const csrs = { medeleg: -1, stvec: S_TRAP, mstatus: SIE };
    const machine = machineWithHandler().execute((a) => a.nops(1).i('ecall'), { privilege: 0, csrs });
    assert.ok(isInSupervisorHandler(machine));
    assert.equal(machine.hart.privilege, 1);
    assert.deepEqual([machine.hart.field('scause'), machine.hart.field('sepc')], [8n, BigInt(CODE + 4)]);
    assert.equal(machine.hart.field('mstatus') & BigInt(SIE | SPIE | SPP), BigInt(SPIE));
    machineWithHandler()
      .execute((a) => a.word(0), { csrs })
      .expectTrap(2, CODE);
  });

  test('a trap and its return keep privilege and interrupt enables', () => {
    const machine = new BareMachine();
    machine.execute((a) => a.i('ecall'), { privilege: 1, csrs: { mstatus: MIE | SIE } });
    // mret of boot has moved MPIE (0) to MIE; the trap has moved that to MPIE.
    assert.equal(machine.hart.field('mstatus') & BigInt(MIE | MPIE | (3 << 11)), BigInt(1 << 11));
    assert.equal(machine.hart.privilege, 3);
    machine.execute((a) =>
      a
        .setCsr('sepc', CODE + 60)
        .li(t0, SPIE | SPP)
        .csr('csrrs', 0, 'mstatus', t0)
        .li(t0, SIE)
        .csr('csrrc', 0, 'mstatus', t0)
        .i('sret')
        .nops(20),
    );
    assert.equal(machine.hart.privilege, 1);
    assert.equal(machine.hart.field('mstatus') & BigInt(SIE | SPIE | SPP), BigInt(SIE | SPIE));
  });

  test('TSR makes sret illegal in S-mode, TW wfi', () => {
    for (const [name, bit] of [
      ['sret', 22],
      ['wfi', 21],
    ] as const) {
      const machine = new BareMachine();
      machine.execute((a) => a.i(name), { privilege: 1, csrs: { mstatus: 1 << bit } });
      assert.deepEqual([machine.hart.field('mcause'), machine.hart.field('mepc')], [2n, BigInt(CODE)], name);
    }
  });

  test('hypercalls end the run in front of the ecall', () => {
    const machine = new BareMachine();
    machine.load(CODE, (a) => a.li(a0, 5).i('ecall').li(a0, 6).i('wfi'));
    machine.hart.resetSupervisorMode(BigInt(CODE));
    machine.run(3);
    assert.deepEqual([machine.hart.pc, machine.x(a0)], [BigInt(CODE + 4), 5n]);
    machine.hart.pc += 4n;
    machine.run();
    assert.equal(machine.x(a0), 6n);
  });
});

describe('interrupts', () => {
  /** Runs a program of nops with lines and enables; tells where the interrupt went. */
  function taken(
    lines: number[],
    { csrs = {}, ...start }: Start,
  ): { cause: bigint; mode: number; machine: BareMachine } {
    const machine = machineWithHandler();
    for (const line of lines) machine.hart.setPending(line, true);
    machine.load(CODE, (a) => a.nops(4).label('end').jump('end'));
    machine.boot({ ...start, csrs: { mie: -1, stvec: S_TRAP, ...csrs } });
    const reason = machine.hart.run(20_000, Number.MAX_SAFE_INTEGER);
    const { hart } = machine;
    if (reason !== 2 && hart.pc >= BigInt(CODE) && hart.pc < BigInt(CODE + 64)) return { cause: 0n, mode: -1, machine };
    if (isInSupervisorHandler(machine)) return { cause: hart.field('scause'), mode: 1, machine };
    assert.equal(hart.pc, BigInt(TRAP + HANDLER_BYTES));
    return { cause: hart.field('mcause'), mode: 3, machine };
  }
  const went = (lines: number[], start: Start): [bigint, number] => {
    const { cause, mode } = taken(lines, start);
    return [cause & ~INTERRUPT_BIT, mode];
  };

  test('below M-mode, M-mode interrupts are always taken, with mtval 0', () => {
    const { cause, mode, machine } = taken([MTI], { privilege: 0 });
    assert.deepEqual([cause, mode, machine.hart.field('mepc')], [INTERRUPT_BIT | BigInt(MTI), 3, BigInt(CODE)]);
    assert.equal(machine.hart.field('mtval'), 0n);
  });

  test('in M-mode they wait for MIE, and for mie', () => {
    assert.deepEqual(went([MTI], { privilege: 3 }), [0n, -1]);
    assert.deepEqual(went([MTI], { privilege: 3, csrs: { mstatus: MPIE } }), [BigInt(MTI), 3]);
    assert.deepEqual(went([MTI], { privilege: 3, csrs: { mstatus: MPIE, mie: 1 << MSI } }), [0n, -1]);
  });

  test('delegated ones wait for SIE in S-mode, are taken in U-mode, and never in M-mode', () => {
    const csrs = { mideleg: S_INTERRUPTS };
    assert.deepEqual(went([SEI], { privilege: 1, csrs }), [0n, -1]);
    assert.deepEqual(went([SEI], { privilege: 1, csrs: { ...csrs, mstatus: SIE } }), [BigInt(SEI), 1]);
    assert.deepEqual(went([SEI], { privilege: 0, csrs }), [BigInt(SEI), 1]);
    assert.deepEqual(went([SEI], { privilege: 3, csrs: { ...csrs, mstatus: MPIE } }), [0n, -1]);
  });

  test('the order is MEI, MSI, MTI, SEI, SSI, STI; those of M-mode come first', () => {
    const order = [MEI, MSI, MTI, SEI, SSI, STI];
    for (let from = 0; from < order.length; from++) {
      const lines = order.slice(from);
      assert.deepEqual(went(lines, { privilege: 1 }), [BigInt(order[from]!), 3]);
      assert.deepEqual(went(lines.toReversed(), { privilege: 0, csrs: { mideleg: S_INTERRUPTS } }), [
        BigInt(order[from]!),
        from < 3 ? 3 : 1,
      ]);
    }
  });

  test('vectored: interrupts go to their own entry, exceptions to the base', () => {
    const machine = new BareMachine();
    machine.hart.setPending(MTI, true);
    machine.load(DATA, (a) => a.nops(MTI).csr('csrrw', 0, 'mie').i('wfi'));
    machine.load(CODE, (a) => a.nops(1));
    machine.boot({ privilege: 1, csrs: { mie: 1 << MTI, mtvec: DATA + 1 } });
    machine.run();
    assert.equal(machine.hart.pc, BigInt(DATA + MTI * 4 + 8));
    machine.hart.setPending(MTI, false);
    machine.load(DATA, (a) => a.i('wfi'));
    machine.boot({ privilege: 1, csrs: { mtvec: DATA + 1 } });
    machine.load(CODE, (a) => a.i('ecall'));
    machine.run();
    assert.equal(machine.hart.pc, BigInt(DATA + 4));
  });

  test('one that is enabled by a CSR write is taken before the next instruction', () => {
    for (const enable of [
      (a: Assembler) => a.csr('csrrsi', 0, 'mstatus', MIE),
      (a: Assembler) => a.setCsr('mie', 1 << MSI).nops(0),
    ]) {
      const machine = new BareMachine();
      machine.hart.setPending(MSI, true);
      let at = 0;
      machine.execute((a) => {
        a.setCsr(enable.toString().includes("'mie'") ? 'mstatus' : 'mie', 1 << 3);
        enable(a);
        at = a.length;
        a.li(a0, 1);
      });
      assert.deepEqual([machine.hart.field('mepc'), machine.x(a0)], [BigInt(CODE + at), 0n]);
    }
  });

  test('software sets SSIP, and STIP from M-mode; sip shows what is delegated', () => {
    const machine = new BareMachine();
    machine.execute((a) =>
      a
        .setCsr('mideleg', S_INTERRUPTS)
        .setCsr('mip', -1)
        .csr('csrrs', a0, 'mip')
        .csr('csrrs', a1, 'sip')
        .setCsr('sip', 0)
        .csr('csrrs', a2, 'sip'),
    );
    const all = BigInt(S_INTERRUPTS);
    assert.deepEqual([machine.x(a0), machine.x(a1), machine.x(a2)], [all, all, all & ~BigInt(1 << SSI)]);
  });

  test('csrrs on mip does not make software interrupts of lines', () => {
    const machine = new BareMachine();
    machine.hart.setPending(SEI, true);
    machine.execute((a) => a.csr('csrrsi', a0, 'mip', 1 << SSI));
    machine.hart.setPending(SEI, false);
    machine.execute((a) => a.csr('csrrs', a1, 'mip'));
    assert.deepEqual([machine.x(a0), machine.x(a1)], [BigInt(1 << SEI), BigInt(1 << SSI)]);
  });

  test('wfi goes on when an enabled interrupt waits, whatever mstatus says', () => {
    const machine = new BareMachine();
    machine.hart.setPending(MTI, true);
    machine.load(CODE, (a) => a.i('wfi').li(a0, 1).setCsr('mie', 0).i('wfi'));
    machine.boot({ csrs: { mie: 1 << MTI } });
    machine.hart.setX(a0, 0n);
    machine.run();
    machine.expectNoTrap();
    assert.equal(machine.x(a0), 1n);
  });
});

describe('Sstc', () => {
  /** S-mode with an Sstc timer, as the paravirtualized start has it. */
  function supervised(write: (a: Assembler) => void): BareMachine {
    const machine = machineWithHandler();
    machine.load(CODE, (a) => {
      write(a);
      a.i('wfi');
    });
    machine.hart.resetSupervisorMode(BigInt(CODE));
    return machine;
  }

  test('stimecmp in the past interrupts at once, in the future when its time has come', () => {
    const machine = supervised((a) =>
      a
        .setCsr('stvec', S_TRAP)
        .setCsr('sie', 1 << STI)
        .csr('csrrsi', 0, 'sstatus', SIE)
        .setCsr('stimecmp', 1000),
    );
    machine.time = 999;
    machine.run();
    assert.ok(!isInSupervisorHandler(machine));
    assert.equal(machine.hart.timer, 1000);
    assert.equal(machine.hart.hasPendingInterrupt, false);
    machine.time = 1000;
    machine.hart.updateTimer();
    assert.ok(machine.hart.hasPendingInterrupt);
    machine.run();
    assert.ok(isInSupervisorHandler(machine));
    assert.equal(machine.hart.field('scause'), INTERRUPT_BIT | BigInt(STI));
  });

  test('a later stimecmp takes the interrupt back', () => {
    const machine = supervised((a) =>
      a.setCsr('stimecmp', 5).csr('csrrs', a0, 'sip').setCsr('stimecmp', -1).csr('csrrs', a1, 'sip'),
    );
    machine.time = 10;
    machine.run();
    assert.deepEqual([machine.x(a0), machine.x(a1)], [BigInt(1 << STI), 0n]);
  });

  test('the timer interrupts a program that goes on', () => {
    const machine: BareMachine = supervised((a) =>
      a
        .setCsr('stvec', S_TRAP)
        .setCsr('sie', 1 << STI)
        .csr('csrrsi', 0, 'sstatus', SIE)
        .setCsr('stimecmp', 1000)
        .label('end')
        .jump('end'),
    );
    machine.run(1, 40_000);
    machine.time = 2000;
    machine.run();
    assert.ok(isInSupervisorHandler(machine));
  });

  test('without Sstc there is no stimecmp; with it, S-mode has it only by menvcfg and mcounteren', () => {
    new BareMachine().execute((a) => a.csr('csrrs', a0, 'stimecmp')).expectTrap(2, CODE, 0x14d02573);
    const machine = supervised((a) => a.csr('csrrs', a0, 'stimecmp'));
    machine.run();
    assert.equal(machine.x(a0), (1n << 64n) - 1n);
  });
});
