/**
 * A guest's thread: its hart and its devices. It never returns to the event loop before the guest's end; messages are
 * looked for between two slices, and whoever sends one raises the hart's WAKE word, on which a waiting hart sleeps.
 */
import { randomFillSync } from 'node:crypto';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type BlockBackend, RawBlock } from '../devices/block/backend.ts';
import { openOverlay } from '../devices/block/overlay.ts';
import { Machine } from '../machine/index.ts';
import { GuestStoppedError } from '../memory/errors.ts';
import { Guest } from '../memory/guest.ts';
import { HART_WAKE_BYTE } from '../memory/layout.ts';
import { MachineMemory } from '../memory/machine-memory.ts';
import { messageOf } from './errors.ts';
import { RandomAccessFile } from './files.ts';
import type { EngineCounts, FromGuest, GuestExit, GuestWorkerData, OpenDisk, ToGuest } from './messages.ts';
import { RemoteTranslator } from './remote-translator.ts';
import { SwapFile } from './swap-file.ts';

/** Longest time that the hart runs before messages are looked for and output is handed on, milliseconds. */
const SLICE_MS = 5;
/** Time between two reports of the engine's counts, milliseconds. */
const COUNTS_MS = 250;
/** Output that is handed on before the slice ends, bytes. */
const MAX_OUTPUT = 65536;

const data = workerData as GuestWorkerData;
const say = (message: FromGuest): void => parentPort!.postMessage(message);

/** Output of the guest on its way to the host, in one message for each slice. */
class OutputBatch {
  #parts: Uint8Array[] = [];
  #length = 0;

