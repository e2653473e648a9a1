/** What the threads of all harts have in common. */
import { performance as timing } from 'node:perf_hooks';
import type { ThreadOptions } from '../machine/index.ts';
import { Guest } from '../memory/guest.ts';
import { HART_WAKE_BYTE } from '../memory/layout.ts';
import { MachineMemory } from '../memory/machine-memory.ts';
import type { HartThreadData } from './messages.ts';
import { RemoteTranslator } from './remote-translator.ts';
import { SwapFile } from './swap-file.ts';

/** Longest time that a hart runs before messages are looked for, milliseconds. */
export const SLICE_MS = 5;

const PROCESS_START = timing.nodeTiming.nodeStart;

/** Milliseconds since the start of the process: the same time in all of its threads. */
export const processMs = (): number => performance.now() - PROCESS_START;

/** A thread that runs a hart, and sleeps while there is nothing to do. */
export class HartThread {
  readonly options: ThreadOptions;
  readonly guest: Guest;
  readonly translator: RemoteTranslator;
  readonly #words: Int32Array;
  /** Position of the hart's WAKE word. */
  readonly #wake: number;

  constructor(data: HartThreadData) {
    const buffer = data.memory.buffer as unknown as SharedArrayBuffer;
    const memory = MachineMemory.attach(buffer, data.slot + 1);
    this.guest = Guest.attach(memory, data.slot);
    this.#words = memory.i32;
    this.#wake = (this.guest.hartArea(data.hart) + HART_WAKE_BYTE) >>> 2;
    this.translator = new RemoteTranslator(data.translator);
    this.options = {
      wasmMemory: data.memory,
      engine: data.engine,
      translator: data.translation ? this.translator : undefined,
      guest: this.guest,
      ...(data.swap === undefined ? {} : { store: new SwapFile(data.swap) }),
      now: processMs,
      processorTime: () => {
        const { user, system } = process.threadCpuUsage();
        return (user + system) / 1000;
      },
      totalStoreOrder: process.arch === 'x64',
    };
  }

  /**
   * The state of the WAKE word, for `sleep`. To be loaded before anything is looked at: what comes after raises the word, and
   * the sleep then ends at once.
   */
  get wakeups(): number {
    return Atomics.load(this.#words, this.#wake);
  }

  /** Sleeps until somebody wakes the hart, or for a time in milliseconds. */
  sleep(wakeups: number, ms = Infinity): void {
    Atomics.wait(this.#words, this.#wake, wakeups, ms);
  }
}
