import type { Guest } from '../memory/guest.ts';
import { HEADER_STATE, STATE_HIGH } from '../memory/layout.ts';
import { HartBlock } from './hart-block.ts';

/** Time between two requests, milliseconds; and for a guest that does nothing while memory is not short. */
const PERIOD_MS = 1000;
const IDLE_PERIOD_MS = 10_000;
/** A guest whose harts have executed so many since the last request, some milliseconds' worth, does something. */
const BUSY_INSTRUCTIONS = 5e6;

/**
 * When to ask the balloon driver for statistics. The answer is work for the guest, which has to be woken for it: more than
 * all else that an idle guest does, and that tells nothing new.
 */
export class StatisticsClock {
  readonly #guest: Guest;
  readonly #harts: readonly HartBlock[];
  readonly #now: () => number;
  #asked = Number.NEGATIVE_INFINITY;
  #instructions = 0;

  /** @param now a monotonic clock in milliseconds */
  constructor(guest: Guest, now: () => number) {
    this.#guest = guest;
    this.#harts = guest.allHarts.map((hart) => new HartBlock(guest, hart));
    this.#now = now;
  }

  /** Milliseconds until it is time, if the guest does nothing meanwhile and memory does not become short. */
  get msUntil(): number {
    return this.#asked + this.#period - this.#now();
  }

  /** True if it is time; the next time is then counted from now. */
  take(): boolean {
    if (this.#now() - this.#asked < this.#period) return false;
    this.#asked = this.#now();
    this.#instructions = this.#executed;
    return true;
  }

  get #executed(): number {
    return this.#harts.reduce((sum, { counts }) => sum + counts.instructions, 0);
  }

  get #period(): number {
    return this.#executed - this.#instructions >= BUSY_INSTRUCTIONS ? PERIOD_MS : this.#idlePeriod;
  }

  /** The memory manager wakes the guest when memory becomes short. */
  get #idlePeriod(): number {
    const state = Atomics.load(this.#guest.memory.i32, HEADER_STATE);
    return state === STATE_HIGH ? IDLE_PERIOD_MS : PERIOD_MS;
  }
}
