import { buildEngine } from '../engine/build.ts';
import type { Instruments } from '../engine/observer.ts';
import { hartAreaBytes, type MemoryConstants } from '../engine/state.ts';
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
/** A Linux guest with busybox executes about as many blocks of 1 KiB of code; a small guest has to do with fewer. */
const MOST_DECODED_BLOCKS = 1536;
const LEAST_DECODED_BLOCKS = 384;
const DECODED_BLOCKS_PER_MIB = 6;

/**
 * Blocks of guest code that a hart keeps decoded, by the configured memory of its guest in bytes. Several harts share the
 * work: they get less each, and up to twice as much together.
 */
export function decodedBlocks(memoryBytes: number, harts = 1): number {
  const blocks = Math.min(MOST_DECODED_BLOCKS, Math.floor(memoryBytes / MIB) * DECODED_BLOCKS_PER_MIB);
  return Math.max(LEAST_DECODED_BLOCKS, Math.floor((2 * blocks) / (harts + 1)));
}

/** Bytes of a hart area behind its control block, by the configured memory of its guest in bytes. */
export const hartEngineBytes = (memoryBytes: number, harts = 1): number =>
  hartAreaBytes(decodedBlocks(memoryBytes, harts)) - HART_CONTROL_BYTES;

const WASM_PAGE = 65536;

/**
 * Compiles the engine for a machine memory. One module serves all guests of a host: it can be posted to workers, which
 * then share its machine code.
 * @param instruments what harts' observers are to be told
 */
export function compileEngine(memory: WebAssembly.Memory, instruments?: Instruments): WebAssembly.Module {
  return new WebAssembly.Module(buildEngine(memory.buffer.byteLength / WASM_PAGE, MEMORY_CONSTANTS, instruments));
}
