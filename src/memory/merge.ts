/**
 * The second half of page sharing: candidates that seem to be alike are made read-only, the harts are shot down, and what
 * proves to be the same in every byte is merged. The frame that is left over is freed after the next shootdown, as harts
 * may read it until then; that does no harm, since it holds the same bytes, and whoever writes to a page meanwhile has all
 * frames forgotten.
 */

import {
  frameFlag,
  frameGeneration,
  frameHasCode,
  frameReferences,
  referenceFrame,
  releaseFrame,
  setFrameFlag,
} from './frames.ts';
import type { Guest } from './guest.ts';
import { type PageContents, zeroPage } from './hash.ts';
import type { HintTable } from './hints.ts';
import {
  FRAME_FILLING,
  FRAME_SHARED,
  NPT_ACCESSED,
  NPT_KIND_ZERO,
  NPT_MERGED,
  NPT_RECENT,
  NPT_YOUNG,
  PAGE_WORDS,
} from './layout.ts';
import { COUNT_MERGES, COUNT_ZERO_MERGES, GUEST_DOMAIN, GUEST_LEFT_OVER } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import type { MergeHistory } from './merge-history.ts';
import { absentEntry, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import { SHOOTDOWN_DATA } from './shootdown.ts';
import type { Transit } from './transit.ts';

/** A page that seems to have a double: another page, a shared frame, or the page of zeros. */
export interface Candidate {
  guest: Guest;
  gfn: number;
  mfn: number;
  /** Hash of the page. */
  low: number;
  high: number;
  /** The other page, if the double is one. */
  double?: { guest: Guest; gfn: number };
  /** The shared frame, if the double is one. */
  frame?: number;
}

/** What was merged. */
export interface MergeResult {
  /** Pages merged with another one. */
  merged: number;
  /** Pages of zeros that lost their frame. */
  zero: number;
}

/** Pages compared and merged, or frames freed, in one turn with the mutex. */
const CHUNK = 12;

/** Merges pages; belongs to the memory manager's thread. */
export class Merger {
  readonly #memory: MachineMemory;
  readonly #transit: Transit;
  readonly #hints: HintTable;
  readonly #contents: PageContents;
  readonly #history: MergeHistory;
  /** Left-over frames, by the guest whose harts may still read them. */
  readonly #held = new Map<Guest, number[]>();

  constructor(
    memory: MachineMemory,
    transit: Transit,
    hints: HintTable,
    contents: PageContents,
    history: MergeHistory,
  ) {
    this.#memory = memory;
    this.#transit = transit;
    this.#hints = hints;
    this.#contents = contents;
    this.#history = history;
  }

  /** Frames that this has a reference to; none after `settle`, unless a hart has not answered. */
  get held(): number[] {
    return [...this.#held.values()].flat();
  }

  /** Merges what it can of a batch of candidates. Without the mutex. */
  merge(candidates: readonly Candidate[], result: MergeResult): void {
    const memory = this.#memory;
    const transit = this.#transit;
    memory.lock();
    try {
      for (const { guest, gfn, double } of candidates) {
        transit.protect(guest, gfn);
        if (double !== undefined) {
          transit.protect(double.guest, double.gfn);
        }
      }
    } finally {
      memory.unlock();
    }
    this.#shoot();
    for (let start = 0; start < candidates.length; start += CHUNK) {
      memory.lock();
      try {
        for (const candidate of candidates.slice(start, start + CHUNK)) {
          const { guest, gfn, mfn } = candidate;
          if (transit.still(guest, gfn, mfn)) {
            if (this.#mergeOne(candidate, result)) continue;
          } else if (!transit.late(guest)) {
            this.#history.spoiled(guest, gfn);
          }
          transit.unprotect(guest, gfn, mfn);
        }
      } finally {
        memory.unlock();
      }
    }
    transit.clear();
  }

  /** Lets go of left-over frames after another shootdown, and one more if some of them have got code meanwhile. */
  settle(): void {
    for (let round = 0; round < 2 && this.#held.size > 0; round++) {
      const late = this.#shoot();
      this.#transit.clear();
      if (late) return;
    }
  }

  /** A guest is gone, and with it whoever could read its frames. */
  forget(slot: number): void {
    for (const [guest, frames] of this.#held) {
      if (guest.slot === slot) {
        this.#release(guest, frames);
        this.#held.delete(guest);
      }
    }
  }

  /** Under the mutex: merges a page that has left (transit, settled) into a shared frame if every byte is the same. */
  mergeInto(guest: Guest, gfn: number, mfn: number, target: number): boolean {
    if (!this.#matches(mfn, target)) {
      return false;
    }
    referenceFrame(this.#memory, target);
    replaceEntry(guest, gfn, presentEntry(target, NPT_MERGED | NPT_YOUNG));
    releaseFrame(this.#memory, mfn);
    guest.add(COUNT_MERGES, 1);
    return true;
  }

  /** Under the mutex: gives a page that has left up for the zero page if it is all zeros. */
  mergeZero(guest: Guest, gfn: number, mfn: number): boolean {
    if (!zeroPage(this.#memory.i32, mfn * PAGE_WORDS)) {
      return false;
    }
    replaceEntry(guest, gfn, absentEntry(NPT_KIND_ZERO, 0));
    releaseFrame(this.#memory, mfn);
    guest.add(COUNT_ZERO_MERGES, 1);
    return true;
  }

  /** Under the mutex: merges a candidate, whose contents stand still. */
  #mergeOne(candidate: Candidate, result: MergeResult): boolean {
    const memory = this.#memory;
    const { guest, gfn, mfn, double, frame } = candidate;
    if (double === undefined && frame === undefined) {
      if (!zeroPage(memory.i32, mfn * PAGE_WORDS)) {
        return false;
      }
      // Accessed: some TLB may still map the old frame when the next frame is put here.
      replaceEntry(guest, gfn, absentEntry(NPT_KIND_ZERO, 0) | NPT_ACCESSED);
      this.#hold(guest, mfn);
      this.#history.merged(guest, gfn);
      guest.add(COUNT_ZERO_MERGES, 1);
      result.zero++;
      return true;
    }
    let target = 0;
    if (double !== undefined) {
      target = this.#shareDouble(candidate, double);
    } else if (frame !== undefined && this.#matches(mfn, frame)) {
      target = frame;
    }
    if (target === 0) {
      return false;
    }
    referenceFrame(memory, target);
    const used = loadEntry(guest, gfn) & (NPT_ACCESSED | NPT_YOUNG | NPT_RECENT);
    replaceEntry(guest, gfn, presentEntry(target, NPT_MERGED | used));
    this.#hold(guest, mfn);
    this.#history.merged(guest, gfn);
    if (double !== undefined) this.#history.merged(double.guest, double.gfn);
    guest.add(COUNT_MERGES, 1);
    result.merged++;
    return true;
  }

  /**
   * The double is a page that is mapped. If it stands still, in a frame of its own, with the same contents, that frame
   * becomes a shared one. Returns it, or 0.
   */
  #shareDouble({ mfn, low, high }: Candidate, { guest, gfn }: { guest: Guest; gfn: number }): number {
    const memory = this.#memory;
    const entry = loadEntry(guest, gfn);
    const target = payloadOf(entry);
    if (!this.#transit.still(guest, gfn, target) || target === mfn || !this.#contents.same(mfn, target)) {
      return 0;
    }
    setFrameFlag(memory, target, FRAME_SHARED);
    if ((entry & NPT_MERGED) === 0) {
      replaceEntry(guest, gfn, entry | NPT_MERGED);
    }
    this.#hints.putFrame(low, high, target, frameGeneration(memory, target), guest.get(GUEST_DOMAIN));
    return target;
  }

  /** Under the mutex: whether `target` is a shared frame with the contents of `mfn`. */
  #matches(mfn: number, target: number): boolean {
    const memory = this.#memory;
    return (
      mfn !== target &&
      frameReferences(memory, target) > 0 &&
      frameFlag(memory, target, FRAME_SHARED) &&
      !frameFlag(memory, target, FRAME_FILLING) &&
      this.#contents.same(mfn, target)
    );
  }

  /**
   * Shoots down the harts of the batch and those that may still read left-over frames, which then are let go of. Code that harts
   * have translated or decoded stays, unless it is in one of these: to take the right to write away does not concern it.
   * Returns whether some guest has not answered.
   */
  #shoot(): boolean {
    const transit = this.#transit;
    for (const guest of this.#held.keys()) {
      transit.include(guest);
    }
    const withCode = this.held.some((mfn) => frameHasCode(this.#memory, mfn));
    transit.shoot(withCode ? undefined : SHOOTDOWN_DATA);
    let late = false;
    for (const [guest, frames] of this.#held) {
      if (transit.late(guest)) {
        late = true;
        continue;
      }
      // No page is mapped to them any more: what holds no code now gets none.
      const kept = withCode ? [] : frames.filter((mfn) => frameHasCode(this.#memory, mfn));
      this.#release(
        guest,
        frames.filter((mfn) => !kept.includes(mfn)),
      );
      if (kept.length > 0) this.#held.set(guest, kept);
      else this.#held.delete(guest);
    }
    this.#memory.progress();
    return late;
  }

  #release(guest: Guest, frames: readonly number[]): void {
    const memory = this.#memory;
    memory.lock();
    try {
      guest.add(GUEST_LEFT_OVER, -frames.length);
      for (const mfn of frames) {
        releaseFrame(memory, mfn);
      }
    } finally {
      memory.unlock();
    }
  }

  /** The page's reference to its old frame is kept until nobody can read the frame any more. */
  #hold(guest: Guest, mfn: number): void {
    guest.add(GUEST_LEFT_OVER, 1);
    const frames = this.#held.get(guest);
    if (frames === undefined) {
      this.#held.set(guest, [mfn]);
    } else {
      frames.push(mfn);
    }
  }
}
