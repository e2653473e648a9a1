/** A worker that takes frames of a machine memory after a while. */
import { workerData } from 'node:worker_threads';
import { allocateFrame } from '../../src/memory/frames.ts';
import { LOCK_OWNER_HOST } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';

export interface TakerOptions {
  readonly buffer: SharedArrayBuffer;
  readonly frames: number;
  readonly delayMs: number;
}

const { buffer, frames, delayMs } = workerData as TakerOptions;
const memory = MachineMemory.attach(buffer, LOCK_OWNER_HOST);
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
memory.lock();
for (let i = 0; i < frames; i++) allocateFrame(memory);
memory.unlock();
