/**
 * Pages in swap that are overwritten: they get a frame without being read, stores go to it and are noted byte by byte, and
 * when all bytes have been stored the slot is given up. A load or an atomic access has the page read after all; only what was
 * not stored is taken from it. A store to such a page never gets into a TLB, so that each is seen; a page that is stored to
 * again and again without ever being whole is read, so that it does not stay slow.
 *
 * In the nested page table such a page is on its way in (NPT_KIND_COMING, FRAME_FILLING). What is noted of it stands in a
 * record of the guest's table (GUEST_OVERWRITES, changed under the mutex), as any of its harts may want the page:
 *
 *     word 0       gfn + 1, 0: the record is free
 *     word 1       mfn
 *     word 2       slot
 *     word 3       the one hart that stores to the page now
 *     word 4       0, or 1 + the hart that is bringing the record to an end
 *     word 5       bytes that were not stored yet; from here on all is written by the storing hart's thread
 *     word 6       stores to bytes that had been stored before
 *     word 7       number of the record's beginning: the lowest is the oldest
 *     words 16..   a bit for each byte that was stored
 *
 * A store is made first and noted then, without a poll in between. So whoever ends a record of another hart marks it, which
 * keeps that hart from beginning a store, shoots the hart down, and then finds all stores noted.
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
import { COUNT_OVERWRITES, COUNT_SWAP_INS, GUEST_BLOCKED, GUEST_OVERWRITES } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, hasSlot, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import type { FlushPart } from './shootdown.ts';
import { associateSlot, dissociateSlot, slotFrame, slotObject, slotReferences } from './swap.ts';
import type { SwapReader } from './swap-in.ts';

const [GFN, FRAME, SLOT, HART, CLOSING, MISSING, REPEATS, BEGUN] = [0, 1, 2, 3, 4, 5, 6, 7];
const STORED = 16;
const RECORD_WORDS = STORED + PAGE_SIZE / 32;
/** Pages of a guest that may be half overwritten at one time: their records fill a page of the VMM heap. */
const RECORDS = Math.floor(PAGE_SIZE / 4 / RECORD_WORDS);
/**
 * Stores to bytes that were stored before, from which on a page is read: as many as it takes to store a whole page. They cost as
 * much as some reads of a page, once.
 */
const MOST_REPEATS = PAGE_SIZE / 8;
/** What it counts for when another hart goes on. */
const REPEATS_OF_A_CHANGE = 64;

/** `store`: make the page writable in the ordinary way. */
export const STORE_REFUSED = 0;
/** `store`: look at the entry again. */
export const STORE_AGAIN = -1;

/** The records of a guest, for checks: gfn and frame of each page that is being overwritten. */
export function overwrittenPages(guest: Guest): { gfn: number; frame: number }[] {
  const { i32 } = guest.memory;
  const table = guest.get(GUEST_OVERWRITES) >>> 2;
  const records = Array.from({ length: RECORDS }, (_, i) => table + i * RECORD_WORDS);
  return records.flatMap((at) => (i32[at] === 0 ? [] : [{ gfn: i32[at]! - 1, frame: i32[at + FRAME]! }]));
}

/** The pages of a guest that are being overwritten, as the thread of one of its harts sees them. */
export class Overwrites {
  readonly #guest: Guest;
  readonly #memory: MachineMemory;
  readonly #hart: number;
  readonly #reader: SwapReader;
  readonly #flushOthers: (harts: readonly number[], part: FlushPart) => void;
  readonly #table: number;
  /** The record and the offset of the last address that `store` has given. */
  #record = 0;
  #offset = 0;

  /** `flushOthers` shoots other harts of the guest down. */
  constructor(
    guest: Guest,
    hart: number,
    reader: SwapReader,
    flushOthers: (harts: readonly number[], part: FlushPart) => void,
  ) {
    this.#guest = guest;
    this.#memory = guest.memory;
    this.#hart = hart;
    this.#reader = reader;
    this.#flushOthers = flushOthers;
    this.#table = guest.get(GUEST_OVERWRITES) >>> 2;
  }

  /** The record of a page, 0 if it is not being overwritten. What it says holds while the mutex is held, or for the storing hart. */
  find(gfn: number): number {
    const { i32 } = this.#memory;
    const end = this.#table + RECORDS * RECORD_WORDS;
    for (let at = this.#table; at < end; at += RECORD_WORDS) {
      if (Atomics.load(i32, at + GFN) === gfn + 1) return at;
    }
    return 0;
  }

