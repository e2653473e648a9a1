/**
 * Page sharing: finds pages with the same contents, across guests and inside one, and lets them be one frame, copy-on-write.
 * Pages of zeros need no frame at all.
 *
 * Pages are taken at random and by a sweep, hashed while their guest runs, and looked up in a table of hints. A page that
 * seems to have a double is made to leave (transit.ts), its double is write-protected, the harts are shot down, and only
 * then, when neither can change, every byte is compared and the pages are merged. Unmatched pages leave but a hint, and stay
 * writable.
 */

import { frameFlag, frameGeneration, frameReferences, referenceFrame, releaseFrame, setFrameFlag } from './frames.ts';
import type { Guest } from './guest.ts';
import { PageHasher, samePage, zeroPage } from './hash.ts';
import { HintTable } from './hints.ts';
import {
  FRAME_FILLING,
  FRAME_SHARED,
  NPT_KIND_ZERO,
  NPT_MERGED,
  NPT_PRESENT,
  NPT_WRITABLE,
  NPT_YOUNG,
  PAGE_WORDS,
} from './layout.ts';
import { COUNT_MERGES, COUNT_ZERO_MERGES, GUEST_DOMAIN } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import type { Transit } from './transit.ts';

/** What a scan has done. */
export interface ScanResult {
  /** Pages hashed. */
  scanned: number;
  /** Pages merged with another one. */
  merged: number;
  /** Pages of zeros that lost their frame. */
  zero: number;
}

/** Candidates in a batch: one shootdown for all of them. */
const BATCH = 48;
/** Pages compared and merged in one turn with the mutex. */
const CHUNK = 12;
/** Pages hashed between two looks at the clock. */
const LOOK_PAGES = 32;
const NO_DOUBLE = -1;

/** The page sharing of a host; belongs to the memory manager's thread. */
export class Sharing {
  readonly #memory: MachineMemory;
  readonly #transit: Transit;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #hints: HintTable;
  readonly #hasher = new PageHasher();
  /** Sweep position of each guest, by slot. */
  readonly #hands = new Map<number, number>();
  // The candidates: page (guest, gfn), its hash, and its double: a page of a guest, or a frame with guest undefined.
  readonly #guests: Guest[] = [];
  readonly #gfns: number[] = [];
  readonly #lows: number[] = [];
  readonly #highs: number[] = [];
  readonly #doubles: (Guest | undefined)[] = [];
  /** gfn of the double, its mfn, or NO_DOUBLE for a page of zeros. */
  readonly #doubleNumbers: number[] = [];

  constructor(memory: MachineMemory, transit: Transit, random: () => number, now: () => number) {
    this.#memory = memory;
    this.#transit = transit;
    this.#random = random;
    this.#now = now;
    this.#hints = new HintTable(memory.guestFrames);
  }

  /** Forgets a guest that is gone; hints that name it find nothing any more. */
  forget(slot: number): void {
    this.#hands.delete(slot);
  }

