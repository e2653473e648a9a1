/**
 * Page sharing: finds pages with the same contents, across guests and inside one, and lets them be one frame, copy-on-write.
 * Pages of zeros need no frame at all.
 *
 * Pages are taken as devices have written them, at random and by a sweep, hashed while their guest runs, and looked up in a
 * table of hints. Those that are written to again and again are left alone. A page that
 * seems to have a double is write-protected, and so is its double; the harts are shot down, and only then, when neither can
 * change, every byte is compared and the pages are merged. The frame that is left over is freed after the next shootdown.
 * Unmatched pages leave but a hint, and stay writable.
 */

import { Arrivals } from './arrivals.ts';
import { frameFlag, frameGeneration, frameReferences } from './frames.ts';
import type { Guest } from './guest.ts';
import { type PageContents, PlainContents } from './hash.ts';
import { HintTable } from './hints.ts';
import { FRAME_SHARED, NPT_MERGED, NPT_PRESENT } from './layout.ts';
import { DOMAIN_NONE, GUEST_DOMAIN } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { type Candidate, type MergeResult, Merger } from './merge.ts';
import { MergeHistory } from './merge-history.ts';
import { loadEntry, payloadOf } from './npt.ts';
import type { Transit } from './transit.ts';

/** What a scan has done. */
export interface ScanResult extends MergeResult {
  /** Pages hashed. */
  scanned: number;
}

/** Candidates in a batch: one shootdown for all of them. */
const BATCH = 256;
/** Pages hashed between two looks at the clock. */
const LOOK_PAGES = 32;

/** The page sharing of a host; belongs to the memory manager's thread. */
export class Sharing {
  readonly #memory: MachineMemory;
  /** Does the merging; paging asks it too. */
  readonly merger: Merger;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #hints: HintTable;
  readonly #hasher: PageContents;
  /** Sweep position of each guest, by slot. */
  readonly #hands = new Map<number, number>();
  readonly #candidates: Candidate[] = [];
  readonly #history: MergeHistory;
  readonly #arrivals = new Arrivals();

