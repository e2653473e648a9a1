/** What the threads of all harts have in common. */
import { performance as timing } from 'node:perf_hooks';
import type { ThreadOptions } from '../machine/index.ts';
import { Guest } from '../memory/guest.ts';
import { HART_WAKE_BYTE } from '../memory/layout.ts';
import { MachineMemory } from '../memory/machine-memory.ts';
import type { FromAnyHart, HartThreadData } from './messages.ts';
import { HartObservation } from './observation.ts';
import { RemoteTranslator } from './remote-translator.ts';
import { SwapFile } from './swap-file.ts';

/** Longest time that a hart runs before messages are looked for, milliseconds. */
export const SLICE_MS = 5;

const PROCESS_START = timing.nodeTiming.nodeStart;

/** Milliseconds since the start of the process: the same time in all of its threads. */
export const processMs = (): number => performance.now() - PROCESS_START;

/** Processor time of this thread, milliseconds. */
const threadMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

/**
 * Gives back what V8's heap does not need, if the process was started with --expose-gc: a thread that never comes back to its event loop
 * is never found idle by V8.
 */
const collect = (): void => globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });

/** A thread that runs a hart, and sleeps while there is nothing to do. */
export class HartThread {
  readonly options: ThreadOptions;
  readonly guest: Guest;
  readonly translator: RemoteTranslator;
  /** What the hart notes, if it is to. */
  readonly #observation: HartObservation | undefined;
  readonly #say: (message: FromAnyHart) => void;
  readonly #words: Int32Array;
  #lastReadError = '';
  /** Position of the hart's WAKE word. */
  readonly #wake: number;

  /** @param say takes what the hart notes */
  constructor(data: HartThreadData, say: (message: FromAnyHart) => void) {
    const buffer = data.memory.buffer as unknown as SharedArrayBuffer;
    const memory = MachineMemory.attach(buffer, data.slot + 1);
    this.guest = Guest.attach(memory, data.slot);
    this.#words = memory.i32;
    this.#wake = (this.guest.hartArea(data.hart) + HART_WAKE_BYTE) >>> 2;
    this.translator = new RemoteTranslator(data.translator);
    if (data.observe.length > 0) {
      this.#observation = new HartObservation(data.observe, data.hart, threadMs, (event) =>
        say({ kind: 'region', event }),
      );
    }
    this.#say = say;
    this.options = {
      wasmMemory: data.memory,
      engine: data.engine,
      translator: data.translation ? this.translator : undefined,
      guest: this.guest,
      ...(data.swap === undefined ? {} : { store: new SwapFile(data.swap) }),
      onReadError: ({ message }) => {
        // It is tried again and again, and said once.
        if (message === this.#lastReadError) return;
        this.#lastReadError = message;
        say({ kind: 'log', message: `${message}; the guest stands still until it can be` });
      },
      now: processMs,
      processorTime: threadMs,
      rested: collect,
      totalStoreOrder: process.arch === 'x64',
      observer: this.#observation?.observer,
    };
  }

  /** Hands on what the hart has noted; to be called at its end. */
  finish(): void {
    if (this.#observation !== undefined) this.#say({ kind: 'observed', observations: this.#observation.observations });
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
