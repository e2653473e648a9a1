/**
 * How fast the clock of the paging goes round a guest's memory. Where much is in use, what is in use looks the same as what is not if there
 * is too little time between the two hands; where all is in use and memory is very short, some of it has to go all the same.
 */

import type { Guest } from './guest.ts';
import { COUNT_RESIDENT, GUEST_WORKING_SET } from './layout-guest.ts';

/** Time in which it may go round, when the guest uses nothing and when it uses all that it has, milliseconds. */
const IDLE_REVOLUTION_MS = 1000;
const BUSY_REVOLUTION_MS = 30_000;
/** How much faster it is when memory is very short, at first, and after it has not found enough for some time. */
const LEAST_HURRY = 4;
const MOST_HURRY = 128;
/** Milliseconds in which it becomes twice as fast. */
const TWICE_MS = 1000;

/** The pace of one guest's clock. */
export class ClockPace {
  #hurry = LEAST_HURRY;

  /** Entries that the clock may pass in a time. */
  steps(guest: Guest, ms: number, hurry: boolean): number {
    const used = Math.min(1, guest.get(GUEST_WORKING_SET) / Math.max(1, guest.get(COUNT_RESIDENT)));
    const revolutionMs = IDLE_REVOLUTION_MS + used * (BUSY_REVOLUTION_MS - IDLE_REVOLUTION_MS);
    return Math.max(1, Math.ceil((guest.pages * ms * (hurry ? this.#hurry : 1)) / revolutionMs));
  }

  /** A time has passed, in which there was no time to wait and the clock has not found enough, or in which all was well. */
  pass(ms: number, short: boolean): void {
    const factor = 2 ** (ms / TWICE_MS);
    this.#hurry = short ? Math.min(MOST_HURRY, this.#hurry * factor) : Math.max(LEAST_HURRY, this.#hurry / factor);
  }
}