  /** The slot of a record's page. */
  slotOf(record: number): number {
    return this.#memory.i32[record + SLOT]!;
  }

  /** Under the mutex: this hart is to bring a record to an end. False if another one does. */
  claim(record: number): boolean {
    const { i32 } = this.#memory;
    if (i32[record + CLOSING] !== 0) return false;
    Atomics.store(i32, record + CLOSING, this.#hart + 1);
    return true;
  }

  /** A page that has to be read before another one can be overwritten; -1 if there is none. */
  get surplus(): number {
    const { i32 } = this.#memory;
    let oldest = this.#table;
    for (let i = 0; i < RECORDS; i++) {
      const at = this.#table + i * RECORD_WORDS;
      if (Atomics.load(i32, at + GFN) === 0) return -1;
      if (i32[at + BEGUN]! < i32[oldest + BEGUN]!) oldest = at;
    }
    return i32[oldest + GFN]! - 1;
  }

  /** Whether another page has to be read before a store to this one can be looked at: it is in swap, and there is no free record. */
  hasNoRoomFor(gfn: number): boolean {
    return hasSlot(loadEntry(this.#guest, gfn)) && this.surplus >= 0;
  }

  /**
   * The hart is about to store within a page that the nested page table does not let it write to. Returns the machine address
   * for this one store, STORE_REFUSED or STORE_AGAIN. If the store is made, `noteStore` has to be called behind it,
   * before the hart polls. The hart is parked on the way to STORE_AGAIN only.
   */
  store(gfn: number, offset: number): number {
    const { i32 } = this.#memory;
    const record = this.find(gfn) || this.#begin(gfn);
    if (record === 0) {
      return STORE_REFUSED;
    }
    if (i32[record + HART] !== this.#hart) {
      return this.#takeOver(gfn) ? STORE_AGAIN : STORE_REFUSED;
    }
    if (Atomics.load(i32, record + CLOSING) !== 0 || i32[record + REPEATS]! >= MOST_REPEATS) {
      return STORE_REFUSED;
    }
    this.#record = record;
    this.#offset = offset;
    return i32[record + FRAME]! * PAGE_SIZE + offset;
  }

  /** The store that `store` has last given an address for was made, with so many bytes. */
  noteStore(bytes: number): void {
    const { i32, u8 } = this.#memory;
    const record = this.#record;
    const stored = (record + STORED) * 4;
    let missing = i32[record + MISSING]!;
    const before = missing;
    for (let i = this.#offset; i < this.#offset + bytes; i++) {
      const at = stored + (i >>> 3);
      const bit = 1 << (i & 7);
      if ((u8[at]! & bit) === 0) {
        u8[at]! |= bit;
        missing--;
      }
    }
    i32[record + MISSING] = missing;
    if (missing > before - bytes) i32[record + REPEATS]!++;
    if (missing === 0) this.#endOwn(record);
  }

  /**
   * Without the mutex, the hart parked: reads what was not stored, and makes the page of a claimed record an ordinary one.
   * Throws SwapReadError; then the page is being overwritten as before.
   */
  complete(record: number): void {
    const memory = this.#memory;
    const { i32 } = memory;
    this.#awaitStores(record);
    if (i32[record + MISSING] === 0) {
      this.#finish(record, COUNT_OVERWRITES);
      return;
    }
    const slot = i32[record + SLOT]!;
    const bytes = new Uint8Array(PAGE_SIZE);
    try {
      this.#reader.readInto(slot, [bytes]);
    } catch (error) {
      const gfn = i32[record + GFN]! - 1;
      this.#release(record);
      throw new SwapReadError(this.#guest.name, gfn, slot, error);
    }
    this.#fill(record, bytes);
    this.#finish(record, COUNT_SWAP_INS);
  }

  /**
   * What was in pages does not matter any more: they become ordinary ones without being read. Without the mutex; a page that another
   * hart just brings in is left alone.
   */
  settle(gfn: number, count: number): void {
    const { i32 } = this.#memory;
    for (let i = 0; i < RECORDS; i++) {
      const page = Atomics.load(i32, this.#table + i * RECORD_WORDS + GFN) - 1;
      const record = page >= gfn && page < gfn + count ? this.#claimed(page) : 0;
      if (record !== 0) this.#discard(record);
    }
  }

  #discard(record: number): void {
    this.#awaitStores(record);
    // The frame has had other contents.
    this.#fill(record, new Uint8Array(PAGE_SIZE));
    this.#finish(record, COUNT_OVERWRITES);
  }

  /** The record of a page, claimed; 0 if there is none, or another hart has it. */
  #claimed(gfn: number): number {
    if (this.find(gfn) === 0) {
      return 0;
    }
    const memory = this.#memory;
    memory.lock();
    try {
      const record = this.find(gfn);
      return record !== 0 && this.claim(record) ? record : 0;
    } finally {
      memory.unlock();
    }
  }

  /** This hart goes on where another one has begun. False if a third one brings the page in. */
  #takeOver(gfn: number): boolean {
    const { i32 } = this.#memory;
    const record = this.#claimed(gfn);
    if (record === 0) {
      return false;
    }
    this.#awaitStores(record);
    i32[record + HART] = this.#hart;
    i32[record + REPEATS]! += REPEATS_OF_A_CHANGE;
    this.#release(record);
    return true;
  }

  /** All stores of the hart that stores to the page are noted afterwards. */
  #awaitStores(record: number): void {
    const hart = this.#memory.i32[record + HART]!;
    // Nothing is to be forgotten: no TLB has the frame.
    if (hart !== this.#hart) this.#flushOthers([hart], [0, this.#memory.i32[record + FRAME]!, 0]);
  }

  /** The page of a claimed record goes on being overwritten. */
  #release(record: number): void {
    const memory = this.#memory;
    memory.lock();
    Atomics.store(memory.i32, record + CLOSING, 0);
    memory.unlock();
    memory.progress();
  }

  /** Every byte was stored, by this hart. */
  #endOwn(record: number): void {
    const memory = this.#memory;
    memory.lock();
    const claimed = this.claim(record);
    memory.unlock();
    // Otherwise another hart is waiting for this one, and finds that nothing is missing.
    if (claimed) this.#finish(record, COUNT_OVERWRITES);
  }

