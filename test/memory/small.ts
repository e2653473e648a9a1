/** Small machines for tests of single mechanisms. */

import { PAGE_SIZE } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { createSwap } from '../../src/memory/swap.ts';

/** A formatted memory with `frames` frames for guests and `heapPages` pages of VMM heap. */
export function smallMemory(
  frames: number,
  heapPages = 32,
  slots = 0,
  reserveFrames = 0,
  diskSlots = 0,
): MachineMemory {
  const tablePages = Math.ceil((frames + heapPages + 16) / 256);
  const buffer = new SharedArrayBuffer((1 + tablePages + heapPages + 1 + frames) * PAGE_SIZE);
  const memory = MachineMemory.format(buffer, { heapBytes: heapPages * PAGE_SIZE, reserveFrames });
  createSwap(memory, slots, diskSlots);
  return memory;
}

/** A page full of one byte. */
export function pageOf(byte: number): Uint8Array {
  return new Uint8Array(PAGE_SIZE).fill(byte);
}

/** A page that does not compress; the same for the same number. */
export function noise(seed: number): Uint8Array {
  const words = new Uint32Array(PAGE_SIZE / 4);
  let state = seed + 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = Math.imul(state ^ (state >>> 15), 0x85ebca77);
  }
  return new Uint8Array(words.buffer);
}
