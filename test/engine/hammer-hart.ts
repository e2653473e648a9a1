/** A worker of the hammer: one guest with one hart of the real engine. */

import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Hart } from '../../src/engine/hart.ts';
import { EXIT } from '../../src/engine/state.ts';
import { MEMORY_CONSTANTS } from '../../src/machine/engine.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import { Guest } from '../../src/memory/guest.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { HART_REQUEST_CONTROL, PAGE_SIZE } from '../../src/memory/layout.ts';
import {
  BALLOON_DRIVER,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_FLAGS,
  GUEST_BALLOON_TARGET,
  GUEST_RUNNING,
  GUEST_STATE,
} from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { HartControl } from '../../src/memory/shootdown.ts';
import { SharedStore } from '../memory/shared-store.ts';
import { assemble } from './assembler.ts';
import { PageTables, PTE, RAM } from './bare-machine.ts';
import { codePages, DEVICE, deviceContents, hammerProgram, PAGES } from './hammer-program.ts';
import { type Tier, translatorOf } from './tiers.ts';

export interface HammerHartOptions {
  readonly wasmMemory: WebAssembly.Memory;
  readonly engine: WebAssembly.Module;
  readonly swap: SharedArrayBuffer;
  readonly slot: number;
  readonly decodedBlocks: number;
  /** In S-mode with page tables, or in M-mode without. */
  readonly paging: boolean;
  readonly tier: Tier;
}

export interface HammerResult {
  readonly rounds: number;
  /** Share of the instructions that were translated, 0 to 1. */
  readonly translated: number;
  readonly failure: string;
}

const options = workerData as HammerHartOptions;
const buffer = options.wasmMemory.buffer as unknown as SharedArrayBuffer;
const guest = Guest.attach(MachineMemory.attach(buffer, options.slot + 1), options.slot);

/** Guest pages: program, page tables, tables of the program, code, data, and what is left for the balloon. */
const PROGRAM = RAM + 0x1000;
const TRAP = RAM + 0x4000;
const TABLES = RAM + 0x8000;
const CODE_AT = RAM + 0x1_0000;
const DATA_AT = RAM + 0x2_0000;
const PAGE_TABLES = DATA_AT + PAGES * PAGE_SIZE;
const BALLOON = PAGE_TABLES / PAGE_SIZE - RAM / PAGE_SIZE + 16;

let failure = '';
let ballooned = 0;

const control = new HartControl(guest, 0, {
  flush: () => hart.flush(),
  forgetFrames: (frames) => hart.forgetFrames(frames),
});
const faults = new FaultHandler(control, { store: new SharedStore(options.swap) });
const memory = new GuestMemory(faults);
const hart: Hart = new Hart({
  memory: options.wasmMemory,
  engine: options.engine,
  constants: MEMORY_CONSTANTS,
  id: 0,
  area: guest.hartArea(0),
  decodedBlocks: options.decodedBlocks,
  npt: guest.nptAddress,
  ramPages: guest.pages,
  frameTable: guest.memory.frameTable * 4,
  zeroFrame: guest.memory.zeroFrame,
  translator: translatorOf(options.tier, options.slot, () => hart.install.bind(hart)),
  environment: {
    now: () => 0,
    nestedFault: (gfn, write) => faults.fault(gfn, write),
    store: (gfn, offset) => faults.store(gfn, offset),
    stored: (bytes) => faults.noteStore(bytes),
    deviceRead: () => undefined,
    deviceWrite: (address, _bytes, value) => deviceWrite(Number(address) - DEVICE.address, value),
  },
});
memory.onWrite = (mfn, offset, length) => hart.codeWritten(mfn, offset, length);

function deviceWrite(offset: number, value: bigint): boolean {
  const page = Number(value);
  if (offset === DEVICE.discard) memory.discard((DATA_AT - RAM) / PAGE_SIZE + page, 1);
  else if (offset === DEVICE.write) memory.write(DATA_AT + page * PAGE_SIZE, deviceContents());
  else {
    failure = `mismatch at ${value.toString(16)} in round ${hart.x(8)}: ${[10, 11, 15, 17].map((n) => hart.x(n))}`;
    guest.request(HART_REQUEST_CONTROL);
  }
  return true;
}

