/**
 * How much of its memory a guest is using, by sampling. The sample is a set of pages that a hash of their numbers chooses,
 * once for all (SHARDS, Waldspurger, FAST 2015). Looks at it read the accessed bits and clear them, and have the harts forget
 * the frames, so that the next use sets them again. Two things come of it: the working set, the pages used within a window,
 * which rises at once and falls slowly (Waldspurger, OSDI 2002, 5.3); and the miss-ratio curve, from reuse distances.
 *
 * What happens between two looks has no order and counts once. A frame that holds code is looked at less often: forgetting
 * frames of data leaves a hart its jump tables.
 */

import { frameHasCode } from './frames.ts';
import type { Guest } from './guest.ts';
import { NPT_ACCESSED, NPT_KIND_MASK, NPT_KIND_ZERO, NPT_PRESENT, NPT_RECENT, NPT_YOUNG } from './layout.ts';
import { COUNT_RESIDENT, MAX_HARTS } from './layout-guest.ts';
import { loadEntry, payloadOf } from './npt.ts';
import { MissCurve } from './reuse.ts';
import { requestShootdown, SHOOTDOWN_DATA } from './shootdown.ts';

/** How to sample. */
export interface WorkingSetOptions {
  /** Pages in a sample at most; 2048 by default. */
  samples?: number;
  /** Milliseconds between two looks; 1000 by default. */
  lookMs?: number;
  /** Milliseconds within which a page has been used to be in the working set; 5000 by default. */
  windowMs?: number;
  /** Milliseconds in which the working set falls to 37% of the way when a guest uses less; 15000 by default. */
  fallMs?: number;
  /** Milliseconds over which the miss-ratio curve is averaged; 30000 by default. */
  curveMs?: number;
  /** Is told of each look: the guest, the time, and the pages (their numbers, rising) that were used since the last one. */
  onLook?: (guest: Guest, now: number, used: Int32Array) => void;
}

/** What is known of a guest. */
export interface Usage {
  /** Working set in pages. */
  workingSet: number;
  /** Misses in a second if it had i / CURVE_PARTS of its configured memory; empty while nothing is known. */
  misses: readonly number[];
}

/** Looks at frames of data for each one at frames that hold code. */
const CODE_LOOKS = 4;
/** Used in the same way as an accessed bit: see NPT_YOUNG. */
const USED = NPT_ACCESSED | NPT_YOUNG;
/** Times that an entry is tried again which a hart changes at the same moment. */
const TRIES = 4;

interface Sample {
  readonly gfns: Int32Array;
  /** When each page was found used last. */
  readonly used: Float64Array;
  readonly curve: MissCurve;
  looked: number;
  looks: number;
  /** The working set as it falls. */
  slow: number;
  usage: Usage;
}

/** Whether a page is among the part of all pages, 0 to 1, that is sampled. */
export function isSampled(gfn: number, part: number): boolean {
  // murmur3's last step: neighbours land far apart.
  let hash = gfn + 0x9e37_79b9;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32 < part;
}

/** Samples the guests of a host; belongs to the memory manager's thread. */
export class WorkingSetSampler {
  readonly #samples: number;
  readonly #lookMs: number;
  readonly #windowMs: number;
  readonly #fallMs: number;
  readonly #curveMs: number;
  readonly #onLook: WorkingSetOptions['onLook'];
  readonly #bySlot = new Map<number, Sample>();
  readonly #numbers = new Int32Array(MAX_HARTS);

  constructor(options: WorkingSetOptions = {}) {
    this.#samples = options.samples ?? 2048;
    this.#lookMs = options.lookMs ?? 1000;
    this.#windowMs = options.windowMs ?? 5000;
    this.#fallMs = options.fallMs ?? 15_000;
    this.#curveMs = options.curveMs ?? 30_000;
    this.#onLook = options.onLook;
  }

  /** Forgets a guest that is gone. */
  forget(slot: number): void {
    this.#bySlot.delete(slot);
  }

  /** Looks at the sample when it is time. */
  observe(guest: Guest, now: number): Usage {
    let sample = this.#bySlot.get(guest.slot);
    if (sample === undefined) {
      sample = this.#begin(guest, now);
      this.#bySlot.set(guest.slot, sample);
    }
    if (now - sample.looked >= this.#lookMs) {
      this.#look(guest, sample, now);
    }
    if (sample.looks === 0) {
      // Nothing is known yet: all that the guest has taken counts as being used.
      return { workingSet: guest.get(COUNT_RESIDENT), misses: [] };
    }
    return sample.usage;
  }

  #begin(guest: Guest, now: number): Sample {
    const part = this.#samples / guest.pages;
    const gfns: number[] = [];
    for (let gfn = 0; gfn < guest.pages; gfn++) {
      if (isSampled(gfn, part)) gfns.push(gfn);
    }
    // A guest of a few pages might have none in the sample.
    const chosen = Int32Array.from(gfns.length > 0 ? gfns : [0]);
    return {
      gfns: chosen,
      used: new Float64Array(chosen.length).fill(Number.NEGATIVE_INFINITY),
      curve: new MissCurve(chosen.length, guest.pages, this.#curveMs),
      looked: now,
      looks: 0,
      slow: 0,
      usage: { workingSet: 0, misses: [] },
    };
  }

  #look(guest: Guest, sample: Sample, now: number): void {
    const { gfns, used, curve } = sample;
    const elapsed = now - sample.looked;
    const withCode = sample.looks % CODE_LOOKS === 0;
    curve.age(elapsed);
    const found: number[] = [];
    let recent = 0;
    for (let i = 0; i < gfns.length; i++) {
      const gfn = gfns[i]!;
      if (this.#take(guest, gfn, withCode, curve, i)) {
        used[i] = now;
        curve.use(i);
        found.push(gfn);
      }
      if (now - used[i]! < this.#windowMs) recent++;
    }
    sample.looked = now;
    sample.looks++;
    if (found.length > 0) {
      // Nobody has to wait: a hart that forgets later is counted as not having used the pages until then.
      requestShootdown(guest, this.#numbers, guest.allHarts, withCode ? undefined : SHOOTDOWN_DATA);
    }
    const pages = (recent / gfns.length) * guest.pages;
    sample.slow = Math.max(pages, pages + (sample.slow - pages) * Math.exp(-elapsed / this.#fallMs));
    sample.usage = { workingSet: Math.round(sample.slow), misses: curve.missesPerSecond() };
    this.#onLook?.(guest, now, Int32Array.from(found));
  }

  /** Whether a page was used since it was last looked at; its bits are cleared. */
  #take(guest: Guest, gfn: number, withCode: boolean, curve: MissCurve, place: number): boolean {
    const { memory } = guest;
    for (let tries = 0; tries < TRIES; tries++) {
      const entry = loadEntry(guest, gfn);
      if ((entry & NPT_PRESENT) === 0) {
        if ((entry & NPT_KIND_MASK) === NPT_KIND_ZERO) curve.remove(place);
        return false;
      }
      if ((entry & USED) === 0 || (!withCode && frameHasCode(memory, payloadOf(entry)))) {
        return false;
      }
      // The clock of the paging has not seen that use yet.
      const recent = (entry & NPT_ACCESSED) === 0 ? 0 : NPT_RECENT;
      const cleared = (entry & ~USED) | recent;
      if (Atomics.compareExchange(memory.i32, guest.npt + gfn, entry, cleared) === entry) {
        return true;
      }
    }
    return true;
  }
}