  /** @param contents by default looked at in JavaScript */
  constructor(
    memory: MachineMemory,
    transit: Transit,
    random: () => number,
    now: () => number,
    contents: PageContents = new PlainContents(memory.i32),
  ) {
    this.#memory = memory;
    this.#random = random;
    this.#now = now;
    this.#hints = new HintTable(memory.guestFrames);
    this.#hasher = contents;
    this.#history = new MergeHistory(now);
    this.merger = new Merger(memory, transit, this.#hints, contents, this.#history);
  }

  /** Forgets a guest that is gone; hints that name it find nothing any more. */
  forget(slot: number): void {
    this.#hands.delete(slot);
    this.#history.forget(slot);
    this.#arrivals.forget(slot);
    this.merger.forget(slot);
  }

  /**
   * Hashes up to `pages` pages of the guests, until `now` reaches `deadline`, and merges what it can: first those that devices
   * have written lately, then, by a sweep, all in turn. With `sample`, every other page is taken at random, so that doubles are
   * found early.
   */
  scan(guests: readonly Guest[], pages: number, deadline: number, sample = true): ScanResult {
    const result: ScanResult = { scanned: 0, merged: 0, zero: 0 };
    const bySlot = new Map<number, Guest>();
    const members: Guest[] = [];
    let total = 0;
    for (const guest of guests) {
      if (guest.get(GUEST_DOMAIN) === DOMAIN_NONE) continue;
      members.push(guest);
      bySlot.set(guest.slot, guest);
      total += guest.pages;
    }
    if (total === 0) {
      return result;
    }
    for (const guest of members) {
      while (result.scanned < pages && this.#now() < deadline) {
        const gfn = this.#arrivals.next(guest);
        if (gfn < 0) break;
        if (this.#consider(guest, gfn, bySlot)) result.scanned++;
        this.#mergeBatch(result, BATCH);
      }
    }
    const limit = Math.min(pages * 8, total);
    for (let looks = 0; result.scanned < pages && looks < limit; looks++) {
      if (looks % LOOK_PAGES === 0 && this.#now() >= deadline) {
        break;
      }
      const guest = this.#choose(members, total);
      const gfn = sample && looks % 2 === 0 ? Math.floor(this.#random() * guest.pages) : this.#sweep(guest);
      if (this.#consider(guest, gfn, bySlot)) {
        result.scanned++;
      }
      this.#mergeBatch(result, BATCH);
    }
    this.#mergeBatch(result, 1);
    this.merger.settle();
    return result;
  }

  /** Pages that devices have written since the last look at them. */
  arrived(guests: readonly Guest[]): number {
    return guests.reduce((sum, guest) => sum + this.#arrivals.pending(guest), 0);
  }

  /** Merges the candidates, if there are that many. */
  #mergeBatch(result: ScanResult, least: number): void {
    if (this.#candidates.length < least) return;
    this.merger.merge(this.#candidates, result);
    this.#candidates.length = 0;
  }

  /**
   * Whether a page that has left (transit, settled) has the contents of a frame that is shared already. Returns the mfn or 0.
   * Under the mutex the caller then has to call `merger.mergeInto`, which looks again.
   */
  lookUp(guest: Guest, mfn: number): number {
    const salt = guest.get(GUEST_DOMAIN);
    this.#hasher.hash(mfn, salt);
    const hint = salt < 0 ? -1 : this.#hints.find(this.#hasher.low, this.#hasher.high);
    return hint >= 0 && this.#hints.isFrame(hint) && this.#validFrame(hint, salt) ? this.#hints.number(hint) : 0;
  }

  /** A guest at random, each as likely as it has memory. */
  #choose(guests: readonly Guest[], total: number): Guest {
    let position = Math.floor(this.#random() * total);
    for (const guest of guests) {
      if (position < guest.pages) {
        return guest;
      }
      position -= guest.pages;
    }
    return guests[0]!;
  }

  /** The next page of the sweep that could be merged, or where the sweep got to. */
  #sweep(guest: Guest): number {
    let gfn = this.#hands.get(guest.slot) ?? 0;
    for (let i = 0; i < 64; i++) {
      gfn = gfn + 1 < guest.pages ? gfn + 1 : 0;
      if ((loadEntry(guest, gfn) & (NPT_PRESENT | NPT_MERGED)) === NPT_PRESENT) {
        break;
      }
    }
    this.#hands.set(guest.slot, gfn);
    return gfn;
  }

  /** Hashes a page, and notes it as a candidate or leaves a hint. Returns whether it was hashed. No mutex. */
  #consider(guest: Guest, gfn: number, bySlot: Map<number, Guest>): boolean {
    const entry = loadEntry(guest, gfn);
    const mfn = payloadOf(entry);
    if ((entry & (NPT_PRESENT | NPT_MERGED)) !== NPT_PRESENT || frameReferences(this.#memory, mfn) > 1) {
      return false;
    }
    if (this.#history.rests(guest, gfn)) {
      return false;
    }
    const hasher = this.#hasher;
    const salt = guest.get(GUEST_DOMAIN);
    hasher.hash(mfn, salt);
    const { low, high } = hasher;
    if (hasher.zero) {
      this.#candidates.push({ guest, gfn, mfn, low, high });
      return true;
    }
    if (salt < 0) {
      return true;
    }
    const hints = this.#hints;
    const hint = hints.find(low, high);
    if (hint >= 0) {
      if (hints.isFrame(hint)) {
        if (this.#validFrame(hint, salt)) {
          if (hints.number(hint) !== mfn) {
            this.#candidates.push({ guest, gfn, mfn, low, high, frame: hints.number(hint) });
          }
          return true;
        }
      } else {
        const other = bySlot.get(hints.slot(hint));
        const otherGfn = hints.number(hint);
        if (other === guest && otherGfn === gfn) {
          return true;
        }
        if (other?.get(GUEST_DOMAIN) === salt && this.#stillHas(other, otherGfn, mfn, low, high)) {
          this.#candidates.push({ guest, gfn, mfn, low, high, double: { guest: other, gfn: otherGfn } });
          return true;
        }
      }
    }
    hints.putPage(low, high, guest.slot, gfn);
    return true;
  }

  /** Whether a page that left a hint still has that hash, in a frame of its own. */
  #stillHas(guest: Guest, gfn: number, notFrame: number, low: number, high: number): boolean {
    const entry = gfn < guest.pages ? loadEntry(guest, gfn) : 0;
    const mfn = payloadOf(entry);
    if ((entry & NPT_PRESENT) === 0 || mfn === notFrame) {
      return false;
    }
    this.#hasher.hash(mfn, guest.get(GUEST_DOMAIN));
    return this.#hasher.low === low && this.#hasher.high === high;
  }

  /** Whether a hint names a frame that is shared in a domain still. */
  #validFrame(hint: number, domain: number): boolean {
    const mfn = this.#hints.number(hint);
    return (
      this.#hints.domain(hint) === domain &&
      frameGeneration(this.#memory, mfn) === this.#hints.generation(hint) &&
      frameFlag(this.#memory, mfn, FRAME_SHARED)
    );
  }
}
