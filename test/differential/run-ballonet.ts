/** Runs firmware on a Ballonet machine, in this thread. */
import { MIP } from '../../src/devices/hart-lines.ts';
import type { Hart } from '../../src/engine/hart.ts';
import { imageInMemory } from '../../src/firmware/image-source.ts';
import { compileEngine, hartEngineBytes } from '../../src/machine/index.ts';
import { Machine, type MachineExit } from '../../src/machine/machine.ts';
import { createGuest } from '../../src/memory/guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { type Tier, translatorOf } from '../engine/tiers.ts';
import type { TestMachine } from './harness.ts';
import { MEMORY_MIB, RAM_BASE } from './layout.ts';
import { S0 } from './monitor-code.ts';
import { HEADER } from './program.ts';

const MIB = 2 ** 20;
const WASM_PAGES = ((MEMORY_MIB + 64) * MIB) / 65536;
const HEAP_BYTES = 32 * MIB;
/** Milliseconds of a slice. */
const SLICE_MS = 50;

const engine = await compileEngine();

/** How a run ended. */
export interface Run {
  /** What came out of the console. */
  output: Uint8Array;
  /** Undefined if the time was up. */
  exit: MachineExit | undefined;
}

export interface FirmwareOptions {
  readonly tier?: Tier;
  /** Chooses among the ways of the tier `mixed`. */
  readonly seed?: number;
  /** Called with the hart before it starts. */
  readonly prepare?: (hart: Hart) => void;
}

/**
 * Runs firmware on a machine without devices until it ends.
 * @param firmware a flat image or an ELF file
 * @param timeout milliseconds after which to give up
 */
export function runFirmware(firmware: Uint8Array, timeout: number, options: FirmwareOptions = {}): Run {
  const { tier = 'interpreter', seed = 1, prepare } = options;
  const wasmMemory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
  const buffer = wasmMemory.buffer as unknown as SharedArrayBuffer;
  const guest = createGuest(MachineMemory.format(buffer, { heapBytes: HEAP_BYTES }), {
    name: 'differential',
    memoryBytes: MEMORY_MIB * MIB,
    hartBytes: hartEngineBytes,
  });
  const output: Uint8Array[] = [];
  const machine: Machine = new Machine({
    wasmMemory,
    engine,
    translator: translatorOf(tier, seed, () => machine.install.bind(machine)),
    guest,
    now: () => performance.now(),
    wallClockNs: () => BigInt(Date.now()) * 1_000_000n,
    random: (target) => target.fill(0x5a),
    firmware: imageInMemory('test program', firmware),
    append: '',
    devices: false,
    disks: [],
    output: (bytes) => output.push(bytes.slice()),
    log: (error) => {
      throw error;
    },
  });
  prepare?.(machine.hart);
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

/** Instructions that a program and its trap handler executed, and those of them that were translated. */
export interface Executed {
  readonly instructions: number;
  readonly translated: number;
}

/**
 * Of all instructions of many programs the share that has to be translated in a tier, so that it is the tier that is
 * tested. (Half of the programs of some categories run straight through.)
 */
export const LEAST_TRANSLATED: Record<Tier, number> = { interpreter: 0, translator: 0.9, mixed: 0.8 };

/** Share of the instructions of programs that were translated, 0 to 1. */
export function translatedShare({ executed }: BallonetMachine, programs: readonly { number: number }[]): number {
  let instructions = 0;
  let translated = 0;
  for (const { number } of programs) {
    instructions += executed.get(number)?.instructions ?? 0;
    translated += executed.get(number)?.translated ?? 0;
  }
  return instructions === 0 ? 0 : translated / instructions;
}

/** A machine that says how programs were executed. */
export interface BallonetMachine extends TestMachine {
  readonly tier: Tier;
  /** By number of the program, as it was run last. */
  readonly executed: ReadonlyMap<number, Executed>;
}

/** @param seed chooses among the ways of the tier `mixed` */
export function ballonet(tier: Tier, seed = 1): BallonetMachine {
  const executed = new Map<number, Executed>();
  return {
    name: tier === 'interpreter' ? 'ballonet' : `ballonet (${tier})`,
    tier,
    executed,
    run: async (image, timeout) => {
      const prepare = (hart: Hart): void => watchPrograms(hart, image, executed);
      return runFirmware(image, timeout, { tier, seed, prepare }).output;
    },
  };
}

/**
 * Counts what programs execute. The monitor raises and lowers the machine timer's line before and behind each program, so
 * that when it is lowered the hart's counts are those of when it was raised.
 */
function watchPrograms(hart: Hart, image: Uint8Array, executed: Map<number, Executed>): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const setPending = hart.setPending.bind(hart);
  let begun: Executed | undefined;
  hart.setPending = (bit, level) => {
    setPending(bit, level);
    if (bit !== MIP.MTIP || level) return;
    const now = { instructions: hart.retired, translated: Number(hart.field('translatedInstructions')) };
    if (begun === undefined) {
      begun = now;
      return;
    }
    const header = Number(BigInt.asUintN(64, hart.x(S0))) - RAM_BASE;
    executed.set(Number(view.getBigUint64(header + HEADER.number * 8, true)), {
      instructions: now.instructions - begun.instructions,
      translated: now.translated - begun.translated,
    });
    begun = undefined;
  };
}

export const BALLONET = ballonet('interpreter');
