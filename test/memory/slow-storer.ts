/** A worker with a hart that is slow between the address of a store, the store, and its note. */
import { workerData } from 'node:worker_threads';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { TestHart, TestStore } from './model.ts';

export interface StorerOptions {
  readonly buffer: SharedArrayBuffer;
  readonly slot: number;
  readonly hart: number;
  readonly gfn: number;
  readonly offset: number;
  readonly value: number;
  readonly delayMs: number;
  /** Word that becomes 1 when the address is known. */
  readonly begun: Int32Array;
}

const { buffer, slot, hart, gfn, offset, value, delayMs, begun } = workerData as StorerOptions;
const pause = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
const memory = MachineMemory.attach(buffer, slot + 1);
const storer = new TestHart(memory, slot, hart, new TestStore());
storer.control.unpark();
const address = storer.storeAddress(gfn, offset);
Atomics.store(begun, 0, 1);
Atomics.notify(begun, 0);
pause();
memory.u8[address] = value;
pause();
storer.storeMade(1);
storer.control.poll();
storer.control.park();
