import type { MoreBlocks } from '../engine/block-room.ts';
import { hartAreaBytes, type MemoryConstants, MORE_BLOCKS, MORE_BLOCKS_BYTES } from '../engine/state.ts';
import { freePieces, takePiece } from '../memory/code-memory.ts';
import type { Guest } from '../memory/guest.ts';
import {
  FRAME_BYTES,
  FRAME_CODE,
  FRAME_CODE_KNOWN,
  FRAME_INFO,
  GUEST_RAM_BASE,
  HART_CONTROL_BYTES,
  NPT_ACCESSED,
  NPT_DIRTY,
  NPT_KIND_MASK,
  NPT_PAYLOAD_SHIFT,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SIZE,
} from '../memory/layout.ts';

/** The memory manager's tables as the engine's generated code has to know them. */
export const MEMORY_CONSTANTS: MemoryConstants = {
  ramBase: GUEST_RAM_BASE,
  present: NPT_PRESENT,
  writable: NPT_WRITABLE,
  accessed: NPT_ACCESSED,
  dirty: NPT_DIRTY,
  kindMask: NPT_KIND_MASK,
  payloadShift: NPT_PAYLOAD_SHIFT,
  frameBytes: FRAME_BYTES,
  frameInfoOffset: FRAME_INFO * 4,
  frameCode: FRAME_CODE,
  frameCodeKnown: FRAME_CODE_KNOWN,
};

const MIB = 2 ** 20;
/**
 * Debian's kernel executes some 2,900 blocks of 1 KiB of code while it boots, Python 2,300 others until it has loaded its
 * modules; a small guest has to do with fewer.
 */
const MOST_DECODED_BLOCKS = 4096;
const LEAST_DECODED_BLOCKS = 384;
const DECODED_BLOCKS_PER_MIB = 6;
/** Blocks that a hart always has: those of a guest that waits. */
export const LASTING_DECODED_BLOCKS = 128;

/**
 * Blocks of guest code that a hart keeps decoded at most, by the configured memory of its guest in bytes. Several harts share
 * the work: they get less each, and up to twice as much together.
 */
function decodedBlocks(memoryBytes: number, harts: number): number {
  const blocks = Math.min(MOST_DECODED_BLOCKS, Math.floor(memoryBytes / MIB) * DECODED_BLOCKS_PER_MIB);
  return Math.max(LEAST_DECODED_BLOCKS, Math.floor((2 * blocks) / (harts + 1)));
}

/** Where a hart gets room for more blocks than it always has. */
export function moreBlocks(guest: Guest, hart: number): MoreBlocks {
  const { memory } = guest;
  const blocks = decodedBlocks(guest.pages * PAGE_SIZE, guest.harts);
  return {
    most: Math.ceil((blocks - LASTING_DECODED_BLOCKS) / MORE_BLOCKS),
    take: () => takePiece(guest, hart, MORE_BLOCKS_BYTES),
    giveAll() {
      memory.lock();
      try {
        freePieces(guest, hart);
      } finally {
        memory.unlock();
      }
    },
  };
}

/** Bytes of a hart area behind its control block. */
export const hartEngineBytes: number = hartAreaBytes(LASTING_DECODED_BLOCKS) - HART_CONTROL_BYTES;
