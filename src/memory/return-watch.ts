/**
 * Follows how fast pages come back that were taken from a guest by paging: it has used them again, so that taking them was wrong, or
 * is no longer right.
 */

import type { Guest } from './guest.ts';
import { COUNT_POOL_INS, COUNT_SWAP_INS } from './layout-guest.ts';
import { CounterRate } from './rate.ts';

/** Milliseconds in which the rate rises, or falls, by 63% of the way. */
const SPAN_MS = 1000;

/** The memory manager's view of the pages of one guest that come back. */
export class ReturnWatch {
  readonly #rate: CounterRate;

  constructor(guest: Guest, now: number) {
    const returned = (): number => (guest.get(COUNT_SWAP_INS) + guest.get(COUNT_POOL_INS)) >>> 0;
    this.#rate = new CounterRate(returned, SPAN_MS, now);
  }

  /** Pages in a second lately; those that were only read together with others don't count. */
  observe(now: number): number {
    return this.#rate.observe(now) * 1000;
  }
}
