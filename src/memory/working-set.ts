/**
 * How much of its memory a guest is using, by sampling: the accessed bits of a few random pages are cleared, and after a
 * period one counts how many were set again. The estimate is the largest of a slow moving average, a fast one, and a fast one
 * that already includes the period that is under way, so that it rises fast and falls slowly (Waldspurger, OSDI 2002, 5.3).
 */

import type { Guest } from './guest.ts';
import { NPT_ACCESSED, NPT_PRESENT, NPT_YOUNG } from './layout.ts';
import { COUNT_RESIDENT, MAX_HARTS } from './layout-guest.ts';
import { clearEntryBits, loadEntry } from './npt.ts';
import { requestShootdown } from './shootdown.ts';

/** How to sample. */
export interface WorkingSetOptions {
  /** Pages in a sample; 100 by default. */
  samples?: number;
  /** Milliseconds of a period; 5000 by default. */
  periodMs?: number;
}

/** Weight of a new period in the averages. */
const SLOW = 1 / 8;
const FAST = 1 / 2;
/** Looks at the sample in a period. */
const LOOKS = 20;
/** Used in the same way as an accessed bit: see NPT_YOUNG. */
const USED = NPT_ACCESSED | NPT_YOUNG;

interface Sample {
  gfns: Int32Array;
  start: number;
  slow: number;
  fast: number;
  first: boolean;
  /** Part of the sample that was touched when it was last looked at, and when that was. */
  touched: number;
  looked: number;
}

/** Samples the guests of a host; belongs to the memory manager's thread. */
export class WorkingSetSampler {
  readonly #random: () => number;
  readonly #samples: number;
  readonly #periodMs: number;
  readonly #bySlot = new Map<number, Sample>();
  readonly #numbers = new Int32Array(MAX_HARTS);

  constructor(random: () => number, options: WorkingSetOptions = {}) {
    this.#random = random;
    this.#samples = options.samples ?? 100;
    this.#periodMs = options.periodMs ?? 5000;
  }

  /** Forgets a guest that is gone. */
  forget(slot: number): void {
    this.#bySlot.delete(slot);
  }

  /** Looks at the sample, begins a new period when it is time, and returns the working set in pages. */
  observe(guest: Guest, now: number): number {
    let sample = this.#bySlot.get(guest.slot);
    if (sample === undefined) {
      sample = {
        gfns: new Int32Array(this.#samples),
        start: now,
        slow: 0,
        fast: 0,
        first: true,
        touched: 0,
        looked: now,
      };
      this.#bySlot.set(guest.slot, sample);
      this.#begin(guest, sample, now);
    }
    const over = now - sample.start >= this.#periodMs;
    if (over || now - sample.looked >= this.#periodMs / LOOKS) {
      sample.looked = now;
      sample.touched = this.#touched(guest, sample);
    }
    const fraction = sample.touched;
    if (over) {
      sample.slow = sample.first ? fraction : sample.slow + SLOW * (fraction - sample.slow);
      sample.fast = sample.first ? fraction : sample.fast + FAST * (fraction - sample.fast);
      sample.first = false;
      this.#begin(guest, sample, now);
      return Math.round(Math.max(sample.slow, sample.fast) * guest.pages);
    }
    if (sample.first) {
      // Nothing is known yet: all that the guest has taken counts as being used.
      return Math.max(Math.round(fraction * guest.pages), guest.get(COUNT_RESIDENT));
    }
    const partial = sample.fast + FAST * (fraction - sample.fast);
    return Math.round(Math.max(sample.slow, sample.fast, partial) * guest.pages);
  }

  #touched(guest: Guest, sample: Sample): number {
    let touched = 0;
    for (const gfn of sample.gfns) {
      const entry = loadEntry(guest, gfn);
      if ((entry & NPT_PRESENT) !== 0 && (entry & USED) !== 0) {
        touched++;
      }
    }
    return touched / sample.gfns.length;
  }

  #begin(guest: Guest, sample: Sample, now: number): void {
    const { memory } = guest;
    sample.start = now;
    sample.looked = now;
    sample.touched = 0;
    memory.lock();
    try {
      for (let i = 0; i < sample.gfns.length; i++) {
        const gfn = Math.floor(this.#random() * guest.pages);
        sample.gfns[i] = gfn;
        // Of a page that is not present the accessed bit says something else, and it would not be set again anyway.
        if ((loadEntry(guest, gfn) & NPT_PRESENT) !== 0) {
          clearEntryBits(guest, gfn, USED);
        }
      }
    } finally {
      memory.unlock();
    }
    // Nobody has to wait: a hart that flushes later is counted as not having used the pages until then.
    requestShootdown(guest, this.#numbers);
  }
}