  add(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    if (this.#length >= MAX_OUTPUT) this.flush();
  }

  flush(): void {
    if (this.#length === 0) return;
    const bytes = new Uint8Array(this.#length);
    let offset = 0;
    for (const part of this.#parts) {
      bytes.set(part, offset);
      offset += part.length;
    }
    this.#parts = [];
    this.#length = 0;
    say({ kind: 'output', bytes });
  }
}

function openDisk({ path, descriptor, readOnly, overlay }: OpenDisk): BlockBackend {
  const base = new RandomAccessFile(descriptor, `disk ${path}`);
  if (overlay === undefined) return new RawBlock(base, { readOnly });
  return openOverlay(new RandomAccessFile(overlay, `overlay of ${path}`), base);
}

/** Runs one guest from its start to its end. */
class GuestLoop {
  readonly #machine: Machine;
  readonly #translator = new RemoteTranslator(data.translator);
  readonly #output = new OutputBatch();
  readonly #disks: readonly BlockBackend[] = data.disks.map(openDisk);
  readonly #words: Int32Array;
  /** Position of the hart's WAKE word. */
  readonly #wake: number;
  #paused = false;
  #killed = false;
  #busyMs = 0;
  #countsDue = 0;

  constructor() {
    const buffer = data.memory.buffer as unknown as SharedArrayBuffer;
    const memory = MachineMemory.attach(buffer, data.slot + 1);
    const guest = Guest.attach(memory, data.slot);
    this.#words = memory.i32;
    this.#wake = (guest.hartArea(0) + HART_WAKE_BYTE) >>> 2;
    const image = (name: string, bytes: Uint8Array | undefined) =>
      bytes === undefined ? {} : { [name]: { name: data.config[name as 'kernel'] ?? name, bytes } };
    this.#machine = new Machine({
      wasmMemory: data.memory,
      engine: data.engine,
      translator: this.#translator,
      guest,
      ...(data.swap === undefined ? {} : { store: new SwapFile(data.swap) }),
      now: () => performance.now(),
      processorTime: () => {
        const { user, system } = process.threadCpuUsage();
        return (user + system) / 1000;
      },
      wallClockNs: () => BigInt(Date.now()) * 1_000_000n,
      random: (target) => void randomFillSync(target),
      ...image('kernel', data.kernel),
      ...image('initrd', data.initrd),
      ...image('firmware', data.firmware),
      append: data.config.append,
      devices: data.config.devices,
      disks: this.#disks.map((backend) => ({ backend })),
      output: (bytes) => this.#output.add(bytes),
      log: (error) => say({ kind: 'log', message: error.message }),
    });
  }

  /** Returns how the guest ended. */
  run(): GuestExit {
    say({ kind: 'started' });
    for (;;) {
      // Loaded before anything is looked at: what comes after raises it, and the sleep below then ends at once.
      const seen = Atomics.load(this.#words, this.#wake);
      this.#receive();
      this.#translator.receive((key, translation) => this.#machine.install(key, translation));
      if (this.#killed) return { reason: 'killed', status: 1 };
      if (this.#paused) {
        Atomics.wait(this.#words, this.#wake, seen);
        continue;
      }
      const start = performance.now();
      const state = this.#machine.run(start + SLICE_MS);
      const end = performance.now();
      this.#busyMs += end - start;
      this.#output.flush();
      if (end >= this.#countsDue) {
        this.#countsDue = end + COUNTS_MS;
        say({ kind: 'counts', counts: this.counts });
      }
      if (state === 'stopped') return this.#exit();
      if (state === 'wait') Atomics.wait(this.#words, this.#wake, seen, this.#machine.waitMs);
    }
  }

  get counts(): EngineCounts {
    return { instructions: this.#machine.instructions, busyMs: this.#busyMs };
  }

  /** Hands on what the guest printed last, and writes down what its disks still hold. */
  finish(): void {
    this.#output.flush();
    for (const disk of this.#disks) {
      try {
        disk.flush();
      } catch (error) {
        say({ kind: 'log', message: messageOf(error) });
      }
    }
  }

  #exit(): GuestExit {
    const exit = this.#machine.exit;
    switch (exit?.kind) {
      case 'poweroff':
        return { reason: 'poweroff', status: 0 };
      case 'reset':
        return exit.failure
          ? { reason: 'panic', status: 1, message: 'it asked for a restart because of a failure' }
          : { reason: 'reset', status: 0 };
      case 'status':
        return { reason: 'exit-status', status: exit.status };
      default:
        return { reason: 'error', status: 1, message: 'the machine stopped without a reason' };
    }
  }

  #receive(): void {
    for (;;) {
      const received = receiveMessageOnPort(data.port) as { message: ToGuest } | undefined;
      if (received === undefined) return;
      this.#handle(received.message);
    }
  }

  #handle(message: ToGuest): void {
    switch (message.kind) {
      case 'input':
        this.#machine.input(message.bytes);
        break;
      case 'resize':
        this.#machine.resize(message.columns, message.rows);
        break;
      case 'read':
        this.#read(message.id, message.address, message.length);
        break;
      case 'pause':
        if (!this.#paused) this.#machine.haltClock();
        this.#paused = true;
        say({ kind: 'paused' });
        break;
      case 'resume':
        if (this.#paused) this.#machine.resumeClock();
        this.#paused = false;
        say({ kind: 'resumed' });
        break;
      case 'kill':
        this.#killed = true;
        break;
    }
  }

  #read(id: number, address: number, length: number): void {
    try {
      const bytes = new Uint8Array(length);
      this.#machine.read(address, bytes);
      say({ kind: 'memory', id, bytes });
    } catch (error) {
      if (error instanceof GuestStoppedError) throw error;
      say({ kind: 'memory-error', id, message: messageOf(error) });
    }
  }
}

function runToEnd(): { exit: GuestExit; counts: EngineCounts } {
  let loop: GuestLoop | undefined;
  let exit: GuestExit;
  try {
    loop = new GuestLoop();
    exit = loop.run();
  } catch (error) {
    exit =
      error instanceof GuestStoppedError
        ? { reason: 'killed', status: 1 }
        : { reason: 'error', status: 1, message: messageOf(error) };
  }
  loop?.finish();
  return { exit, counts: loop?.counts ?? { instructions: 0, busyMs: 0 } };
}

say({ kind: 'ended', ...runToEnd() });
data.port.close();
data.translator.close();
