/**
 * A guest's thread: its first hart and its devices. It never returns to the event loop before the guest's end; messages are
 * looked for between two slices, and whoever sends one raises the hart's WAKE word, on which a waiting hart sleeps.
 */
import { randomFillSync } from 'node:crypto';
import { flushCompileCache } from 'node:module';
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { type BlockBackend, RawBlock } from '../devices/block/backend.ts';
import { openOverlay } from '../devices/block/overlay.ts';
// Not by the index: a guest's thread has no use for what generates the engine.
import { Machine } from '../machine/machine.ts';
import { GuestStoppedError } from '../memory/errors.ts';
import { messageOf } from './errors.ts';
import { RandomAccessFile } from './files.ts';
import { HartThread, processMs, SLICE_MS } from './hart-thread.ts';
import { imageSources } from './images.ts';
import type { FromGuest, GuestExit, GuestWorkerData, OpenDisk, ToGuest } from './messages.ts';

/** Time between two looks at whether the other harts are ready or stand still, milliseconds; they wake this thread. */
const LOOK_MS = 20;
/** Output that is handed on before the slice ends, bytes. */
const MAX_OUTPUT = 65536;

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
  readonly #port: MessagePort;
  readonly #machine: Machine;
  readonly #thread: HartThread;
  readonly #output = new OutputBatch();
  readonly #disks: readonly BlockBackend[];
  #started = false;
  /** The guest is to be paused; all of its harts stand still. */
  #paused = false;
  #standing = false;
  #killed = false;

  constructor(data: GuestWorkerData) {
    this.#port = data.port;
    this.#thread = new HartThread(data, say);
    this.#disks = data.disks.map(openDisk);
    this.#machine = new Machine({
      ...this.#thread.options,
      wallClockNs: () => BigInt(Date.now()) * 1_000_000n,
      random: (target) => void randomFillSync(target),
      ...imageSources(data.images),
      append: data.config.append,
      devices: data.config.devices,
      disks: this.#disks.map((backend) => ({ backend })),
      output: (bytes) => this.#output.add(bytes),
      log: (error) => say({ kind: 'log', message: error.message }),
    });
  }

  /** Returns how the guest ended. */
  run(): GuestExit {
    const thread = this.#thread;
    for (;;) {
      const { wakeups } = thread;
      this.#receive();
      thread.translator.receive((key, translation) => this.#machine.install(key, translation));
      if (this.#killed) return { reason: 'killed', status: 1 };
      if (!this.#started) {
        this.#start(wakeups);
        continue;
      }
      if (this.#paused) {
        this.#stand(wakeups);
        continue;
      }
      const state = this.#machine.run(processMs() + SLICE_MS);
      this.#output.flush();
      if (state === 'stopped') return this.#exit();
      if (state === 'wait') thread.sleep(wakeups, this.#machine.waitMs);
    }
  }

  /** One step towards the start. */
  #start(wakeups: number): void {
    this.#started = this.#machine.start();
    if (this.#started) say({ kind: 'started' });
    else this.#thread.sleep(wakeups, LOOK_MS);
  }

  /** One step towards all harts standing still, or none once they do. */
  #stand(wakeups: number): void {
    if (this.#standing) {
      this.#thread.sleep(wakeups);
      return;
    }
    this.#standing = this.#machine.halt();
    if (this.#standing) say({ kind: 'paused' });
    else this.#thread.sleep(wakeups, LOOK_MS);
  }

  /** Hands on what the guest printed last and what its hart has noted, and writes down what its disks still hold. */
  finish(): void {
    this.#output.flush();
    this.#thread.finish();
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
      const received = receiveMessageOnPort(this.#port) as { message: ToGuest } | undefined;
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
        if (this.#standing) say({ kind: 'paused' });
        this.#paused = true;
        break;
      case 'resume':
        if (this.#paused) this.#resume();
        say({ kind: 'resumed' });
        break;
      case 'kill':
        this.#killed = true;
        break;
    }
  }

  #resume(): void {
    // One that was not paused yet has been now.
    if (!this.#standing) say({ kind: 'paused' });
    this.#paused = false;
    this.#standing = false;
    if (this.#started) this.#machine.resume();
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

function runToEnd(data: GuestWorkerData): GuestExit {
  let loop: GuestLoop | undefined;
  let exit: GuestExit;
  try {
    loop = new GuestLoop(data);
    exit = loop.run();
  } catch (error) {
    exit =
      error instanceof GuestStoppedError
        ? { reason: 'killed', status: 1 }
        : { reason: 'error', status: 1, message: messageOf(error) };
  }
  loop?.finish();
  return exit;
}

// What was compiled for this thread is there for those of the next guests: without it each has a compiler of TypeScript, too.
flushCompileCache();
// The thread may have been started before anybody knew its guest.
parentPort!.on('message', (data: GuestWorkerData) => {
  say({ kind: 'ended', exit: runToEnd(data) });
  data.port.close();
  data.translator.close();
  parentPort!.unref();
});
