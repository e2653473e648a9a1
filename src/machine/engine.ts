import { buildEngine } from '../engine/build.ts';
import { hartAreaBytes, type MemoryConstants } from '../engine/state.ts';
import {
  FRAME_BYTES,
  FRAME_CODE,
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
};

/** Blocks of 1 KiB of guest code that a hart keeps decoded: a Linux guest with busybox executes about as much. */
export const DECODED_BLOCKS = 1536;

/** Bytes of a hart area behind its control block. */
export const HART_ENGINE_BYTES = hartAreaBytes(DECODED_BLOCKS) - HART_CONTROL_BYTES;

const WASM_PAGE = 65536;

/**
 * Compiles the engine for a machine memory. One module serves all guests of a host: it can be posted to workers, which
 * then share its machine code.
 */
export function compileEngine(memory: WebAssembly.Memory): WebAssembly.Module {
  return new WebAssembly.Module(buildEngine(memory.buffer.byteLength / WASM_PAGE, MEMORY_CONSTANTS));
}
