/**
 * Pages whose contents are to stand still, a batch at a time: what page sharing and paging have in common. Under the mutex
 * the entries become NPT_KIND_LEAVING (paging) or lose their write bit (sharing), without it the harts are shot down; then
 * nobody can write to the pages but one who has taken a page back meanwhile, which its entry shows. Under the mutex again,
 * each page that was left alone gets its new place. Only the memory manager's thread does any of this.
 */

import { frameFlag, frameReferences } from './frames.ts';
import type { Guest } from './guest.ts';
import { FRAME_SHARED, NPT_KIND_LEAVING, NPT_MERGED, NPT_PRESENT, NPT_WRITABLE, NPT_YOUNG } from './layout.ts';
import { MAX_HARTS } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, clearEntryBits, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import { awaitShootdown, type FlushPart, requestShootdown } from './shootdown.ts';
import { frameSlot } from './swap.ts';

/** A batch of leaving pages; reused. */
export class Transit {
  readonly #memory: MachineMemory;
  readonly #timeoutMs: number | undefined;
  readonly #onLate: (error: Error) => void;
  /** Guests of the batch and the numbers of their shootdowns. */
  readonly #guests = new Map<Guest, Int32Array>();
  readonly #late = new Set<Guest>();
  /** Guests that were late, and may hold the right to write to pages that were protected since. */
  readonly #owing = new Set<Guest>();
  /** The pages: guest, gfn and frame of each. */
  readonly guests: Guest[] = [];
  readonly gfns: number[] = [];
  readonly frames: number[] = [];

  /** `onLate` is told of each guest that did not acknowledge; its pages are not touched then. */
  constructor(memory: MachineMemory, onLate: (error: Error) => void, timeoutMs?: number) {
    this.#memory = memory;
    this.#onLate = onLate;
    this.#timeoutMs = timeoutMs;
  }

  /** Number of pages in the batch. */
  get length(): number {
    return this.gfns.length;
  }

  /** Forgets the batch; every page must have been given its place or restored. */
  clear(): void {
    this.guests.length = 0;
    this.gfns.length = 0;
    this.frames.length = 0;
    this.#guests.clear();
    this.#late.clear();
  }

  /** Under the mutex: makes a present page leave. Returns false, and does nothing, if it is not present. */
  add(guest: Guest, gfn: number): boolean {
    const entry = loadEntry(guest, gfn);
    if ((entry & NPT_PRESENT) === 0) {
      return false;
    }
    const mfn = payloadOf(entry);
    replaceEntry(guest, gfn, absentEntry(NPT_KIND_LEAVING, mfn));
    this.guests.push(guest);
    this.gfns.push(gfn);
    this.frames.push(mfn);
    this.include(guest);
    return true;
  }

  /** Under the mutex: takes the right to write from a present page, which stays mapped. */
  protect(guest: Guest, gfn: number): void {
    if ((loadEntry(guest, gfn) & NPT_WRITABLE) !== 0) {
      clearEntryBits(guest, gfn, NPT_WRITABLE);
      this.include(guest);
    } else if (this.#owing.has(guest)) {
      this.include(guest);
    }
  }

  /** Under the mutex: whether a page still is what `protect` has made it, so that its contents stand still. */
  still(guest: Guest, gfn: number, mfn: number): boolean {
    const entry = loadEntry(guest, gfn);
    return (entry & (NPT_PRESENT | NPT_WRITABLE)) === NPT_PRESENT && payloadOf(entry) === mfn && !this.#late.has(guest);
  }

  /** Under the mutex: gives the right to write back to a page that was protected in vain. */
  unprotect(guest: Guest, gfn: number, mfn: number): void {
    const entry = loadEntry(guest, gfn);
    if ((entry & (NPT_PRESENT | NPT_WRITABLE)) === NPT_PRESENT && payloadOf(entry) === mfn) {
      replaceEntry(guest, gfn, entry | (restoredBits(this.#memory, mfn) & NPT_WRITABLE));
    }
  }

  /** The guest's harts are to be shot down with the batch. */
  include(guest: Guest): void {
    if (!this.#guests.has(guest)) {
      this.#guests.set(guest, new Int32Array(MAX_HARTS));
    }
  }

  /** Without the mutex: shoots all harts of the guests down, for all frames or a part, and waits for them. */
  shoot(part?: FlushPart): void {
    for (const [guest, numbers] of this.#guests) {
      requestShootdown(guest, numbers, guest.allHarts, part);
    }
    for (const [guest, numbers] of this.#guests) {
      try {
        awaitShootdown(guest, numbers, guest.allHarts, this.#timeoutMs);
        this.#owing.delete(guest);
      } catch (error) {
        this.#late.add(guest);
        this.#owing.add(guest);
        this.#onLate(error as Error);
      }
    }
  }

  /** Whether the guest has not acknowledged, so that its pages may still be changing. */
  late(guest: Guest): boolean {
    return this.#late.has(guest);
  }

  /** Whether page `i` is still leaving, out of reach of every hart. Lasts only while the mutex is held. */
  settled(i: number): boolean {
    return this.leaving(i) && !this.#late.has(this.guests[i]!);
  }

  /** Whether page `i` is still leaving, though perhaps in reach of a late hart. */
  leaving(i: number): boolean {
    return loadEntry(this.guests[i]!, this.gfns[i]!) === absentEntry(NPT_KIND_LEAVING, this.frames[i]!);
  }

  /** Under the mutex: gives a page that is still leaving back to its guest. */
  restore(i: number): void {
    if (this.leaving(i)) {
      const guest = this.guests[i]!;
      const mfn = this.frames[i]!;
      replaceEntry(guest, this.gfns[i]!, presentEntry(mfn, restoredBits(this.#memory, mfn) | NPT_YOUNG));
    }
  }
}

/** NPT_WRITABLE if the one reference to a frame may write to it, NPT_MERGED if there are others. */
export function restoredBits(memory: MachineMemory, mfn: number): number {
  if (frameReferences(memory, mfn) > 1) {
    return NPT_MERGED;
  }
  return frameFlag(memory, mfn, FRAME_SHARED) || frameSlot(memory, mfn) >= 0 ? 0 : NPT_WRITABLE;
}
