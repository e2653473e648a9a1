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

test('two harts of one guest in two threads lose no update', async () => {
  const wasmMemory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
  const engine = new WebAssembly.Module(buildEngine(WASM_PAGES, MEMORY_CONSTANTS));
  const buffer = wasmMemory.buffer as unknown as SharedArrayBuffer;
  const { slot } = createGuest(MachineMemory.format(buffer), {
    name: 'two harts',
    memoryBytes: 256 * PAGE_SIZE,
    harts: 2,
    hartBytes: hartAreaBytes(DECODED_BLOCKS) - HART_CONTROL_BYTES,
  });
  const guest = Guest.attach(MachineMemory.attach(buffer, slot + 1), slot);
  const control = new HartControl(guest, 0, () => undefined);
  const memory = new GuestMemory(new FaultHandler(control));
  control.unpark();
  memory.write(CODE, assemble(program));
  memory.writeU32(DATA + NARROW, 0xffff_ffff);
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
  const counts = [RESERVED, ADDED, LOCKED, NARROW].map((place) => memory.readU64(DATA + place));
  assert.deepEqual(counts, [2 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS - 1].map(BigInt));
  assert.equal(memory.readU64(DATA + LOCK), 0n);
  assert.ok(memory.readU64(DATA + LARGEST) > BigInt(ROUNDS * 10));
});
