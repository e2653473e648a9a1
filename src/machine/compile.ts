import { buildEngine } from '../engine/build.ts';
import { type Instruments, NO_INSTRUMENTS } from '../engine/observer.ts';
import { MEMORY_CONSTANTS } from './engine.ts';

/** By what harts' observers are to be told. */
const compiled = new Map<string, WebAssembly.Module>();

/**
 * The engine. One module serves all guests of all hosts: it can be posted to workers, which then share its machine code.
 * @param instruments what harts' observers are to be told
 */
export function compileEngine(instruments: Instruments = NO_INSTRUMENTS): WebAssembly.Module {
  const { exits, samples } = instruments;
  const key = `${exits} ${samples}`;
  const module = compiled.get(key) ?? new WebAssembly.Module(buildEngine(MEMORY_CONSTANTS, instruments));
  compiled.set(key, module);
  return module;
}
