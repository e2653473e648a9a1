/** The library's handle to a running guest. */
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads';
import type { EngineTotals } from '../engine/counters.ts';
import { hartCounts } from '../machine/hart-block.ts';
import type { Guest as GuestMemoryHandle } from '../memory/guest.ts';
import {
  HART_PARKED,
  HART_REQUEST_CONTROL,
  HART_SHOOTDOWN_ACK_BYTE,
  HART_STATE_BYTE,
  HEADER_GUEST_TABLE,
  PAGE_SIZE,
} from '../memory/layout.ts';
import { GUEST_BALLOON_MANUAL } from '../memory/layout-guest.ts';
import { abandonMutex } from '../memory/repair.ts';
import { GuestConsole } from './console.ts';
import { GuestError, messageOf, OptionError } from './errors.ts';
import { startGuestThread, startHartThread } from './guest-thread.ts';
import type { FromGuest, FromHart, GuestExit, GuestWorkerData, HartThreadData, ToGuest } from './messages.ts';
import type { Observations, RegionEvent } from './observation.ts';
import { parseSize, type Size } from './size.ts';
import { type GuestMemoryStatistics, memoryStatistics } from './statistics.ts';

/** What a guest does now. */
export type GuestState = 'starting' | 'running' | 'paused' | 'ended';

/** A guest in figures. */
export interface GuestStatistics {
  readonly name: string;
  readonly state: GuestState;
  readonly exit: GuestExit | undefined;
  /** While it runs; the last ones once it has ended. */
  readonly memory: GuestMemoryStatistics;
  /** Instructions, time in which they were executed, and counters, of all harts together. */
  readonly engine: EngineTotals;
}

/** Time that a guest's thread has to come to its end by itself, milliseconds. */
const KILL_TIMEOUT_MS = 5000;

/** Time that the memory manager may take to free a guest's memory, and time between two looks, milliseconds. */
const FREE_TIMEOUT_MS = 5000;
const LOOK_MS = 2;

const PANIC = /Kernel panic - not syncing: ([^\r\n]*)/;

/** Thrown into the promises of a guest that is gone. */
const gone = (name: string): GuestError => new GuestError(name, 'has ended; start it again to use it');

/** A guest of a {@link Host}. */
export class Guest {
  readonly name: string;
  readonly console: GuestConsole;
  /** Messages of the VMM about this guest, such as a device that it has misused; set it to get them. */
  onLog: ((message: string) => void) | undefined;
  /** Translated regions, when the host observes `regions`; set it to get them. */
  onRegion: ((event: RegionEvent) => void) | undefined;
  readonly #memory: GuestMemoryHandle;
  /** The threads of its harts; the first one has the devices, too. */
  readonly #workers: readonly Worker[];
  #running: number;
  readonly #port: MessagePort;
  #state: GuestState = 'starting';
  #exit: GuestExit | undefined;
  readonly #observations: Observations[] = [];
  #lastMemory: GuestMemoryStatistics | undefined;
  #lastEngine: EngineTotals | undefined;
  /** What one of its threads died of, when it did not end by itself. */
  #crash: string | undefined;
  /** Set once its threads have been told to end. */
  #stopping: NodeJS.Timeout | undefined;
  readonly #started = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<GuestExit>();
  #pausing: PromiseWithResolvers<void> | undefined;
  #resuming: PromiseWithResolvers<void> | undefined;
  readonly #reads = new Map<number, PromiseWithResolvers<Uint8Array>>();
  #nextRead = 0;

