/**
 * What guests use of their memory, by looks at a sample of it: accessed bits are read and cleared, and the harts forget the
 * frames, so that the next use sets them again. What happens between two looks has no order and counts once. Time is the guest's
 * own (Waldspurger, OSDI 2002, 5.3): one that waits for memory, or for a processor, uses nothing, and needs what it needed before all
 * the same. A frame that holds code is looked at less often: forgetting frames of data leaves a hart its jump tables.
 */

import { frameHasCode } from './frames.ts';
import type { Guest } from './guest.ts';
import { NPT_ACCESSED, NPT_KIND_MASK, NPT_KIND_ZERO, NPT_PRESENT, NPT_RECENT, NPT_YOUNG } from './layout.ts';
import { COUNT_FAULTS, COUNT_LOST_US, COUNT_RESIDENT, COUNT_STALLED_US, MAX_HARTS } from './layout-guest.ts';
import { loadEntry, payloadOf } from './npt.ts';
import { requestShootdown, SHOOTDOWN_DATA } from './shootdown.ts';
import { DEFAULT_SAMPLES, sampleOf, type Usage, UsageModel, type UsageOptions } from './usage.ts';

/** How to sample. */
export interface WorkingSetOptions extends UsageOptions {
  /** Pages in a sample at most; DEFAULT_SAMPLES by default. */
  samples?: number;
  /** Milliseconds between two looks; 1000 by default. */
  lookMs?: number;
  /** Is told of each look. */
  onLook?: (look: Look) => void;
}

/** A look at a guest's sample. */
export interface Look {
  guest: Guest;
  now: number;
  /** Milliseconds since the last look that its harts have lost, waiting for memory or for a processor, as a mean. */
  lost: number;
  /** Pages in a sample at most: with the guest's configured memory this says which pages are in it. */
  samples: number;
  /** Sampled pages that were used since the last look, and those that the guest has given back; rising. */
  used: readonly number[];
  gone: readonly number[];
}

/** Looks at frames of data for each one at frames that hold code. */
const CODE_LOOKS = 4;
/**
 * A guest that has used less than this part of its sample, not in the last look alone, and has had fewer faults since, is looked at in
 * so much longer intervals: what it has used before is idle sooner or later, and that must not show late.
 */
const CALM_PART = 1 / 64;
const CALM_FAULTS = 64;
const CALM_LOOKS = 4;
/** Used in the same way as an accessed bit: see NPT_YOUNG. */
const USED = NPT_ACCESSED | NPT_YOUNG;
/** What is found of a page. */
const [UNUSED, USED_NOW, GONE] = [0, 1, 2];
/** Times that an entry is tried again which a hart changes at the same moment. */
const TRIES = 4;

interface Sample {
  readonly gfns: Int32Array;
  /** 1 for pages that have been used, and not been given back since. */
  readonly known: Uint8Array;
  readonly model: UsageModel;
  looked: number;
  /** What COUNT_LOST_US and COUNT_STALLED_US were then. */
  lost: number;
  stalled: number;
  looks: number;
  /** Whether the last look found hardly anything, and the guest's faults at that time. */
  calm: boolean;
  faults: number;
  usage: Usage;
}

/** Samples the guests of a host; belongs to the memory manager's thread. */
export class WorkingSetSampler {
  readonly #samples: number;
  readonly #lookMs: number;
  readonly #options: WorkingSetOptions;
  readonly #bySlot = new Map<number, Sample>();
  readonly #numbers = new Int32Array(MAX_HARTS);

  constructor(options: WorkingSetOptions = {}) {
    this.#samples = options.samples ?? DEFAULT_SAMPLES;
    this.#lookMs = options.lookMs ?? 1000;
    this.#options = options;
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
    const calm = sample.calm && ((guest.get(COUNT_FAULTS) - sample.faults) | 0) < CALM_FAULTS;
    if (now - sample.looked >= (calm ? CALM_LOOKS * this.#lookMs : this.#lookMs)) {
      this.#look(guest, sample, now);
    }
    if (sample.looks === 0) {
      // Nothing is known yet: all that the guest has taken counts as being used.
      return { workingSet: guest.get(COUNT_RESIDENT), misses: [] };
    }
    return sample.usage;
  }

  #begin(guest: Guest, now: number): Sample {
    const gfns = sampleOf(guest.pages, this.#samples);
    return {
      gfns,
      known: new Uint8Array(gfns.length),
      model: new UsageModel(gfns.length, guest.pages, this.#options),
      looked: now,
      lost: guest.get(COUNT_LOST_US),
      stalled: guest.get(COUNT_STALLED_US),
      looks: 0,
      calm: false,
      faults: 0,
      usage: { workingSet: 0, misses: [] },
    };
  }

  #look(guest: Guest, sample: Sample, now: number): void {
    const { gfns, known, model } = sample;
    const withCode = sample.calm || sample.looks % CODE_LOOKS === 0;
    const used: number[] = [];
    const gone: number[] = [];
    for (let i = 0; i < gfns.length; i++) {
      const state = this.#take(guest, gfns[i]!, withCode);
      if (state === USED_NOW) {
        known[i] = 1;
        used.push(i);
      } else if (state === GONE && known[i] === 1) {
        known[i] = 0;
        gone.push(i);
      }
    }
    if (used.length > 0) {
      // Nobody has to wait: a hart that forgets later is counted as not having used the pages until then.
      requestShootdown(guest, this.#numbers, guest.allHarts, withCode ? undefined : SHOOTDOWN_DATA);
    }
    const lost = lostTime(guest, sample);
    sample.usage = model.look(Math.max(0, now - sample.looked - lost), used, gone);
    sample.looked = now;
    sample.lost = guest.get(COUNT_LOST_US);
    sample.stalled = guest.get(COUNT_STALLED_US);
    sample.looks++;
    sample.calm = Math.max(used.length, model.recent) < gfns.length * CALM_PART;
    sample.faults = guest.get(COUNT_FAULTS);
    const gfnOf = (place: number): number => gfns[place]!;
    this.#options.onLook?.({ guest, now, lost, samples: this.#samples, used: used.map(gfnOf), gone: gone.map(gfnOf) });
  }

  /** Whether a page was used since it was last looked at, in which case its bits are cleared, or has been given back. */
  #take(guest: Guest, gfn: number, withCode: boolean): number {
    const { memory } = guest;
    for (let tries = 0; tries < TRIES; tries++) {
      const entry = loadEntry(guest, gfn);
      if ((entry & NPT_PRESENT) === 0) {
        return (entry & NPT_KIND_MASK) === NPT_KIND_ZERO ? GONE : UNUSED;
      }
      if ((entry & USED) === 0 || (!withCode && frameHasCode(memory, payloadOf(entry)))) {
        return UNUSED;
      }
      // The clock of the paging has not seen that use yet.
      const recent = (entry & NPT_ACCESSED) === 0 ? 0 : NPT_RECENT;
      const cleared = (entry & ~USED) | recent;
      if (Atomics.compareExchange(memory.i32, guest.npt + gfn, entry, cleared) === entry) {
        break;
      }
    }
    return USED_NOW;
  }
}

/** Milliseconds since the last look that the guest's harts had something to do and did not do it, as a mean. */
function lostTime(guest: Guest, { lost, stalled }: Sample): number {
  // What is lost while memory is waited for shows only when the wait is over, and not at all where nobody measures.
  const lostUs = Math.max((guest.get(COUNT_LOST_US) - lost) >>> 0, (guest.get(COUNT_STALLED_US) - stalled) >>> 0);
  return lostUs / 1000 / guest.harts;
}
