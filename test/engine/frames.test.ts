import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { allocateFrame, copyFrame, releaseFrame } from '../../src/memory/frames.ts';
import { NPT_ACCESSED, NPT_KIND_LEAVING, NPT_MERGED, NPT_WRITABLE } from '../../src/memory/layout.ts';
import { GUEST_LEFT_OVER } from '../../src/memory/layout-guest.ts';
import { absentEntry, loadEntry, payloadOf, presentEntry, replaceEntry } from '../../src/memory/npt.ts';
import { awaitShootdown, requestShootdown } from '../../src/memory/shootdown.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, RAM, RWX } from './bare-machine.ts';
import { addN } from './patching.ts';
import { load, paged } from './supervisor.ts';

const { ra, a0, a1, a2, a3, t0, t1 } = R;
const HERE = 0x1000;
const THERE = 0x2000;
const SPARE = DATA + 0x3000;
const gfn = (address: number): number => (address - RAM) / 4096;

/** Gives a page another frame, as swapping out and in does; the old one is of another page then, if it is to be used. */
function move(machine: BareMachine, address: number, isUsed = true): void {
  const before = machine.frameOf(address);
  const contents = new Uint8Array(4096);
  machine.memory.read(address, contents);
  machine.memory.writeU64(SPARE, 1n);
  // The frame that was freed last is used next.
  machine.memory.discard(gfn(address), 1);
  machine.memory.discard(gfn(SPARE), 1);
  machine.memory.write(address, contents);
  assert.notEqual(machine.frameOf(address), before);
  if (!isUsed) return;
  // What still leads to the frame finds something else.
  machine.memory.write(SPARE, new Uint8Array(4096).fill(0xa5));
  assert.equal(machine.frameOf(SPARE), before);
}

/** The same as the memory manager does it while the hart sleeps; the old frame is not free yet. */
function moveAsleep({ control, guest, machineMemory }: BareMachine, address: number): void {
  control.park();
  const before = payloadOf(loadEntry(guest, gfn(address)));
  const after = allocateFrame(machineMemory);
  copyFrame(machineMemory, before, after);
  replaceEntry(guest, gfn(address), presentEntry(after, NPT_WRITABLE | NPT_ACCESSED));
  const numbers = new Int32Array(1);
  requestShootdown(guest, numbers);
  awaitShootdown(guest, numbers);
  control.unpark();
}

/** Has a page that was leaving read back from swap, to the frame that it had: a new use of it. */
function comeBack({ guest, machineMemory }: BareMachine, page: number): void {
  const frame = payloadOf(loadEntry(guest, page));
  const contents = machineMemory.page(frame).slice();
  releaseFrame(machineMemory, frame);
  assert.equal(allocateFrame(machineMemory), frame);
  machineMemory.page(frame).set(contents);
  replaceEntry(guest, page, presentEntry(frame, NPT_WRITABLE));
}

/** Goes on with other code in S-mode, with all that is cached. */
function goOn(machine: BareMachine, write: (a: Assembler) => void, at = CODE + 0x800): void {
  machine.load(at, (a) => {
    write(a);
    a.i('wfi');
  });
  machine.hart.pc = BigInt(at);
  machine.run();
  machine.expectNoTrap();
}

