/**
 * Follows how fast pages come back that were taken from a guest by paging: it has used them again, so that taking them was wrong, or
 * is no longer right.
 */

import type { Guest } from './guest.ts';
import { COUNT_POOL_INS, COUNT_SWAP_INS } from './layout-guest.ts';

/** Milliseconds in which the rate rises, or falls, by 63% of the way. */
const SPAN_MS = 1000;

/** The memory manager's view of the pages of one guest that come back. */
export class ReturnWatch {
  readonly #guest: Guest;
  #seen: number;
  #looked: number;
  #rate = 0;

  constructor(guest: Guest, now: number) {
    this.#guest = guest;
    this.#seen = returned(guest);
    this.#looked = now;
  }

  /** Pages in a second lately; those that were only read together with others don't count. */
  observe(now: number): number {
    const elapsed = now - this.#looked;
    if (elapsed > 0) {
      const count = returned(this.#guest);
      const rate = (((count - this.#seen) >>> 0) * 1000) / elapsed;
      this.#rate += (1 - Math.exp(-elapsed / SPAN_MS)) * (rate - this.#rate);
      this.#seen = count;
      this.#looked = now;
    }
    return this.#rate;
  }
}

const returned = (guest: Guest): number => (guest.get(COUNT_SWAP_INS) + guest.get(COUNT_POOL_INS)) >>> 0;