  /** Gives the bytes that were not stored the contents of `bytes`. */
  #fill(record: number, bytes: Uint8Array): void {
    const { i32, u8 } = this.#memory;
    const target = this.#memory.page(i32[record + FRAME]!);
    const stored = (record + STORED) * 4;
    for (let i = 0; i < PAGE_SIZE; i++) {
      if ((u8[stored + (i >>> 3)]! & (1 << (i & 7))) === 0) target[i] = bytes[i]!;
    }
  }

  #finish(record: number, count: number): void {
    const guest = this.#guest;
    const memory = this.#memory;
    const { i32 } = memory;
    memory.lock();
    try {
      const frame = i32[record + FRAME]!;
      const gfn = i32[record + GFN]! - 1;
      clearFrameFlag(memory, frame, FRAME_FILLING);
      dissociateSlot(memory, frame);
      replaceEntry(guest, gfn, presentEntry(frame, NPT_WRITABLE | NPT_ACCESSED | NPT_DIRTY));
      Atomics.store(i32, record + GFN, 0);
      guest.add(count, 1);
    } finally {
      memory.unlock();
    }
    memory.progress();
  }

  /** Gives a page in swap a frame, if no other page is in its slot and it would have to be read. */
  #begin(gfn: number): number {
    const guest = this.#guest;
    const memory = this.#memory;
    const { i32 } = memory;
    if (!hasSlot(loadEntry(guest, gfn)) || (i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_STORES) !== 0) {
      return 0;
    }
    memory.lock();
    try {
      const entry = loadEntry(guest, gfn);
      const slot = payloadOf(entry);
      const record = this.find(-1);
      const alone =
        hasSlot(entry) &&
        slotReferences(memory, slot) === 1 &&
        slotFrame(memory, slot) === 0 &&
        slotObject(memory, slot) === 0;
      const frame = record !== 0 && alone && guest.get(GUEST_BLOCKED) === 0 ? allocateFrame(memory) : 0;
      if (frame === 0) {
        return 0;
      }
      // Nobody else sees these bytes before they are stored or read.
      associateSlot(memory, frame, slot);
      setFrameFlag(memory, frame, FRAME_FILLING);
      replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, frame));
      let begun = 0;
      for (let i = 0; i < RECORDS; i++) begun = Math.max(begun, i32[this.#table + i * RECORD_WORDS + BEGUN]!);
      i32.fill(0, record, record + RECORD_WORDS);
      i32[record + FRAME] = frame;
      i32[record + SLOT] = slot;
      i32[record + HART] = this.#hart;
      i32[record + MISSING] = PAGE_SIZE;
      i32[record + BEGUN] = begun + 1;
      Atomics.store(i32, record + GFN, gfn + 1);
      return record;
    } finally {
      memory.unlock();
    }
  }
}