/** The driver of a balloon whose pages nothing else uses; it writes to what comes out of it. */
function moveBalloon(): void {
  const target = Math.min(guest.get(GUEST_BALLOON_TARGET), guest.pages - BALLOON);
  if (target > ballooned) memory.discard(BALLOON + ballooned, target - ballooned, true);
  for (let page = target; page < ballooned; page++) memory.writeU32(RAM + (BALLOON + page) * PAGE_SIZE, page);
  ballooned = target;
  guest.set(GUEST_BALLOON_ACTUAL, target);
}

function prepare(): void {
  let data = DATA_AT;
  let code = CODE_AT;
  let satp = 0n;
  if (options.paging) {
    let used = 0;
    const tables = new PageTables({ memory, newTable: () => PAGE_TABLES + PAGE_SIZE * used++ });
    data = 0x4000_0000;
    code = 0x5000_0000;
    // Accessed and dirty bits are the hart's to set.
    const flags = PTE.V | PTE.R | PTE.W | PTE.X;
    for (let page = 0; page < 16; page++) {
      tables.map(RAM + page * PAGE_SIZE, RAM + page * PAGE_SIZE, flags);
      tables.map(code + page * PAGE_SIZE, CODE_AT + page * PAGE_SIZE, flags);
    }
    for (let page = 0; page < PAGES; page++) tables.map(data + page * PAGE_SIZE, DATA_AT + page * PAGE_SIZE, flags);
    tables.map(DEVICE.address, DEVICE.address, flags);
    satp = tables.satp;
  }
  const seed = 0x1234_5678_9abc_def1n * BigInt(options.slot + 1);
  memory.write(CODE_AT, codePages());
  memory.write(PROGRAM, hammerProgram({ tables: TABLES, data, code, seed, tag: BigInt(options.slot + 1) << 60n }));
  // A trap is a failure: its cause goes where mismatches go.
  const trap = assemble((a) =>
    a.csr('csrrs', 12, 'mepc').csr('csrrs', 10, 'mcause').csr('csrrs', 11, 'mtval').li(5, DEVICE.address).i('sd', {
      rs1: 5,
      rs2: 12,
      imm: DEVICE.mismatch,
    }),
  );
  memory.write(TRAP, trap);
  const boot = assemble((a) => {
    a.setCsr('mtvec', TRAP)
      .setCsr('menvcfg', 1n << 61n)
      .setCsr('pmpaddr0', -1)
      .setCsr('pmpcfg0', 0x1f);
    a.setCsr('satp', satp)
      .setCsr('mepc', PROGRAM)
      .setCsr('mstatus', (options.paging ? 1 : 3) << 11)
      .i('mret');
  });
  memory.write(RAM, boot);
  hart.resetMachineMode(BigInt(RAM));
}

function run(): void {
  for (let slice = 0; failure === '' && guest.get(GUEST_STATE) === GUEST_RUNNING; slice++) {
    if ((control.takeRequests() & HART_REQUEST_CONTROL) !== 0) moveBalloon();
    const reason = hart.run(100_000, Number.MAX_SAFE_INTEGER);
    assert.ok(reason === EXIT.budget || reason === EXIT.request, `run ended by ${reason}`);
    if (slice % 64 === 0) {
      // As a hart that waits for an interrupt.
      control.park();
      Atomics.wait(guest.memory.i32, guest.block + 900, 0, 1);
      control.unpark();
    }
  }
}

control.unpark();
try {
  guest.set(GUEST_BALLOON_FLAGS, BALLOON_DRIVER);
  prepare();
  run();
} catch (error) {
  // A hart that waits for memory when its guest is stopped.
  if ((error as Error).name !== 'GuestStoppedError') failure = (error as Error).stack ?? String(error);
}
control.park();
const translated = Number(hart.field('translatedInstructions')) / hart.retired;
parentPort!.postMessage({ rounds: Number(hart.x(8)), translated, failure } satisfies HammerResult);
