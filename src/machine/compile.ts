import { buildEngine } from '../engine/build.ts';
import type { Instruments } from '../engine/observer.ts';
import { MEMORY_CONSTANTS } from './engine.ts';

const WASM_PAGE = 65536;

/**
 * Compiles the engine for a machine memory. One module serves all guests of a host: it can be posted to workers, which
 * then share its machine code.
 * @param instruments what harts' observers are to be told
 */
export function compileEngine(memory: WebAssembly.Memory, instruments?: Instruments): WebAssembly.Module {
  return new WebAssembly.Module(buildEngine(memory.buffer.byteLength / WASM_PAGE, MEMORY_CONSTANTS, instruments));
}