  /**
   * For the host; users call {@link Host.start}.
   * @param translators a way to the translator for each hart
   * @param onEnd is told when the guest has ended, and whether its memory is the host's again
   */
  constructor(
    memory: GuestMemoryHandle,
    data: Omit<GuestWorkerData, 'hart' | 'port' | 'translator'>,
    translators: readonly MessagePort[],
    onEnd: (guest: Guest, freed: boolean) => void,
  ) {
    this.name = data.config.name;
    this.#memory = memory;
    this.console = new GuestConsole((input) => {
      if (this.#state === 'ended') return;
      if (input instanceof Uint8Array) this.#tell({ kind: 'input', bytes: input });
      else this.#tell({ kind: 'resize', columns: input.columns, rows: input.rows });
    });
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.unref();
    this.#workers = translators.map((translator, hart) => {
      const thread: HartThreadData = {
        memory: data.memory,
        engine: data.engine,
        slot: data.slot,
        hart,
        swap: data.swap,
        translator,
        translation: data.translation,
        observe: data.observe,
      };
      return hart > 0 ? startHartThread(this.name, thread) : startGuestThread({ ...data, ...thread, port: port2 });
    });
    this.#running = this.#workers.length;
    for (const [hart, worker] of this.#workers.entries()) {
      worker.on('message', (message: FromGuest | FromHart) => this.#receive(message));
      worker.on('error', (error) => this.#fail(hart === 0 ? messageOf(error) : `hart ${hart}: ${messageOf(error)}`));
      worker.on('exit', () => {
        // The others have nothing to do without it.
        this.#stop();
        if (--this.#running > 0) return;
        for (const { descriptor, overlay } of data.disks) {
          closeSync(descriptor);
          if (overlay !== undefined) closeSync(overlay);
        }
        void this.#finish(onEnd);
      });
    }
    // Whoever waits for these hears of a failure by the end as well.
    this.#started.promise.catch(() => {});
  }

  get state(): GuestState {
    return this.#state;
  }

  /** Its slot in the guest table; for the host. */
  get slot(): number {
    return this.#memory.slot;
  }

  /** Resolves when the guest is about to execute its first instruction; for the host. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Resolves when the guest has ended and its memory is the host's again. */
  wait(): Promise<GuestExit> {
    return this.#ended.promise;
  }

  /**
   * Reads guest-physical memory.
   * @param address guest-physical, as a number of bytes; RAM begins at 0x80000000
   * @throws GuestError when the range is not in the guest's RAM, or the guest has ended
   */
  readMemory(address: number, length: number): Promise<Uint8Array> {
    if (this.#state === 'ended') return Promise.reject(gone(this.name));
    if (!Number.isSafeInteger(address) || !Number.isSafeInteger(length) || address < 0 || length < 0) {
      return Promise.reject(
        new GuestError(this.name, `${length} bytes at ${address} cannot be read; give whole numbers from 0`),
      );
    }
    const id = this.#nextRead++;
    const read = Promise.withResolvers<Uint8Array>();
    this.#reads.set(id, read);
    this.#tell({ kind: 'read', id, address, length });
    return read.promise;
  }

  /**
   * Sets the size of the guest's balloon, or leaves it to the host's policy again with `'auto'`. The guest's driver
   * follows when it can.
   * @throws OptionError when it is larger than the guest
   */
  setBalloon(size: Size | 'auto'): void {
    if (this.#state === 'ended') throw gone(this.name);
    let pages = -1;
    if (size !== 'auto') {
      pages = Math.floor(parseSize(size, 'balloon') / PAGE_SIZE);
      if (pages > this.#memory.pages) {
        throw new OptionError('balloon', `${size} is more than the configured memory of guest ${this.name}`);
      }
    }
    this.#memory.set(GUEST_BALLOON_MANUAL, pages);
    this.#memory.memory.wakeManager();
  }

  /** Stops the guest's time. Resolves when it stands still. */
  pause(): Promise<void> {
    if (this.#state === 'ended') return Promise.reject(gone(this.name));
    this.#pausing ??= Promise.withResolvers();
    this.#tell({ kind: 'pause' });
    return this.#pausing.promise;
  }

  /** Lets a paused guest go on; to it no time has passed. */
  resume(): Promise<void> {
    if (this.#state === 'ended') return Promise.reject(gone(this.name));
    this.#resuming ??= Promise.withResolvers();
    this.#tell({ kind: 'resume' });
    return this.#resuming.promise;
  }

  /** Ends the guest at once, as pulling the plug does. */
  async kill(): Promise<GuestExit> {
    if (this.#state !== 'ended') {
      this.#stop();
      await this.#ended.promise;
    }
    return this.#ended.promise;
  }

  statistics(): GuestStatistics {
    return {
      name: this.name,
      state: this.#state,
      exit: this.#exit,
      memory: this.#lastMemory ?? this.#memoryNow(),
      engine: this.#lastEngine ?? hartCounts(this.#memory),
    };
  }

  /** What its harts have noted of what the host observes; complete when the guest has ended. */
  get observations(): Observations {
    return {
      exits: this.#observations.flatMap(({ exits }) => exits),
      samples: this.#observations.flatMap(({ samples }) => samples),
    };
  }

  #memoryNow(): GuestMemoryStatistics {
    return memoryStatistics(this.#memory.memory).guests.get(this.#memory.slot)!;
  }

  /** A thread has failed, so that the guest can't go on. */
  #fail(message: string): void {
    this.#crash ??= message;
    this.#stop();
  }

  /** Has all threads come to their end, by force if one does not. */
  #stop(): void {
    if (this.#stopping !== undefined || this.#running === 0) return;
    this.#stopping = setTimeout(() => {
      this.#crash ??= `its threads did not end within ${KILL_TIMEOUT_MS} ms and were stopped`;
      for (const worker of this.#workers) void worker.terminate();
    }, KILL_TIMEOUT_MS);
    // First the state, so that a hart that waits for memory gives up, then the message for all others.
    this.#memory.stop();
    this.#tell({ kind: 'kill' });
  }

  #tell(message: ToGuest): void {
    this.#port.postMessage(message);
    this.#memory.request(HART_REQUEST_CONTROL);
  }

  #receive(message: FromGuest | FromHart): void {
    switch (message.kind) {
      case 'started':
        this.#state = 'running';
        this.#started.resolve();
        break;
      case 'output':
        this.console.deliver(message.bytes);
        break;
      case 'memory':
        this.#reads.get(message.id)?.resolve(message.bytes);
        this.#reads.delete(message.id);
        break;
      case 'memory-error':
        this.#reads.get(message.id)?.reject(new GuestError(this.name, message.message));
        this.#reads.delete(message.id);
        break;
      case 'paused':
        this.#state = 'paused';
        this.#pausing?.resolve();
        this.#pausing = undefined;
        break;
      case 'resumed':
        this.#state = 'running';
        this.#resuming?.resolve();
        this.#resuming = undefined;
        break;
      case 'region':
        this.onRegion?.(message.event);
        break;
      case 'observed':
        this.#observations.push(message.observations);
        break;
      case 'log':
        this.onLog?.(message.message);
        break;
      case 'failed':
        this.#fail(message.message);
        break;
      case 'ended':
        this.#exit = message.exit;
        break;
    }
  }

  /** The threads are gone: takes the last figures, then gives the guest's memory back. */
  async #finish(onEnd: (guest: Guest, freed: boolean) => void): Promise<void> {
    clearTimeout(this.#stopping);
    const panic = PANIC.exec(this.console.tail);
    const failed: GuestExit = { reason: 'error', status: 1, message: this.#crash ?? 'its thread ended without a word' };
    let exit = (this.#crash === undefined ? this.#exit : undefined) ?? failed;
    if (exit.reason === 'reset' && panic !== null) exit = { reason: 'panic', status: 1, message: panic[1]! };
    this.#exit = exit;
    this.#lastMemory = this.#memoryNow();
    this.#lastEngine = hartCounts(this.#memory);
    this.#state = 'ended';
    this.#release();
    this.#port.close();
    this.console.end();
    const error = new GuestError(this.name, exit.message ?? `ended (${exit.reason})`);
    this.#started.reject(error);
    this.#pausing?.reject(error);
    this.#resuming?.reject(error);
    for (const read of this.#reads.values()) read.reject(error);
    this.#reads.clear();
    const freed = await this.#freed();
    onEnd(this, freed);
    this.#ended.resolve(exit);
  }

  /** Waits until the memory manager has taken the guest's memory back. False if it did not within some seconds. */
  async #freed(): Promise<boolean> {
    const { memory, slot, block } = this.#memory;
    for (let waited = 0; waited < FREE_TIMEOUT_MS; waited += LOOK_MS) {
      if (Atomics.load(memory.i32, HEADER_GUEST_TABLE + slot) !== block * 4) return true;
      await sleep(LOOK_MS);
    }
    return false;
  }

  /** Undoes what a thread that died in the middle of something may have left behind, then frees the guest's memory. */
  #release(): void {
    const { memory, slot, harts } = this.#memory;
    abandonMutex(memory, slot + 1);
    for (let hart = 0; hart < harts; hart++) {
      const area = this.#memory.hartArea(hart);
      Atomics.store(memory.i32, (area + HART_STATE_BYTE) >>> 2, HART_PARKED);
      Atomics.notify(memory.i32, (area + HART_SHOOTDOWN_ACK_BYTE) >>> 2);
    }
    this.#memory.end();
  }
}
