/** Follows how much of its time a guest waits for memory: for a free frame, or for a page from swap. */

import type { Guest } from './guest.ts';
import { COUNT_STALLED_US } from './layout-guest.ts';

/** Time over which is averaged, milliseconds; what was longer ago counts less and less. */
const SPAN_MS = 5000;

/** The memory manager's view of one guest's waits. */
export class StallWatch {
  readonly #guest: Guest;
  #seen: number;
  #looked: number;
  #part = 0;

  constructor(guest: Guest, now: number) {
    this.#guest = guest;
    this.#seen = guest.get(COUNT_STALLED_US);
    this.#looked = now;
  }

  /** Part of the harts' time, 0 to 1, that was spent waiting for memory lately. */
  observe(now: number): number {
    const elapsed = now - this.#looked;
    if (elapsed > 0) {
      const count = this.#guest.get(COUNT_STALLED_US);
      const stalledMs = ((count - this.#seen) >>> 0) / 1000;
      const part = Math.min(1, stalledMs / (elapsed * this.#guest.harts));
      this.#part += (1 - Math.exp(-elapsed / SPAN_MS)) * (part - this.#part);
      this.#seen = count;
      this.#looked = now;
    }
    return this.#part;
  }
}
