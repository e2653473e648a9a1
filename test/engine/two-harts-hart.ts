/** A worker that runs one of several harts of a guest, from `pc` up to a WFI. */

import { parentPort, workerData } from 'node:worker_threads';
import { Hart } from '../../src/engine/hart.ts';
import { EXIT } from '../../src/engine/state.ts';
import { MEMORY_CONSTANTS } from '../../src/machine/engine.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import { Guest } from '../../src/memory/guest.ts';
import { GUEST_CODE_CHANGES } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { HartControl } from '../../src/memory/shootdown.ts';

export interface TwoHartsOptions {
  readonly wasmMemory: WebAssembly.Memory;
  readonly engine: WebAssembly.Module;
  readonly slot: number;
  readonly hart: number;
  readonly decodedBlocks: number;
  readonly pc: number;
}

const options = workerData as TwoHartsOptions;
const buffer = options.wasmMemory.buffer as unknown as SharedArrayBuffer;
const guest = Guest.attach(MachineMemory.attach(buffer, options.slot + 1), options.slot);
const control = new HartControl(guest, options.hart, {
  flush: () => hart.flush(),
  forgetFrames: (frames) => hart.forgetFrames(frames),
});
const faults = new FaultHandler(control);
const hart = new Hart({
  memory: options.wasmMemory,
  engine: options.engine,
  constants: MEMORY_CONSTANTS,
  id: options.hart,
  area: guest.hartArea(options.hart),
  decodedBlocks: options.decodedBlocks,
  npt: guest.nptAddress,
  ramPages: guest.pages,
  frameTable: guest.memory.frameTable * 4,
  zeroFrame: guest.memory.zeroFrame,
  environment: {
    now: () => 0,
    nestedFault: (gfn, write) => faults.fault(gfn, write),
    store: (gfn, offset) => faults.store(gfn, offset),
    stored: (bytes) => faults.noteStore(bytes),
    deviceRead: () => undefined,
    deviceWrite: () => false,
  },
  siblings: {
    forgetWrites: () => faults.flushOthers(),
    codeChanges: (guest.block + GUEST_CODE_CHANGES) * 4,
    totalStoreOrder: process.arch === 'x64',
  },
});

control.unpark();
hart.resetMachineMode(BigInt(options.pc));
const end = performance.now() + 20_000;
let failure = '';
for (let reason = 0; reason !== EXIT.wfi && failure === ''; ) {
  control.takeRequests();
  reason = hart.run(1_000_000, Number.MAX_SAFE_INTEGER);
  if (hart.field('mcause') !== 0n) failure = `trap ${hart.field('mcause')} at ${hart.field('mepc').toString(16)}`;
  else if (performance.now() > end) failure = `still at ${hart.pc.toString(16)}`;
}
control.park();
parentPort!.postMessage(failure);
