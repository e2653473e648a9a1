import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TEST_FINISHER, UART, virtioSlot } from '../../src/devices/map.ts';
import { imageInMemory } from '../../src/firmware/image-source.ts';
import { compileEngine, hartEngineBytes, Machine, type MachineOptions } from '../../src/machine/index.ts';
import { createGuest, Guest } from '../../src/memory/guest.ts';
import { HART_REQUEST_CONTROL } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { Assembler, R } from '../engine/assembler.ts';
import { kernelImage } from './kernel-image.ts';

const MIB = 2 ** 20;
const WASM_PAGE = 65536;
const KERNEL_ENTRY = 0x8020_0000;
const ENGINE = await compileEngine();

interface Setup {
  readonly machine: Machine;
  readonly guest: Guest;
  readonly output: () => string;
  /** Runs until the machine stops or waits. */
  readonly settle: () => 'wait' | 'stopped';
}

/** A machine with a program in place of its firmware (M-mode) or behind a kernel header (S-mode). */
function setUp(program: Assembler, mode: 'M' | 'S', more: Partial<MachineOptions> = {}): Setup {
  const pages = (32 * MIB) / WASM_PAGE;
  const wasmMemory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const buffer = wasmMemory.buffer as unknown as SharedArrayBuffer;
  const { slot } = createGuest(MachineMemory.format(buffer), {
    name: 'test',
    memoryBytes: 8 * MIB,
    hartBytes: hartEngineBytes,
  });
  const guest = Guest.attach(MachineMemory.attach(buffer, slot + 1), slot);
  let printed = '';
  const image = imageInMemory('program', mode === 'M' ? program.finish() : kernelImage(program.finish()));
  const machine = new Machine({
    wasmMemory,
    engine: ENGINE,
    guest,
    now: () => performance.now(),
    wallClockNs: () => 0n,
    random: (target) => target.fill(7),
    ...(mode === 'M' ? { firmware: image } : { kernel: image }),
    append: '',
    devices: true,
    disks: [],
    output: (bytes) => {
      printed += Buffer.from(bytes).toString('latin1');
    },
    log: (error) => assert.fail(error),
    ...more,
  });
  const settle = (): 'wait' | 'stopped' => {
    const end = performance.now() + 5000;
    for (;;) {
      const state = machine.run(performance.now() + 5);
      if (state !== 'slice') return state;
      assert.ok(performance.now() < end, 'the guest neither stops nor waits');
    }
  };
  return { machine, guest, output: () => printed, settle };
}

const at = (a: Assembler, register: number, address: number): Assembler =>
  a.i('lui', { rd: register, imm: address | 0 });

/** SBI calls: extension and function numbers of SBI 2.0. */
function hypercall(a: Assembler, extension: number, id: number): Assembler {
  a.i('lui', { rd: R.a7, imm: (extension + 0x800) & ~0xfff }).i('addiw', {
    rd: R.a7,
    rs1: R.a7,
    imm: (extension << 20) >> 20,
  });
  return a.i('addi', { rd: R.a6, imm: id }).i('ecall');
}

test('the test finisher ends the machine with its status', () => {
  for (const [value, exit] of [
    [0x5555, { kind: 'poweroff' }],
    [0x0003_3333, { kind: 'status', status: 3 }],
  ] as const) {
    const a = at(new Assembler(), R.t0, TEST_FINISHER.base);
    a.i('lui', { rd: R.t1, imm: (value + 0x800) & ~0xfff }).i('addi', {
      rd: R.t1,
      rs1: R.t1,
      imm: (value << 20) >> 20,
    });
    a.i('sw', { rs1: R.t0, rs2: R.t1 }).i('jal', { imm: 0 });
    const { machine, settle } = setUp(a, 'M');
    assert.equal(settle(), 'stopped');
    assert.deepEqual(machine.exit, exit);
  }
});

test('hypercalls print and power off', () => {
  const a = new Assembler();
  a.i('auipc', { rd: R.a1 }).i('addi', { rd: R.a0, imm: 0x41 });
  hypercall(a, 0x4442434e, 2);
  a.i('addi', { rd: R.a0 }).i('addi', { rd: R.a1 });
  hypercall(a, 0x53525354, 0);
  const { machine, settle, output } = setUp(a, 'S');
  assert.equal(settle(), 'stopped');
  assert.deepEqual(machine.exit, { kind: 'poweroff' });
  assert.equal(output(), 'A');
  assert.ok(machine.instructions < 100);
});

test('an unknown hypercall is answered and the guest goes on', () => {
  const a = hypercall(new Assembler(), 0x1234, 0);
  a.i('addi', { rd: R.s0, rs1: R.a0 }).i('wfi').i('jal', { imm: -4 });
  const { machine, settle } = setUp(a, 'S');
  assert.equal(settle(), 'wait');
  assert.equal(machine.hart.x(R.s0), -2n, 'NOT_SUPPORTED');
});