  /**
   * Hashes up to `pages` pages of the guests, until `now` reaches `deadline`, and merges what it can. Every other page is
   * taken at random, so that doubles are found early; the rest by a sweep, so that all are found in the end.
   */
  scan(guests: readonly Guest[], pages: number, deadline: number): ScanResult {
    const result: ScanResult = { scanned: 0, merged: 0, zero: 0 };
    const bySlot = new Map<number, Guest>();
    let total = 0;
    for (const guest of guests) {
      bySlot.set(guest.slot, guest);
      total += guest.pages;
    }
    if (total === 0) {
      return result;
    }
    const limit = Math.min(pages * 8, total);
    for (let looks = 0; result.scanned < pages && looks < limit; looks++) {
      if (looks % LOOK_PAGES === 0 && this.#now() >= deadline) {
        break;
      }
      const guest = this.#choose(guests, total);
      const gfn = looks % 2 === 0 ? Math.floor(this.#random() * guest.pages) : this.#sweep(guest);
      if (this.#consider(guest, gfn, bySlot)) {
        result.scanned++;
      }
      if (this.#gfns.length >= BATCH) {
        this.#merge(result);
      }
    }
    this.#merge(result);
    return result;
  }

  /**
   * Whether a page that has left (transit, settled) has the contents of a frame that is shared already. Returns the mfn or 0.
   * Under the mutex the caller then has to call `mergeInto`, which looks again.
   */
  lookUp(guest: Guest, mfn: number): number {
    const salt = guest.get(GUEST_DOMAIN);
    this.#hasher.hash(this.#memory.i32, mfn * PAGE_WORDS, salt);
    const hint = salt < 0 ? -1 : this.#hints.find(this.#hasher.low, this.#hasher.high);
    return hint >= 0 && this.#hints.isFrame(hint) && this.#validFrame(hint) ? this.#hints.number(hint) : 0;
  }

  /** Under the mutex: merges a settled page into a shared frame if every byte is the same. */
  mergeInto(guest: Guest, gfn: number, mfn: number, target: number): boolean {
    const memory = this.#memory;
    if (
      mfn === target ||
      frameReferences(memory, target) === 0 ||
      !frameFlag(memory, target, FRAME_SHARED) ||
      frameFlag(memory, target, FRAME_FILLING) ||
      !samePage(memory.i32, mfn * PAGE_WORDS, target * PAGE_WORDS)
    ) {
      return false;
    }
    referenceFrame(memory, target);
    replaceEntry(guest, gfn, presentEntry(target, NPT_MERGED | NPT_YOUNG));
    releaseFrame(memory, mfn);
    guest.add(COUNT_MERGES, 1);
    return true;
  }

  /** Under the mutex: gives a settled page up for the zero page if it is all zeros. */
  mergeZero(guest: Guest, gfn: number, mfn: number): boolean {
    const memory = this.#memory;
    if (!zeroPage(memory.i32, mfn * PAGE_WORDS)) {
      return false;
    }
    replaceEntry(guest, gfn, absentEntry(NPT_KIND_ZERO, 0));
    releaseFrame(memory, mfn);
    guest.add(COUNT_ZERO_MERGES, 1);
    return true;
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
    const { i32 } = this.#memory;
    const hasher = this.#hasher;
    const salt = guest.get(GUEST_DOMAIN);
    hasher.hash(i32, mfn * PAGE_WORDS, salt);
    const { low, high } = hasher;
    if (hasher.zero) {
      this.#note(guest, gfn, low, high, undefined, NO_DOUBLE);
      return true;
    }
    if (salt < 0) {
      return true;
    }
    const hints = this.#hints;
    const hint = hints.find(low, high);
    if (hint >= 0) {
      if (hints.isFrame(hint)) {
        if (this.#validFrame(hint)) {
          if (hints.number(hint) !== mfn) {
            this.#note(guest, gfn, low, high, undefined, hints.number(hint));
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
          this.#note(guest, gfn, low, high, other, otherGfn);
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
    this.#hasher.hash(this.#memory.i32, mfn * PAGE_WORDS, guest.get(GUEST_DOMAIN));
    return this.#hasher.low === low && this.#hasher.high === high;
  }

  #validFrame(hint: number): boolean {
    const mfn = this.#hints.number(hint);
    return (
      frameGeneration(this.#memory, mfn) === this.#hints.generation(hint) && frameFlag(this.#memory, mfn, FRAME_SHARED)
    );
  }

  #note(guest: Guest, gfn: number, low: number, high: number, double: Guest | undefined, number: number): void {
    this.#guests.push(guest);
    this.#gfns.push(gfn);
    this.#lows.push(low);
    this.#highs.push(high);
    this.#doubles.push(double);
    this.#doubleNumbers.push(number);
  }

  /** Merges the candidates noted so far. */
  #merge(result: ScanResult): void {
    const count = this.#gfns.length;
    if (count === 0) {
      return;
    }
    const memory = this.#memory;
    const transit = this.#transit;
    const picked: number[] = [];
    memory.lock();
    try {
      for (let i = 0; i < count; i++) {
        if (transit.add(this.#guests[i]!, this.#gfns[i]!)) {
          picked.push(i);
        }
      }
      for (const i of picked) {
        const double = this.#doubles[i];
        if (double !== undefined) {
          transit.protect(double, this.#doubleNumbers[i]!);
        }
      }
    } finally {
      memory.unlock();
    }
    transit.shoot();
    for (let start = 0; start < picked.length; start += CHUNK) {
      memory.lock();
      try {
        const end = Math.min(start + CHUNK, picked.length);
        for (let position = start; position < end; position++) {
          if (!transit.settled(position) || !this.#mergeOne(picked[position]!, position, result)) {
            transit.restore(position);
          }
        }
      } finally {
        memory.unlock();
      }
    }
    memory.progress();
    transit.clear();
    for (const list of [this.#guests, this.#gfns, this.#lows, this.#highs, this.#doubles, this.#doubleNumbers]) {
      list.length = 0;
    }
  }

  /** Under the mutex: merges candidate `i`, which is page `position` of the batch, settled. */
  #mergeOne(i: number, position: number, result: ScanResult): boolean {
    const guest = this.#guests[i]!;
    const gfn = this.#gfns[i]!;
    const mfn = this.#transit.frames[position]!;
    const double = this.#doubles[i];
    const number = this.#doubleNumbers[i]!;
    if (double === undefined && number === NO_DOUBLE) {
      const merged = this.mergeZero(guest, gfn, mfn);
      result.zero += merged ? 1 : 0;
      return merged;
    }
    let merged: boolean;
    if (double === undefined) {
      merged = this.mergeInto(guest, gfn, mfn, number);
    } else {
      merged = this.#mergeWithPage(guest, gfn, mfn, double, number, i);
    }
    result.merged += merged ? 1 : 0;
    return merged;
  }

  /** The double is a page that is mapped; it stands still if it is read-only and its guest has acknowledged. */
  #mergeWithPage(guest: Guest, gfn: number, mfn: number, double: Guest, doubleGfn: number, i: number): boolean {
    const memory = this.#memory;
    const entry = loadEntry(double, doubleGfn);
    const target = payloadOf(entry);
    if (
      (entry & (NPT_PRESENT | NPT_WRITABLE)) !== NPT_PRESENT ||
      this.#transit.late(double) ||
      target === mfn ||
      !samePage(memory.i32, mfn * PAGE_WORDS, target * PAGE_WORDS)
    ) {
      return false;
    }
    setFrameFlag(memory, target, FRAME_SHARED);
    this.mergeInto(guest, gfn, mfn, target);
    if ((entry & NPT_MERGED) === 0) {
      replaceEntry(double, doubleGfn, entry | NPT_MERGED);
    }
    this.#hints.putFrame(this.#lows[i]!, this.#highs[i]!, target, frameGeneration(memory, target));
    return true;
  }
}
