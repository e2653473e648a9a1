/** How a hart's thread waits in a fault: for a free frame, for another thread, or for a read. The hart is parked meanwhile. */

import { GuestStoppedError, SwapReadError } from './errors.ts';
import { HEADER_PROGRESS, HEADER_WAITING } from './layout.ts';
import {
  COUNT_STALLED_US,
  COUNT_STARVATIONS,
  COUNT_STARVED_MS,
  GUEST_RUNNING,
  GUEST_STARVED,
  GUEST_STATE,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import type { HartControl } from './shootdown.ts';

/** What waiting can be given. */
export interface WaitOptions {
  /**
   * Told of pages that can't be read from swap; the hart then stands still and tries again from time to time until it works
   * or the guest is stopped. Without it `fault` throws.
   */
  onReadError?: ((error: SwapReadError) => void) | undefined;
  /** Milliseconds from any start, for the account of waiting times. */
  now?: (() => number) | undefined;
}

/** Milliseconds after which a waiting hart looks whether its guest was stopped. */
const LOOK_MS = 50;
/** Milliseconds after which a page that could not be read from swap is tried again. */
const RETRY_MS = 1000;

/** The waits of one hart, on its own thread. */
export class FaultWaits {
  readonly #control: HartControl;
  readonly #memory: MachineMemory;
  readonly #onReadError: WaitOptions['onReadError'];
  readonly #now: WaitOptions['now'];
  #progress = 0;

  constructor(control: HartControl, { onReadError, now }: WaitOptions) {
    this.#control = control;
    this.#memory = control.guest.memory;
    this.#onReadError = onReadError;
    this.#now = now;
  }

  /** Without the mutex: reads the page from swap. If that fails, the hart stands still or the caller is told. */
  readFromSwap(read: () => void): void {
    this.parked(() => {
      try {
        read();
      } catch (error) {
        if (this.#onReadError === undefined || !(error instanceof SwapReadError)) throw error;
        this.#onReadError(error);
        Atomics.wait(this.#memory.i32, HEADER_PROGRESS, Atomics.load(this.#memory.i32, HEADER_PROGRESS), RETRY_MS);
        this.#lookForStop();
      }
    });
  }

  /** Parks the hart while something is done for it, and counts the time. */
  parked(action: () => void): void {
    const start = this.#now?.() ?? 0;
    this.#control.park();
    try {
      action();
    } finally {
      this.#control.unpark();
      this.#stalled((this.#now?.() ?? 0) - start);
    }
  }

  /** Under the mutex: from now on whoever makes progress wakes this thread. */
  announce(): void {
    const { i32 } = this.#memory;
    Atomics.add(i32, HEADER_WAITING, 1);
    this.#progress = Atomics.load(i32, HEADER_PROGRESS);
  }

  /** The wait for a free frame that was announced. */
  starve(): void {
    const { guest } = this.#control;
    const memory = this.#memory;
    const start = this.#now?.() ?? 0;
    guest.add(COUNT_STARVATIONS, 1);
    guest.add(GUEST_STARVED, 1);
    memory.wakeManager();
    try {
      this.sleep();
    } finally {
      guest.add(GUEST_STARVED, -1);
      const ms = (this.#now?.() ?? 0) - start;
      guest.add(COUNT_STARVED_MS, Math.round(ms));
      this.#stalled(ms);
    }
  }

  /** Notes that the hart has waited for memory. */
  #stalled(ms: number): void {
    this.#control.guest.add(COUNT_STALLED_US, Math.round(ms * 1000));
  }

  /** The wait that was announced: until somebody makes progress, or for a moment. */
  sleep(): void {
    const { i32 } = this.#memory;
    this.#control.park();
    Atomics.wait(i32, HEADER_PROGRESS, this.#progress, LOOK_MS);
    Atomics.sub(i32, HEADER_WAITING, 1);
    this.#control.unpark();
    this.#lookForStop();
  }

  #lookForStop(): void {
    if (this.#control.guest.get(GUEST_STATE) !== GUEST_RUNNING) {
      throw new GuestStoppedError(this.#control.guest.name);
    }
  }
}
