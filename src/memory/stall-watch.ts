/** Follows how much of its time a guest waits for memory: for a free frame, or for a page from swap. */

import type { Guest } from './guest.ts';
import { COUNT_STALLED_US } from './layout-guest.ts';
import { CounterRate } from './rate.ts';

/** Time over which is averaged, milliseconds; what was longer ago counts less and less. */
const SPAN_MS = 5000;

/** The memory manager's view of one guest's waits. */
export class StallWatch {
  readonly #rate: CounterRate;
  /** Microseconds that its harts have in a millisecond. */
  readonly #all: number;

  constructor(guest: Guest, now: number) {
    this.#all = guest.harts * 1000;
    this.#rate = new CounterRate(() => guest.get(COUNT_STALLED_US), SPAN_MS, now, this.#all);
  }

  /** Part of the harts' time, 0 to 1, that was spent waiting for memory lately. */
  observe(now: number): number {
    return this.#rate.observe(now) / this.#all;
  }
}
