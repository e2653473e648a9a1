import { type Instruments, NO_INSTRUMENTS } from '../engine/observer.ts';
import { BUILT_ENGINE } from './built-engine.ts';

/** By what harts' observers are to be told. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

/**
 * The engine. One module serves all guests of all hosts: it can be posted to workers, which then share its machine code.
 * @param instruments what harts' observers are to be told
 */
export async function compileEngine(instruments: Instruments = NO_INSTRUMENTS): Promise<WebAssembly.Module> {
  const { exits, samples } = instruments;
  const key = `${exits} ${samples}`;
  const module = compiled.get(key) ?? compile(instruments);
  compiled.set(key, module);
  return module;
}

async function compile(instruments: Instruments): Promise<WebAssembly.Module> {
  const isPlain = !instruments.exits && !instruments.samples;
  return new WebAssembly.Module((isPlain ? BUILT_ENGINE : undefined) ?? (await write(instruments)));
}

async function write(instruments: Instruments): Promise<Uint8Array<ArrayBuffer>> {
  const [{ buildEngine }, { MEMORY_CONSTANTS }] = await Promise.all([
    import('../engine/build.ts'),
    import('./engine.ts'),
  ]);
  return buildEngine(MEMORY_CONSTANTS, instruments);
}
