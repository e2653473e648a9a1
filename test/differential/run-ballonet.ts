/** Runs firmware on a Ballonet machine, in this thread. */
import { SynchronousTranslator } from '../../src/engine/translate/synchronous.ts';
import { compileEngine, hartEngineBytes } from '../../src/machine/engine.ts';
import { Machine, type MachineExit } from '../../src/machine/machine.ts';
import { createGuest } from '../../src/memory/guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import type { TestMachine } from './harness.ts';
import { MEMORY_MIB } from './layout.ts';

const MIB = 2 ** 20;
const WASM_PAGES = ((MEMORY_MIB + 64) * MIB) / 65536;
const HEAP_BYTES = 32 * MIB;
/** Milliseconds of a slice. */
const SLICE_MS = 50;

let engine: WebAssembly.Module | undefined;

/** How a run ended. */
export interface Run {
  /** What came out of the console. */
  output: Uint8Array;
  /** Undefined if the time was up. */
  exit: MachineExit | undefined;
}

/**
 * Runs firmware on a machine without devices until it ends.
 * @param firmware a flat image or an ELF file
 * @param timeout milliseconds after which to give up
 */
export function runFirmware(firmware: Uint8Array, timeout: number): Run {
  const wasmMemory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
  engine ??= compileEngine(wasmMemory);
  const buffer = wasmMemory.buffer as unknown as SharedArrayBuffer;
  const guest = createGuest(MachineMemory.format(buffer, { heapBytes: HEAP_BYTES }), {
    name: 'differential',
    memoryBytes: MEMORY_MIB * MIB,
    hartBytes: hartEngineBytes(MEMORY_MIB * MIB),
  });
  const output: Uint8Array[] = [];
  const machine = new Machine({
    wasmMemory,
    engine,
    translator: process.env['T'] ? new SynchronousTranslator(WASM_PAGES, Number(process.env['T'])) : undefined,
    guest,
    now: () => performance.now(),
    wallClockNs: () => BigInt(Date.now()) * 1_000_000n,
    random: (target) => target.fill(0x5a),
    firmware: { name: 'test program', bytes: firmware },
    append: '',
    devices: false,
    disks: [],
    output: (bytes) => output.push(bytes.slice()),
    log: (error) => {
      throw error;
    },
  });
  const end = performance.now() + timeout;
  while (machine.exit === undefined && performance.now() < end) machine.run(performance.now() + SLICE_MS);
  return { output: concatenate(output), exit: machine.exit };
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export const BALLONET: TestMachine = {
  name: 'ballonet',
  run: async (image, timeout) => runFirmware(image, timeout).output,
};
