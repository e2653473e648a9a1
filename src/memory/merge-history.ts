/**
 * Which pages are not worth sharing: those that their guests write to again soon after they were merged, or while they are about
 * to be. Each such end doubles the time for which a page is left alone; one that stayed merged for a while is as good as new.
 * Time is counted in steps of STEP_MS and modulo STEPS, in two bytes for each page.
 */

import type { Guest } from './guest.ts';

/** Milliseconds of a step. */
const STEP_MS = 5000;
/** Steps after which a page that is still merged was worth it. */
const WORTH = 6;
/** Early ends in a row that count: the page is then left alone for 2^MOST_ENDS steps, some five minutes. */
const MOST_ENDS = 6;
/** Steps until the count begins anew. */
const STEPS = 255;

interface History {
  /** By page: 1 + the step in which it was merged, or came to an early end; 0: neither. */
  readonly steps: Uint8Array;
  /** By page: early ends in a row; MERGED is added while it is merged. */
  readonly ends: Uint8Array;
}

const MERGED = 0x80;

/** Remembers how merged pages came to their end; belongs to the memory manager's thread. */
export class MergeHistory {
  readonly #now: () => number;
  readonly #guests = new Map<number, History>();

  /** @param now milliseconds from any start */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A guest is gone. */
  forget(slot: number): void {
    this.#guests.delete(slot);
  }

  /** A page has been merged. */
  merged(guest: Guest, gfn: number): void {
    const { steps, ends } = this.#of(guest);
    ends[gfn] = (ends[gfn]! & ~MERGED) | MERGED;
    steps[gfn] = this.#step + 1;
  }

  /** A page was written to while it was about to be merged. */
  spoiled(guest: Guest, gfn: number): void {
    this.#end(this.#of(guest), gfn);
  }

  /** Whether a page that is not merged now is to be left alone. */
  rests(guest: Guest, gfn: number): boolean {
    const history = this.#guests.get(guest.slot);
    if (history === undefined || history.steps[gfn] === 0) return false;
    const { steps, ends } = history;
    const passed = this.#since(steps[gfn]!);
    if ((ends[gfn]! & MERGED) !== 0) {
      // It has been written to since it was merged. When that was is not known: at the latest now.
      ends[gfn]! &= ~MERGED;
      if (passed >= WORTH) {
        steps[gfn] = 0;
        ends[gfn] = 0;
        return false;
      }
      this.#end(history, gfn);
      return true;
    }
    if (passed < 2 ** ends[gfn]!) return true;
    steps[gfn] = 0;
    return false;
  }

  #end({ steps, ends }: History, gfn: number): void {
    ends[gfn] = Math.min(MOST_ENDS, (ends[gfn]! & ~MERGED) + 1);
    steps[gfn] = this.#step + 1;
  }

  get #step(): number {
    return Math.floor(this.#now() / STEP_MS) % STEPS;
  }

  #since(mark: number): number {
    return (this.#step - (mark - 1) + STEPS) % STEPS;
  }

  #of(guest: Guest): History {
    const known = this.#guests.get(guest.slot);
    if (known !== undefined) return known;
    const history = { steps: new Uint8Array(guest.pages), ends: new Uint8Array(guest.pages) };
    this.#guests.set(guest.slot, history);
    return history;
  }
}
