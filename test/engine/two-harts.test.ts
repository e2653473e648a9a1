import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { buildEngine } from '../../src/engine/build.ts';
import { hartAreaBytes } from '../../src/engine/state.ts';
import { MEMORY_CONSTANTS } from '../../src/machine/engine.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import { createGuest, Guest } from '../../src/memory/guest.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { HART_CONTROL_BYTES, PAGE_SIZE } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { HartControl } from '../../src/memory/shootdown.ts';
import { type Assembler, assemble, R } from './assembler.ts';
import { CODE, DATA } from './bare-machine.ts';
import type { TwoHartsOptions } from './two-harts-hart.ts';

const WASM_PAGES = 224;
const DECODED_BLOCKS = 16;
const ROUNDS = 300_000;
const { a0, a1, a2, a3, s0 } = R;

/** Places in the data page, each in a cache line of its own. */
const [RESERVED, ADDED, LOCK, LOCKED, LARGEST, NARROW, STARTED] = [0, 64, 128, 192, 256, 320, 384];

/** Counts each counter up by one in every round: by LR and SC, by AMO, and with a lock. */
function program(a: Assembler): void {
  a.li(a0, DATA).li(s0, ROUNDS).li(a3, 1);
  // Both begin at the same time.
  a.i('addi', { rd: a1, rs1: a0, imm: STARTED }).i('amoadd.d', { rs1: a1, rs2: a3 });
  a.label('waiting').i('ld', { rd: a2, rs1: a1 }).to('beq', 'waiting', { rs1: a2, rs2: a3 });
  a.label('round');
  a.i('addi', { rd: a1, rs1: a0, imm: RESERVED });
  a.label('retry').i('lr.d', { rd: a2, rs1: a1 }).i('addi', { rd: a2, rs1: a2, imm: 1 });
  a.i('sc.d', { rd: a2, rs1: a1, rs2: a2 }).to('bne', 'retry', { rs1: a2 });
  a.i('addi', { rd: a1, rs1: a0, imm: ADDED }).i('amoadd.d', { rs1: a1, rs2: a3 });
  // The upper half of the double word belongs to nobody: a narrow addition must not carry into it.
  a.i('addi', { rd: a1, rs1: a0, imm: NARROW }).i('amoadd.w', { rs1: a1, rs2: a3 });
  a.i('addi', { rd: a1, rs1: a0, imm: LARGEST }).csr('csrrs', a2, 'instret').i('amomaxu.d', { rs1: a1, rs2: a2 });
  a.i('addi', { rd: a1, rs1: a0, imm: LOCK });
  a.label('locked').i('amoswap.w.aq', { rd: a2, rs1: a1, rs2: a3 }).to('bne', 'locked', { rs1: a2 });
  a.i('ld', { rd: a2, rs1: a0, imm: LOCKED }).i('addi', { rd: a2, rs1: a2, imm: 1 });
  a.i('sd', { rs1: a0, rs2: a2, imm: LOCKED }).i('amoswap.w.rl', { rs1: a1 });
  a.i('addi', { rd: s0, rs1: s0, imm: -1 }).to('bne', 'round', { rs1: s0 }).i('wfi');
}

/** Places of each hart in the data page: what it stores, and what it has seen in even and in odd rounds. */
const [STORED, SEEN, OTHER] = [512, 640, 64];
const [ARRIVED, BOTH_MISSED] = [768, 832];
const FENCED_ROUNDS = 5000;

/**
 * In every round each hart stores and then, behind a fence, loads what the other one has stored. At least one of them has
 * to see the other's store; both processors and the code below reorder the two if they may.
 */
