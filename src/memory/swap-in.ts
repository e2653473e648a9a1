/**
 * Reading pages back: from a frame that already has their contents, from the compressed pool, or from the swap file, where
 * neighbours of the page are read ahead in the same operation. Belongs to the thread of one hart; see fault.ts.
 *
 * Read ahead is what the guest has beside the page, upwards or downwards, and what lies beside it in the file, within a window.
 * A window that is followed by a miss at one of its ends doubles; misses that begin nothing have later windows begin small.
 */

import { SwapReadError } from './errors.ts';
import {
  allocateFrame,
  clearFrameFlag,
  frameFlag,
  frameReferences,
  referenceFrame,
  releaseFrame,
  setFrameFlag,
} from './frames.ts';
import type { Guest } from './guest.ts';
import {
  FRAME_FILLING,
  FRAME_KEPT,
  FRAME_SHARED,
  HEADER_DISK_READ_PAGES,
  HEADER_DISK_READS,
  HEADER_RESERVE,
  HEADER_SWAP_NAIVE,
  NPT_ACCESSED,
  NPT_KIND_COMING,
  NPT_KIND_SWAP,
  NPT_MERGED,
  NPT_WRITABLE,
  PAGE_SIZE,
  SWAP_NAIVE_READ_AHEAD,
} from './layout.ts';
import {
  COUNT_DISK_INS,
  COUNT_POOL_INS,
  COUNT_READ_AHEAD,
  COUNT_RESCUES,
  COUNT_SWAP_INS,
  GUEST_BLOCKED,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, hasSlot, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import { poolLoad } from './pool.ts';
import {
  associateSlot,
  diskPlace,
  isDiskSlot,
  referenceSlot,
  releaseSlot,
  type SlotStore,
  slotFrame,
  slotObject,
  slotReferences,
  takeKept,
} from './swap.ts';
import { readSlots } from './swap-io.ts';

/** What a fault on a page in swap comes to: served; no free frame; another thread is reading it; `read` is to be called. */
export type SwapIn = 'served' | 'starved' | 'busy' | 'read';

/** The most pages in one operation, and the most at first. */
const MOST_PAGES = 32;
const FIRST_PAGES = 8;
/** Pages of the guest beside the page that are looked at. */
const REACH = 48;

/** Where the pages are that were dropped because a disk of the guest has them. */
export interface DiskSource {
  /** Reads blocks that follow each other from a place on (disk-map.ts). */
  read(place: number, targets: readonly Uint8Array[]): void;
}

/** Pages that were read in one go or in several that followed each other. */
interface Stream {
  /** The pages at its ends that were not. */
  low: number;
  high: number;
  /** Pages of its last window. */
  window: number;
  /** Whether it went on after its first window. */
  goesOn: boolean;
}

/** Streams that are remembered. */
const STREAMS = 4;

/** A page that is being read. */
interface Coming {
  gfn: number;
  frame: number;
  slot: number;
}

/** Reads pages of one guest back, on the thread of one of its harts. */
export class SwapReader {
  /** The guest's disks, in the thread that has them. */
  disks: DiskSource | undefined;
  readonly #guest: Guest;
  readonly #memory: MachineMemory;
  readonly #store: SlotStore | undefined;
  /** Pages of the operation that is to come, in the order of their slots; the one that was missed among them. */
  #coming: Coming[] = [];
  #missed = 0;
  /** The last one is the one used last. */
  readonly #streams: Stream[] = [];
  /** Pages in the first window of a stream. */
  #first = FIRST_PAGES;
  /** Takes what lies between pages that are wanted. */
  readonly #hole = new Uint8Array(PAGE_SIZE);

  constructor(guest: Guest, store: SlotStore | undefined) {
    this.#guest = guest;
    this.#memory = guest.memory;
    this.#store = store;
  }

  /** Under the mutex: begins to bring the page back that is in a slot. */
  begin(gfn: number, slot: number): SwapIn {
    const guest = this.#guest;
    const memory = this.#memory;
    const tied = slotFrame(memory, slot);
    if (tied !== 0) {
      return this.#map(gfn, slot, tied);
    }
    const frame = guest.get(GUEST_BLOCKED) !== 0 ? 0 : allocateFrame(memory);
    if (frame === 0) {
      return 'starved';
    }
    const object = slotObject(memory, slot);
    if (object !== 0) {
      poolLoad(memory, object, memory.u8, frame * PAGE_SIZE);
      guest.add(COUNT_POOL_INS, 1);
      if (slotReferences(memory, slot) > 1) {
        associateSlot(memory, frame, slot);
        replaceEntry(guest, gfn, presentEntry(frame, NPT_ACCESSED));
      } else {
        replaceEntry(guest, gfn, presentEntry(frame, NPT_ACCESSED | NPT_WRITABLE));
        releaseSlot(memory, slot);
      }
      return 'served';
    }
    this.#coming = [this.#start(gfn, frame, slot)];
    this.#missed = gfn;
    this.#addNeighbours(gfn, slot);
    return 'read';
  }

  /**
   * Without the mutex, the hart parked: reads what `begin` has begun. Throws SwapReadError if the page that was missed could
   * not be read; it is in its slot then. What was to be read ahead stays there without a word.
   */
  read(): void {
    const coming = this.#coming;
    const missed = coming.find(({ gfn }) => gfn === this.#missed)!;
    try {
      this.#readAll(coming);
      this.#finish(coming, []);
      return;
    } catch (error) {
      if (coming.length === 1) {
        this.#finish([], coming);
        throw new SwapReadError(this.#guest.name, missed.gfn, missed.slot, error);
      }
    }
    // One of the others may be to blame.
    this.#finish(
      [],
      coming.filter((one) => one !== missed),
    );
    this.#coming = [missed];
    this.read();
  }

  /** Another page with these contents is in memory: its frame is read-only while it is tied to the slot. */
  #map(gfn: number, slot: number, tied: number): SwapIn {
    const memory = this.#memory;
    if (frameFlag(memory, tied, FRAME_FILLING)) {
      return 'busy';
    }
    if (frameFlag(memory, tied, FRAME_KEPT)) {
      takeKept(memory, tied);
    } else {
      referenceFrame(memory, tied);
    }
    const merged = frameReferences(memory, tied) > 1;
    if (merged) setFrameFlag(memory, tied, FRAME_SHARED);
    replaceEntry(this.#guest, gfn, presentEntry(tied, merged ? NPT_ACCESSED | NPT_MERGED : NPT_ACCESSED));
    releaseSlot(memory, slot);
    this.#guest.add(COUNT_RESCUES, 1);
    return 'served';
  }

  #start(gfn: number, frame: number, slot: number): Coming {
    // The reference of the entry to the slot becomes that of the tie.
    associateSlot(this.#memory, frame, slot);
    setFrameFlag(this.#memory, frame, FRAME_FILLING);
    replaceEntry(this.#guest, gfn, absentEntry(NPT_KIND_COMING, frame));
    return { gfn, frame, slot };
  }

  /** Under the mutex: adds pages that lie beside the missed one in the guest and in the file. */
  #addNeighbours(gfn: number, slot: number): void {
    const guest = this.#guest;
    const memory = this.#memory;
    const stream = this.#streamOf(gfn);
    const direction = gfn === stream.low ? -1 : 1;
    stream.low = Math.min(stream.low, gfn - 1);
    stream.high = Math.max(stream.high, gfn + 1);
    if ((memory.i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_READ_AHEAD) !== 0) {
      return;
    }
    // Frames that are read ahead must not be what others wait for.
    const spare = memory.freeFrames - memory.i32[HEADER_RESERVE]! - MOST_PAGES;
    const wanted = Math.min(stream.window - 1, spare);
    for (let i = 1; i <= REACH && this.#coming.length <= wanted; i++) {
      const other = gfn + direction * i;
      if (other < 0 || other >= guest.pages) {
        break;
      }
      const entry = loadEntry(guest, other);
      const place = payloadOf(entry);
      const isLike = hasSlot(entry) && isDiskSlot(memory, place) === isDiskSlot(memory, slot);
      const distance = isLike ? direction * (this.#position(place) - this.#position(slot)) : 0;
      const isNear = distance > 0 && distance < MOST_PAGES;
      // Two pages may have one slot.
      if (isNear && slotFrame(memory, place) === 0 && slotObject(memory, place) === 0) {
        const frame = allocateFrame(memory);
        if (frame === 0) {
          break;
        }
        this.#coming.push(this.#start(other, frame, place));
        stream.low = Math.min(stream.low, other - 1);
        stream.high = Math.max(stream.high, other + 1);
      }
    }
    this.#coming.sort((a, b) => this.#position(a.slot) - this.#position(b.slot));
  }

  /** The stream that a miss goes on with, or a new one. */
  #streamOf(gfn: number): Stream {
    const streams = this.#streams;
    const found = streams.findIndex(({ low, high }) => gfn === low || gfn === high);
    const stream = found >= 0 ? streams.splice(found, 1)[0]! : { low: gfn, high: gfn, window: 0, goesOn: false };
    if (found >= 0) {
      stream.window = Math.min(MOST_PAGES, 2 * stream.window);
      stream.goesOn = true;
      this.#first = FIRST_PAGES;
    } else {
      if (streams.length >= STREAMS && !streams.shift()!.goesOn) {
        this.#first = Math.max(1, this.#first >> 1);
      }
      stream.window = this.#first;
      // Upwards at first.
      stream.low = gfn + 1;
    }
    streams.push(stream);
    return stream;
  }

  /** What orders slots as they lie on the device. */
  #position(slot: number): number {
    return isDiskSlot(this.#memory, slot) ? diskPlace(this.#memory, slot) : slot;
  }

  #readAll(coming: readonly Coming[]): void {
    const memory = this.#memory;
    const { slot } = coming[0]!;
    const first = this.#position(slot);
    const targets: Uint8Array[] = [];
    for (const { slot, frame } of coming) {
      while (targets.length < this.#position(slot) - first) {
        targets.push(this.#hole);
      }
      targets.push(memory.page(frame));
    }
    this.readInto(slot, targets);
  }

  /** Reads what lies from a slot on, one page for each target. */
  readInto(slot: number, targets: readonly Uint8Array[]): void {
    const memory = this.#memory;
    if (isDiskSlot(memory, slot)) {
      if (this.disks === undefined) {
        throw new Error("this thread was given no access to the guest's disks");
      }
      this.disks.read(diskPlace(memory, slot), targets);
      Atomics.add(memory.i32, HEADER_DISK_READS, 1);
      Atomics.add(memory.i32, HEADER_DISK_READ_PAGES, targets.length);
    } else {
      if (this.#store === undefined) {
        throw new Error('this thread was given no access to the swap');
      }
      readSlots(memory, this.#store, slot, targets);
    }
  }

  /** Gives pages that were read to the guest, and others back to their slots. */
  #finish(filled: readonly Coming[], failed: readonly Coming[]): void {
    const guest = this.#guest;
    const memory = this.#memory;
    memory.lock();
    try {
      for (const { gfn, frame, slot } of filled) {
        if (isDiskSlot(memory, slot)) guest.add(COUNT_DISK_INS, 1);
        clearFrameFlag(memory, frame, FRAME_FILLING);
        // What is only read ahead is the first to go if nobody uses it.
        replaceEntry(guest, gfn, presentEntry(frame, gfn === this.#missed ? NPT_ACCESSED : 0));
        guest.add(gfn === this.#missed ? COUNT_SWAP_INS : COUNT_READ_AHEAD, 1);
      }
      for (const { gfn, frame, slot } of failed) {
        clearFrameFlag(memory, frame, FRAME_FILLING);
        // The tie's reference goes back to the entry: one more now, and one less when the frame goes.
        replaceEntry(guest, gfn, absentEntry(NPT_KIND_SWAP, slot));
        referenceSlot(memory, slot);
        releaseFrame(memory, frame);
      }
    } finally {
      memory.unlock();
    }
    memory.progress();
  }
}
