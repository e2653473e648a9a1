/** Small machines for tests of single mechanisms. */

import { PAGE_SIZE } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { createSwap } from '../../src/memory/swap.ts';

/** A formatted memory with `frames` frames for guests and `heapPages` pages of VMM heap. */
export function smallMemory(frames: number, heapPages = 32, slots = 0, reserveFrames = 0): MachineMemory {
  const tablePages = Math.ceil((frames + heapPages + 16) / 256);
  const buffer = new SharedArrayBuffer((1 + tablePages + heapPages + 1 + frames) * PAGE_SIZE);
  const memory = MachineMemory.format(buffer, { heapBytes: heapPages * PAGE_SIZE, reserveFrames });
  createSwap(memory, slots);
  return memory;
}

/** A page full of one byte. */
export function pageOf(byte: number): Uint8Array {
  return new Uint8Array(PAGE_SIZE).fill(byte);
}
