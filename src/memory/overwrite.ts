/**
 * Pages in swap that a hart overwrites: they get a frame without being read, stores go to it and are noted byte by byte, and
 * when all bytes have been stored the slot is given up. A load, an atomic access, or a second store to the same byte has the
 * page read after all; only what was not stored is taken from it. A store to such a page never gets into a TLB, so that each
 * is seen.
 *
 * For guests with one hart, whose thread this belongs to. In the nested page table such a page is on its way in
 * (NPT_KIND_COMING, FRAME_FILLING), so that everybody else leaves it alone.
 */

import { SwapReadError } from './errors.ts';
import { allocateFrame, clearFrameFlag, setFrameFlag } from './frames.ts';
import type { Guest } from './guest.ts';
import {
  FRAME_FILLING,
  HEADER_SWAP_NAIVE,
  NPT_ACCESSED,
  NPT_DIRTY,
  NPT_KIND_COMING,
  NPT_WRITABLE,
  PAGE_SIZE,
  SWAP_NAIVE_STORES,
} from './layout.ts';
import { COUNT_OVERWRITES, COUNT_SWAP_INS, GUEST_BLOCKED } from './layout-guest.ts';
import { absentEntry, hasSlot, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import { associateSlot, dissociateSlot, slotFrame, slotObject, slotReferences } from './swap.ts';
import type { SwapReader } from './swap-in.ts';

/** Pages of a guest that may be half overwritten at one time. */
const MOST_PAGES = 8;

interface Overwritten {
  readonly frame: number;
  readonly slot: number;
  /** 1 for each byte that was stored. */
  readonly stored: Uint8Array;
  missing: number;
}

/** The pages of one guest that are being overwritten. */
export class Overwrites {
  readonly #guest: Guest;
  readonly #reader: SwapReader;
  readonly #pages = new Map<number, Overwritten>();

  constructor(guest: Guest, reader: SwapReader) {
    this.#guest = guest;
    this.#reader = reader;
  }

  /** Whether a page is being overwritten. */
  holds(gfn: number): boolean {
    return this.#pages.size > 0 && this.#pages.has(gfn);
  }

  /** A page that has to be read before another one can be overwritten; undefined if there is none. */
  get surplus(): number | undefined {
    return this.#pages.size >= MOST_PAGES ? this.#pages.keys().next().value : undefined;
  }

  /**
   * A hart is about to store `bytes` bytes, within a page that the nested page table does not let it write to; 0 bytes: it is
   * not known yet how many. Returns the machine address for this one store, or 0: the page is to be made writable in the
   * ordinary way (or is already). Does not park, so that the store does follow: a guest with one hart changes nothing meanwhile.
   */
  store(gfn: number, offset: number, bytes: number): number {
    const page = this.#pages.get(gfn) ?? this.#begin(gfn);
    if (page === undefined) {
      return 0;
    }
    if (bytes > 0) {
      const { stored } = page;
      for (let i = offset; i < offset + bytes; i++) {
        if (stored[i] !== 0) return 0;
      }
      stored.fill(1, offset, offset + bytes);
      page.missing -= bytes;
      if (page.missing === 0) {
        this.settle(gfn);
        return 0;
      }
    }
    return page.frame * PAGE_SIZE + offset;
  }

  /** Without the mutex, the hart parked: reads what was not stored, and makes the page an ordinary one. Throws SwapReadError. */
  complete(gfn: number): void {
    const { frame, slot, stored } = this.#pages.get(gfn)!;
    const bytes = new Uint8Array(PAGE_SIZE);
    try {
      this.#reader.readInto(slot, [bytes]);
    } catch (error) {
      throw new SwapReadError(this.#guest.name, gfn, slot, error);
    }
    const target = this.#guest.memory.page(frame);
    for (let i = 0; i < PAGE_SIZE; i++) {
      if (stored[i] === 0) target[i] = bytes[i]!;
    }
    this.#finish(gfn, COUNT_SWAP_INS);
  }

  /** Makes a page an ordinary one without reading it: all of it was stored, or what was not does not matter. */
  settle(gfn: number): void {
    this.#finish(gfn, COUNT_OVERWRITES);
  }

  #finish(gfn: number, count: number): void {
    const guest = this.#guest;
    const { memory } = guest;
    const { frame } = this.#pages.get(gfn)!;
    this.#pages.delete(gfn);
    memory.lock();
    try {
      clearFrameFlag(memory, frame, FRAME_FILLING);
      dissociateSlot(memory, frame);
      replaceEntry(guest, gfn, presentEntry(frame, NPT_WRITABLE | NPT_ACCESSED | NPT_DIRTY));
      guest.add(count, 1);
    } finally {
      memory.unlock();
    }
    memory.progress();
  }

  /** Gives a page in swap a frame, if no other page is in its slot and it would have to be read. */
  #begin(gfn: number): Overwritten | undefined {
    const guest = this.#guest;
    const { memory } = guest;
    if (guest.harts > 1 || (memory.i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_STORES) !== 0) {
      return undefined;
    }
    memory.lock();
    try {
      const entry = loadEntry(guest, gfn);
      const slot = payloadOf(entry);
      const alone =
        hasSlot(entry) &&
        slotReferences(memory, slot) === 1 &&
        slotFrame(memory, slot) === 0 &&
        slotObject(memory, slot) === 0;
      const frame = alone && guest.get(GUEST_BLOCKED) === 0 ? allocateFrame(memory) : 0;
      if (frame === 0) {
        return undefined;
      }
      // Nobody else sees these bytes before they are stored or read.
      associateSlot(memory, frame, slot);
      setFrameFlag(memory, frame, FRAME_FILLING);
      replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, frame));
      const page = { frame, slot, stored: new Uint8Array(PAGE_SIZE), missing: PAGE_SIZE };
      this.#pages.set(gfn, page);
      return page;
    } finally {
      memory.unlock();
    }
  }
}