describe('frames that are taken away', () => {
  const read = (a: Assembler): unknown => a.li(a0, HERE).i(...load(a1));

  test('a page of data, and the tables that lead to it', () => {
    const { machine, tables } = paged();
    const entry = tables.map(HERE, DATA, RWX);
    machine.memory.writeU64(DATA, 77n);
    machine.execute(read, { privilege: 1, csrs: { satp: tables.satp } });
    assert.equal(machine.x(a1), 77n);
    for (const moved of [DATA, entry - (entry % 4096), tables.root]) {
      move(machine, moved);
      goOn(machine, (a) => a.li(a1, 0));
      goOn(machine, read);
      assert.equal(machine.x(a1), 77n);
    }
  });

  test('what was written, and what others read of it', () => {
    const { machine, tables } = paged();
    tables.map(HERE, DATA, RWX);
    tables.map(THERE, DATA, RWX);
    const write = (value: number) => (a: Assembler) => a.li(a0, HERE).li(t0, value).i('sd', { rs1: a0, rs2: t0 });
    machine.execute(write(1), { privilege: 1, csrs: { satp: tables.satp } });
    move(machine, DATA);
    goOn(machine, write(2));
    goOn(machine, (a) => a.li(a0, THERE).i(...load(a1)));
    assert.equal(machine.x(a1), 2n);
    assert.equal(machine.memory.readU64(DATA), 2n);
  });

  test('what the second level knows holds for the frame that is there now', () => {
    const { machine, tables } = paged();
    tables.map(HERE, DATA, RWX);
    machine.memory.writeU64(DATA, 77n);
    machine.execute(read, { privilege: 1, csrs: { satp: tables.satp } });
    move(machine, DATA);
    const { walks, secondHits } = machine.counters;
    goOn(machine, read);
    // The page was accessed by the device that moved it.
    assert.equal(machine.counters.walks, walks);
    assert.ok(machine.counters.secondHits > secondHits);
  });

  test('a page that is given back while the frame that it had before it was merged is mapped yet', () => {
    const { machine, tables } = paged();
    const { guest, machineMemory } = machine;
    tables.map(HERE, DATA, RWX);
    machine.memory.writeU64(DATA, 77n);
    machine.execute(read, { privilege: 1, csrs: { satp: tables.satp } });
    const before = machine.frameOf(DATA);
    const shared = allocateFrame(machineMemory);
    copyFrame(machineMemory, before, shared);
    replaceEntry(guest, gfn(DATA), presentEntry(shared, NPT_MERGED | NPT_ACCESSED));
    guest.add(GUEST_LEFT_OVER, 1);
    machine.memory.discard(gfn(DATA), 1);
    goOn(machine, read);
    assert.equal(machine.x(a1), 0n);
  });

  /** A loop that calls a function on another page, both translated; what the jump table did not have while it ran. */
  function misses(machine: BareMachine, rounds: number): number {
    const before = machine.counters.jumpTableMisses;
    machine.hart.setX(a3, BigInt(rounds - 1));
    machine.hart.pc = BigInt(CODE);
    machine.run();
    machine.expectNoTrap();
    return machine.counters.jumpTableMisses - before;
  }

  test('a frame of data leaves the jump table as it is, one of code does not', () => {
    const { machine, tables } = paged(3, { threshold: 2 });
    tables.map(HERE, DATA, RWX);
    tables.map(THERE, DATA + 0x1000, RWX);
    const body = (n: number) => (a: Assembler) => a.word(addN(n)).i('jalr', { rs1: ra });
    machine.load(DATA, body(1));
    machine.execute(
      (a) => {
        a.i('addi', { rd: a3, rs1: a3, imm: 1 })
          .li(a0, HERE)
          .li(t1, THERE)
          .label('again')
          .i('sd', { rs1: t1, rs2: a3 })
          .i('jalr', { rd: ra, rs1: a0 });
        a.i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 });
      },
      { privilege: 1, csrs: { satp: tables.satp } },
    );
    machine.hart.setX(a2, 0n);
    misses(machine, 500);
    assert.equal(misses(machine, 10), 0);
    move(machine, DATA + 0x1000);
    assert.equal(misses(machine, 10), 0);
    assert.equal(machine.x(a2), 520n);
    assert.equal(machine.memory.readU64(DATA + 0x1000), 1n);
    move(machine, DATA, false);
    machine.load(DATA, body(16));
    misses(machine, 100);
    assert.equal(machine.x(a2), 520n + 1600n);
  });

  test('code that is moved while a load in it waits', () => {
    let isMoved = false;
    const machine: BareMachine = new BareMachine({
      threshold: 2,
      environment: {
        nestedFault: (page, write) => {
          machine.faults.fault(page, write);
          if (page !== gfn(SPARE) || isMoved) return;
          isMoved = true;
          moveAsleep(machine, CODE);
        },
      },
    });
    const round = (n: number) => (a: Assembler) =>
      a
        .label('again')
        .word(addN(n))
        .i('ld', { rd: t0, rs1: a0 })
        .i('addi', { rd: a3, rs1: a3, imm: -1 })
        .to('bne', 'again', { rs1: a3 });
    const run = (pc: number): bigint => {
      machine.hart.setX(a2, 0n);
      machine.hart.setX(a3, 50n);
      machine.hart.pc = BigInt(pc);
      machine.run();
      machine.expectNoTrap();
      return machine.x(a2);
    };
    machine.memory.writeU64(SPARE, 1n);
    machine.execute((a) => a.li(a0, SPARE));
    machine.load(CODE, (a) => round(1)(a).i('wfi'));
    assert.equal(run(CODE), 50n);
    replaceEntry(machine.guest, gfn(SPARE), absentEntry(NPT_KIND_LEAVING, machine.frameOf(SPARE)));
    machine.control.forgetFrames();
    // From the load on, so that it is not the translation that waits.
    assert.equal(run(CODE + 4), 49n);
    assert.ok(isMoved);
    machine.load(CODE, round(100));
    assert.equal(run(CODE), 5000n);
  });

  test('code that comes back to its frame while a translation of it is looked at', () => {
    const threshold = 30;
    const [first, second] = [DATA, DATA + 0x1000];
    let isLeaving = false;
    const machine: BareMachine = new BareMachine({
      threshold,
      environment: {
        nestedFault: (page, write) => {
          machine.faults.fault(page, write);
          if (!isLeaving) return;
          isLeaving = false;
          assert.equal(page, gfn(first));
          comeBack(machine, gfn(second));
        },
      },
    });
    const run = (rounds: number, calls: boolean): bigint => {
      for (const [register, value] of [
        [a0, first],
        [a1, second],
        [a2, 0],
        [a3, rounds],
        [t0, calls ? 1 : 0],
      ] as const) {
        machine.hart.setX(register, BigInt(value));
      }
      machine.hart.pc = BigInt(CODE);
      machine.run();
      machine.expectNoTrap();
      return machine.x(a2);
    };
    const body = (n: number) => (a: Assembler) => a.word(addN(n)).i('jalr', { rs1: ra });
    for (const address of [first, second]) machine.load(address, body(1));
    machine.execute((a) => a.li(a2, 0));
    machine.load(CODE, (a) => {
      a.label('again').to('beq', 'skip', { rs1: t0 });
      a.i('jalr', { rd: ra, rs1: a0 }).i('jalr', { rd: ra, rs1: a1 });
      a.label('skip').i('addi', { rd: a3, rs1: a3, imm: -1 }).to('bne', 'again', { rs1: a3 }).i('wfi');
    });
    // So that the loop is what gets hot, and not the functions.
    run(threshold - 6, false);
    assert.equal(run(10, true), 20n);
    const { guest } = machine;
    for (const page of [gfn(first), gfn(second)]) {
      replaceEntry(guest, page, absentEntry(NPT_KIND_LEAVING, payloadOf(loadEntry(guest, page))));
    }
    machine.control.forgetFrames();
    isLeaving = true;
    assert.equal(run(10, true), 20n);
    assert.equal(isLeaving, false);
    machine.load(second, body(100));
    assert.equal(run(10, true), 10n + 1000n);
  });
});