function storeThenLoad(a: Assembler): void {
  const [arrived, mine, other, id] = [R.t0, R.t1, R.t2, R.t3];
  a.li(a0, DATA).li(s0, 1).li(a3, 1).csr('csrrs', id, 'mhartid');
  a.i('slli', { rd: mine, rs1: id, imm: 6 }).i('add', { rd: mine, rs1: mine, rs2: a0 });
  a.i('xori', { rd: other, rs1: id, imm: 1 }).i('slli', { rd: other, rs1: other, imm: 6 });
  a.i('add', { rd: other, rs1: other, rs2: a0 });
  a.i('addi', { rd: arrived, rs1: a0, imm: ARRIVED });
  a.label('round').i('amoadd.d', { rs1: arrived, rs2: a3 }).i('slli', { rd: a1, rs1: s0, imm: 1 });
  a.label('wait').i('ld', { rd: a2, rs1: arrived }).to('blt', 'wait', { rs1: a2, rs2: a1 });
  // What was seen in the round before, which nobody overwrites before the next one: 0 in both is what must not be.
  a.i('andi', { rd: R.t4, rs1: s0, imm: 1 }).i('slli', { rd: R.t4, rs1: R.t4, imm: 3 });
  a.i('xori', { rd: R.t5, rs1: R.t4, imm: 8 }).i('add', { rd: R.t5, rs1: R.t5, rs2: a0 });
  a.i('ld', { rd: a1, rs1: R.t5, imm: SEEN }).i('ld', { rd: a2, rs1: R.t5, imm: SEEN + OTHER });
  a.i('or', { rd: a1, rs1: a1, rs2: a2 }).i('sltiu', { rd: a1, rs1: a1, imm: 1 });
  a.i('ld', { rd: a2, rs1: a0, imm: BOTH_MISSED }).i('add', { rd: a2, rs1: a2, rs2: a1 });
  a.to('bne', 'store', { rs1: id }).i('sd', { rs1: a0, rs2: a2, imm: BOTH_MISSED });
  a.label('store').i('add', { rd: R.t4, rs1: R.t4, rs2: mine });
  a.i('sd', { rs1: mine, rs2: s0, imm: STORED }).i('fence', { imm: 0x33 }).i('ld', { rd: a1, rs1: other, imm: STORED });
  a.i('slt', { rd: a1, rs1: a1, rs2: s0 }).i('xori', { rd: a1, rs1: a1, imm: 1 });
  a.i('sd', { rs1: R.t4, rs2: a1, imm: SEEN }).i('addi', { rd: s0, rs1: s0, imm: 1 });
  a.li(a1, FENCED_ROUNDS + 1)
    .to('bne', 'round', { rs1: s0, rs2: a1 })
    .i('wfi');
}

/** Runs a program on two harts in two threads to its end, and gives the guest's memory. */
async function runTwo(write: (a: Assembler) => void, prepare: (memory: GuestMemory) => void): Promise<GuestMemory> {
  const wasmMemory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
  const engine = new WebAssembly.Module(buildEngine(MEMORY_CONSTANTS));
  const buffer = wasmMemory.buffer as unknown as SharedArrayBuffer;
  const { slot } = createGuest(MachineMemory.format(buffer), {
    name: 'two harts',
    memoryBytes: 256 * PAGE_SIZE,
    harts: 2,
    hartBytes: hartAreaBytes(DECODED_BLOCKS) - HART_CONTROL_BYTES,
  });
  const guest = Guest.attach(MachineMemory.attach(buffer, slot + 1), slot);
  const control = new HartControl(guest, 0, { flush: () => undefined });
  const memory = new GuestMemory(new FaultHandler(control));
  control.unpark();
  memory.write(CODE, assemble(write));
  prepare(memory);
  control.park();
  const ends = [0, 1].map(async (hart) => {
    const workerData: TwoHartsOptions = { wasmMemory, engine, slot, hart, decodedBlocks: DECODED_BLOCKS, pc: CODE };
    const worker = new Worker(new URL('./two-harts-hart.ts', import.meta.url), { workerData });
    // Asked for together: the thread can end before its message has been looked at.
    const [[message]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    return message as string;
  });
  assert.deepEqual(await Promise.all(ends), ['', '']);
  control.unpark();
  return memory;
}

test('two harts of one guest in two threads lose no update', async () => {
  const memory = await runTwo(program, (ram) => ram.writeU32(DATA + NARROW, 0xffff_ffff));
  const counts = [RESERVED, ADDED, LOCKED, NARROW].map((place) => memory.readU64(DATA + place));
  assert.deepEqual(counts, [2 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS - 1].map(BigInt));
  assert.equal(memory.readU64(DATA + LOCK), 0n);
  assert.ok(memory.readU64(DATA + LARGEST) > BigInt(ROUNDS * 10));
});

test('a fence orders a store before the load behind it', async () => {
  // Before the first round both have seen each other.
  const memory = await runTwo(storeThenLoad, (ram) => ram.writeU64(DATA + SEEN, 1n));
  assert.equal(memory.readU64(DATA + ARRIVED), BigInt(2 * FENCED_ROUNDS));
  assert.equal(memory.readU64(DATA + BOTH_MISSED), 0n);
});