test('a guest that waits for nothing waits for ever, one with a timer until then', () => {
  const nothing = setUp(new Assembler().i('wfi').i('jal', { imm: -4 }), 'S');
  assert.equal(nothing.settle(), 'wait');
  assert.equal(nothing.machine.waitMs, Number.POSITIVE_INFINITY);

  // Sstc: the timer is a CSR. In 500,000 ticks of 100 ns.
  const a = new Assembler();
  a.i('csrrs', { rd: R.t0, imm: 0xc01 }).i('lui', { rd: R.t1, imm: 500_000 & ~0xfff });
  a.i('add', { rd: R.t0, rs1: R.t0, rs2: R.t1 }).i('csrrw', { rs1: R.t0, imm: 0x14d });
  a.i('addi', { rd: R.t2, imm: 32 }).i('csrrs', { rs1: R.t2, imm: 0x104 });
  a.i('wfi').i('addi', { rd: R.s0, imm: 1 }).i('csrrc', { rs1: R.t2, imm: 0x104 }).i('wfi').i('jal', { imm: -4 });
  const timer = setUp(a, 'S');
  assert.equal(timer.settle(), 'wait');
  const wait = timer.machine.waitMs;
  assert.ok(wait > 20 && wait <= 50, `${wait} ms`);
  assert.equal(timer.machine.hart.x(R.s0), 0n);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, wait + 1);
  assert.equal(timer.settle(), 'wait');
  assert.equal(timer.machine.hart.x(R.s0), 1n);
});

test('input goes to the console, one byte for each that is read', () => {
  const a = at(new Assembler(), R.t0, UART.base);
  a.i('lbu', { rd: R.t1, rs1: R.t0, imm: 5 }).i('andi', { rd: R.t1, rs1: R.t1, imm: 1 });
  a.i('beq', { rs1: R.t1, imm: -8 });
  a.i('lbu', { rd: R.t1, rs1: R.t0 }).i('addi', { rd: R.t1, rs1: R.t1, imm: 1 }).i('sb', { rs1: R.t0, rs2: R.t1 });
  a.i('jal', { imm: -24 });
  const { machine, output } = setUp(a, 'M');
  machine.input(Buffer.from('HAL'));
  for (let i = 0; i < 20 && output().length < 3; i++) machine.run(performance.now() + 5);
  assert.equal(output(), 'IBM');
});

test('a request from outside ends a slice of a guest that never waits', () => {
  const { machine, guest } = setUp(new Assembler().i('jal', { imm: 0 }), 'M');
  guest.request(HART_REQUEST_CONTROL);
  assert.equal(machine.run(performance.now() + 3), 'slice');
  const before = machine.instructions;
  assert.equal(machine.run(performance.now() + 3), 'slice');
  assert.ok(machine.instructions > before);
});

/** Loads from an address and leaves cause and value of the trap in s0 and s1. */
function faultingLoad(address: number): Assembler {
  const a = at(new Assembler(), R.t0, address);
  a.i('auipc', { rd: R.t1 }).i('addi', { rd: R.t1, rs1: R.t1, imm: 20 }).i('csrrw', { rs1: R.t1, imm: 0x305 });
  a.i('lw', { rd: R.t2, rs1: R.t0 }).i('jal', { imm: 0 });
  return a.i('csrrs', { rd: R.s0, imm: 0x342 }).i('csrrs', { rd: R.s1, imm: 0x343 }).i('wfi').i('jal', { imm: -4 });
}

test('an address without a device is an access fault', () => {
  const { machine, settle } = setUp(faultingLoad(0x3000_0000), 'M');
  assert.equal(settle(), 'wait');
  assert.deepEqual([machine.hart.x(R.s0), machine.hart.x(R.s1)], [5n, 0x3000_0000n]);
});

test('virtio slots say what is in them, and none is there without devices', () => {
  const a = at(new Assembler(), R.t0, virtioSlot(2).base);
  a.i('lw', { rd: R.s0, rs1: R.t0 }).i('lw', { rd: R.s1, rs1: R.t0, imm: 8 }).i('wfi').i('jal', { imm: -4 });
  const { machine, settle } = setUp(a, 'M');
  settle();
  assert.deepEqual([machine.hart.x(R.s0), machine.hart.x(R.s1)], [0x7472_6976n, 5n]);

  const { base } = virtioSlot(2);
  const bare = setUp(faultingLoad(base), 'M', { devices: false });
  assert.equal(bare.settle(), 'wait');
  assert.deepEqual([bare.machine.hart.x(R.s0), bare.machine.hart.x(R.s1)], [5n, BigInt(base)]);
});

test('memory can be read from outside', () => {
  const a = new Assembler().i('wfi').i('jal', { imm: -4 });
  const { machine } = setUp(a, 'S');
  const bytes = new Uint8Array(a.length);
  machine.read(KERNEL_ENTRY + 64, bytes);
  assert.deepEqual(bytes, a.finish());
  assert.throws(() => machine.read(0x7fff_ffff, bytes), /test/);
});
