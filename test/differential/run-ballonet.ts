/** Runs an image on Ballonet's engine: one hart, RAM, UART, ACLINT and test finisher. */
import { Aclint } from '../../src/devices/aclint.ts';
import { Bus, BusError } from '../../src/devices/bus.ts';
import { HostClock } from '../../src/devices/clock.ts';
import { ACLINT, RAM_BASE, TEST_FINISHER, UART } from '../../src/devices/map.ts';
import { TestFinisher } from '../../src/devices/test-finisher.ts';
import { Uart16550 } from '../../src/devices/uart16550.ts';
import { buildEngine } from '../../src/engine/build.ts';
import { Hart } from '../../src/engine/hart.ts';
import { hartAreaBytes, type MemoryConstants } from '../../src/engine/state.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import { createGuest } from '../../src/memory/guest.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import {
  FRAME_BYTES,
  FRAME_CODE,
  FRAME_INFO,
  NPT_ACCESSED,
  NPT_DIRTY,
  NPT_KIND_MASK,
  NPT_PRESENT,
  NPT_WRITABLE,
} from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { HartControl } from '../../src/memory/shootdown.ts';
import type { TestMachine } from './harness.ts';
import { MEMORY_MIB } from './layout.ts';

const MIB = 2 ** 20;
/** Machine memory: the guest's and what the VMM needs around it. */
const MACHINE_BYTES = (MEMORY_MIB + 64) * MIB;
const DECODED_PAGES = 256;
/** Instructions between two looks at the clock. */
const SLICE = 2_000_000;

const CONSTANTS: MemoryConstants = {
  ramBase: RAM_BASE,
  present: NPT_PRESENT,
  writable: NPT_WRITABLE,
  accessed: NPT_ACCESSED,
  dirty: NPT_DIRTY,
  kindMask: NPT_KIND_MASK,
  payloadShift: 8,
  frameBytes: FRAME_BYTES,
  frameInfoOffset: FRAME_INFO * 4,
  frameCode: FRAME_CODE,
};

let engine: WebAssembly.Module | undefined;

async function runOnBallonet(image: Uint8Array, timeout: number): Promise<Uint8Array> {
  engine ??= new WebAssembly.Module(buildEngine(MACHINE_BYTES / 65536, CONSTANTS));
  const pages = MACHINE_BYTES / 65536;
  const wasmMemory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const memory = MachineMemory.format(wasmMemory.buffer as unknown as SharedArrayBuffer, { heapBytes: 32 * MIB });
  const guest = createGuest(memory, {
    name: 'differential',
    memoryBytes: MEMORY_MIB * MIB,
    hartBytes: hartAreaBytes(DECODED_PAGES),
  });
  const output: Uint8Array[] = [];
  let finished = false;
  const bus = new Bus();
  const uart = new Uart16550({ irq: { set: () => {} }, output: (bytes) => output.push(bytes.slice()) });
  const clock = new HostClock(() => performance.now());
  bus.map(UART.base, UART.size, uart);
  const aclint = new Aclint({ clock, harts: [{ setPending: (bit, level) => hart.setPending(bit, level) }] });
  bus.map(ACLINT.base, ACLINT.size, aclint);
  bus.map(
    TEST_FINISHER.base,
    TEST_FINISHER.size,
    new TestFinisher(() => {
      finished = true;
    }),
  );
  const access = <T>(operation: () => T): T | undefined => {
    try {
      return operation();
    } catch (error) {
      if (error instanceof BusError) return undefined;
      throw error;
    }
  };
  const control = new HartControl(guest, 0, () => hart.flush());
  const faults = new FaultHandler(control);
  const hart: Hart = new Hart({
    memory: wasmMemory,
    engine,
    constants: CONSTANTS,
    id: 0,
    area: guest.hartArea(0),
    decodedPages: DECODED_PAGES,
    npt: guest.nptAddress,
    ramPages: guest.pages,
    frameTable: memory.frameTable * 4,
    zeroFrame: memory.zeroFrame,
    environment: {
      now: () => clock.ticks(),
      nestedFault: (gfn, write) => {
        faults.fault(gfn, write);
        return true;
      },
      deviceRead: (address, bytes) => access(() => bus.read(Number(address), bytes as 1)),
      deviceWrite: (address, bytes, value) =>
        access(() => {
          bus.write(Number(address), bytes as 1, value);
          return true;
        }) ?? false,
    },
  });
  control.unpark();
  new GuestMemory(faults).write(RAM_BASE, image);
  hart.resetMachineMode(BigInt(RAM_BASE));
  const end = performance.now() + timeout;
  while (!finished && performance.now() < end) {
    hart.run(SLICE, Number.POSITIVE_INFINITY);
    aclint.update();
  }
  uart.flush();
  return concatenate(output);
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

export const BALLONET: TestMachine = { name: 'ballonet', run: runOnBallonet };
