import type { EngineExports } from './build.ts';
import { hartAreaBytes, offset32 } from './state.ts';

const WASM_PAGE = 65536;

/** What only translated code calls from outside of the module. */
interface RegionExports {
  reach(hart: number, gva: bigint, word: number): number;
  csr(hart: number, index: number, operand: bigint, operation: number, writes: number): number;
}

/**
 * Has the interpreter compiled, which happens when it is first called and takes some ten milliseconds: it polls, and finds that
 * it may execute nothing. Threads that have the same module then have its machine code. So have some other functions that
 * a guest needs as soon as it starts, on a hart that has no memory.
 * @param engine compiled from `buildEngine`
 */
export function warmUp(engine: WebAssembly.Module): void {
  const pages = Math.ceil(hartAreaBytes(0) / WASM_PAGE);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
  const env: Record<string, WebAssembly.ImportValue> = { memory, table };
  for (const { name, kind } of WebAssembly.Module.imports(engine)) {
    // An engine that samples takes one where it polls.
    if (kind === 'function') env[name] = name === 'sample' ? () => undefined : (): never => unexpected(name);
  }
  new Int32Array(memory.buffer)[offset32('remaining') >>> 2] = -1;
  const { exports } = new WebAssembly.Instance(engine, { env });
  const { run, fetchAddress, flush, dropFrame, fence, reach, csr } = exports as unknown as EngineExports &
    RegionExports;
  run(0);
  fetchAddress(0, 0n);
  reach(0, 0n, 0);
  csr(0, 0, 0n, 0, 0);
  fence(0, 0n, 1, 0n, 0);
  dropFrame(0, 0);
  flush(0);
}

function unexpected(name: string): never {
  throw new Error(`the engine has called ${name} without a hart`);
}
