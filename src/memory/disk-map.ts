/**
 * Which pages of a guest have the contents of which blocks of its disks. A page that a device has read from a disk whole, or
 * written to it, is tied to a slot that stands for the block (swap.ts) until somebody writes to the page or to the block: it
 * is mapped read-only, so that the first write is seen. Such a page needs no place in swap: the memory manager drops it, and
 * it is read from the disk again.
 *
 * Belongs to the thread of the guest's first hart, which has the disks, too. The other harts have it bring in what is to be read from
 * there (`bringIn` of fault.ts). They may be writing to a page while it is to be tied: so it becomes read-only first, all harts forget
 * the right to write to it, and then it is compared with the block. Whoever gets that right back meanwhile leaves NPT_DIRTY.
 */

import type { FaultHandler } from './fault.ts';
import { frameFlag, frameReferences } from './frames.ts';
import {
  FRAME_FILLING,
  GUEST_RAM_BASE,
  HEADER_SWAP_NAIVE,
  NPT_DIRTY,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SIZE,
  SWAP_NAIVE_DISKS,
} from './layout.ts';
import { clearEntryBits, hasSlot, loadEntry, payloadOf } from './npt.ts';
import { SHOOTDOWN_DATA } from './shootdown.ts';
import {
  allocateDiskSlot,
  associateSlot,
  diskPlace,
  dissociateSlot,
  frameSlot,
  slotFrame,
  slotReferences,
} from './swap.ts';
import type { DiskSource } from './swap-in.ts';

/** A place on a disk: number of the disk, block of PAGE_SIZE bytes. */
const BLOCK_BITS = 29;
const MOST_BLOCKS = 2 ** BLOCK_BITS;
const MOST_DISKS = 2 ** (32 - BLOCK_BITS);
/** Milliseconds that other harts have to answer: one that does not run just now is no reason to keep the disk waiting. */
const PATIENCE_MS = 2;
/** Requests that tie no page when one has not answered. */
const REST = 32;

/** What is told of a disk's requests. `gpa` is guest-physical, `offset` a byte of the disk. */
export interface DiskWatch {
  /** Before bytes of the disk change. */
  changing(offset: number, length: number): void;
  /** Guest memory holds what the disk has: `bytes`. */
  same(gpa: number, offset: number, bytes: Uint8Array): void;
}

/** A page that is to be tied to a place, if it has what `bytes` has from byte `at` on. */
interface Candidate {
  readonly gfn: number;
  readonly mfn: number;
  readonly place: number;
  readonly at: number;
}

/** Reads of a disk, as block backends have them. */
export interface DiskReader {
  readonly sizeBytes: number;
  read(offset: number, target: Uint8Array): void;
}

/** The map of one guest. */
export class DiskMap implements DiskSource {
  readonly #faults: FaultHandler;
  readonly #disks: readonly DiskReader[];
  /** By place: the slot that was given to it, and the page. Both may have come to mean something else. */
  readonly #places = new Map<number, { slot: number; gfn: number }>();
  /** Requests for which nothing is tied. */
  #rest = 0;

  constructor(faults: FaultHandler, disks: readonly DiskReader[]) {
    this.#faults = faults;
    this.#disks = disks;
    faults.disks = this;
  }

  /** The watch over disk number `disk`. */
  watch(disk: number): DiskWatch {
    return {
      changing: (offset, length) => this.#changing(disk, offset, length),
      same: (gpa, offset, bytes) => this.#same(disk, gpa, offset, bytes),
    };
  }

  read(place: number, targets: readonly Uint8Array[]): void {
    const disk = this.#disks[Math.floor(place / MOST_BLOCKS)]!;
    const offset = (place % MOST_BLOCKS) * PAGE_SIZE;
    const bytes = new Uint8Array(targets.length * PAGE_SIZE);
    disk.read(offset, bytes);
    for (const [i, target] of targets.entries()) {
      target.set(bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE));
    }
  }

  #same(disk: number, gpa: number, offset: number, bytes: Uint8Array): void {
    const { guest, control } = this.#faults;
    const { memory } = guest;
    const skip = (PAGE_SIZE - (gpa % PAGE_SIZE)) % PAGE_SIZE;
    const { length } = bytes;
    if (this.#rest > 0) {
      this.#rest--;
      return;
    }
    if (
      disk >= MOST_DISKS ||
      (offset + skip) % PAGE_SIZE !== 0 ||
      length - skip < PAGE_SIZE ||
      (offset + length) / PAGE_SIZE > MOST_BLOCKS ||
      (memory.i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_DISKS) !== 0
    ) {
      return;
    }
    const pages = Math.floor((length - skip) / PAGE_SIZE);
    const first = disk * MOST_BLOCKS + (offset + skip) / PAGE_SIZE;
    const gfn = (gpa + skip - GUEST_RAM_BASE) / PAGE_SIZE;
    const candidates: Candidate[] = [];
    memory.lock();
    try {
      for (let i = 0; i < pages; i++) {
        const mfn = this.#protect(gfn + i);
        if (mfn !== 0) candidates.push({ gfn: gfn + i, mfn, place: first + i, at: skip + i * PAGE_SIZE });
      }
    } finally {
      memory.unlock();
    }
    if (candidates.length === 0) {
      return;
    }
    control.forgetFrames(candidates.map(({ mfn }) => mfn));
    if (!this.#faults.flushOthersWithin(PATIENCE_MS, SHOOTDOWN_DATA)) {
      this.#rest = REST;
      return;
    }
    memory.lock();
    try {
      for (const candidate of candidates) {
        if (this.#stillHas(candidate, bytes)) this.#tie(candidate);
      }
    } finally {
      memory.unlock();
    }
    this.#tidy();
  }

  /** Under the mutex: takes the right to write from a page that may be tied. Returns its frame, 0 if it may not. */
  #protect(gfn: number): number {
    const { guest } = this.#faults;
    const entry = loadEntry(guest, gfn);
    const mfn = payloadOf(entry);
    if (!this.#mayTie(entry)) {
      return 0;
    }
    clearEntryBits(guest, gfn, NPT_WRITABLE | NPT_DIRTY);
    return mfn;
  }

  /** Whether an entry has a frame of its own that is not tied yet. */
  #mayTie(entry: number): boolean {
    const { memory } = this.#faults.guest;
    const mfn = payloadOf(entry);
    return (entry & NPT_PRESENT) !== 0 && frameReferences(memory, mfn) === 1 && frameSlot(memory, mfn) < 0;
  }

  /** Under the mutex: whether nobody had the right to write to a page since `protect`, and it has what the block has. */
  #stillHas({ gfn, mfn, at }: Candidate, bytes: Uint8Array): boolean {
    const { guest } = this.#faults;
    const entry = loadEntry(guest, gfn);
    if (!this.#mayTie(entry) || payloadOf(entry) !== mfn || (entry & (NPT_WRITABLE | NPT_DIRTY)) !== 0) {
      return false;
    }
    const page = guest.memory.page(mfn);
    if ((bytes.byteOffset + at) % 4 !== 0) {
      return page.every((byte, i) => byte === bytes[at + i]);
    }
    const has = new Int32Array(page.buffer, page.byteOffset, PAGE_SIZE / 4);
    const block = new Int32Array(bytes.buffer, bytes.byteOffset + at, PAGE_SIZE / 4);
    for (let i = 0; i < PAGE_SIZE / 4; i++) {
      if (has[i] !== block[i]) return false;
    }
    return true;
  }

  /** Under the mutex: ties a page to a place. */
  #tie({ gfn, mfn, place }: Candidate): void {
    const { memory } = this.#faults.guest;
    const known = this.#slotOf(place);
    if (known >= 0) {
      const other = slotFrame(memory, known);
      if (other === 0 || frameFlag(memory, other, FRAME_FILLING)) {
        // Another page is to come from there; one is enough.
        return;
      }
      dissociateSlot(memory, other);
    }
    const slot = allocateDiskSlot(memory, place);
    if (slot < 0) {
      return;
    }
    associateSlot(memory, mfn, slot);
    this.#places.set(place, { slot, gfn });
  }

  /** The slot that stands for a place now, or -1. */
  #slotOf(place: number): number {
    const { guest } = this.#faults;
    const { memory } = guest;
    const known = this.#places.get(place);
    if (known === undefined || slotReferences(memory, known.slot) !== 1 || diskPlace(memory, known.slot) !== place) {
      return -1;
    }
    // Another guest's disk may have a place of the same number.
    const entry = loadEntry(guest, known.gfn);
    const mfn = slotFrame(memory, known.slot);
    const ours = mfn === 0 ? hasSlot(entry) && payloadOf(entry) === known.slot : this.#has(known.gfn, mfn);
    return ours ? known.slot : -1;
  }

  /** Whether a page has a frame, or one that is on its way. */
  #has(gfn: number, mfn: number): boolean {
    const entry = loadEntry(this.#faults.guest, gfn);
    return !hasSlot(entry) && payloadOf(entry) === mfn;
  }

  #changing(disk: number, offset: number, length: number): void {
    const first = disk * MOST_BLOCKS + Math.floor(offset / PAGE_SIZE);
    const last = disk * MOST_BLOCKS + Math.floor((offset + length - 1) / PAGE_SIZE);
    if (length <= 0 || this.#places.size === 0) {
      return;
    }
    if (last - first < this.#places.size) {
      for (let place = first; place <= last; place++) this.#untie(place);
    } else {
      for (const place of [...this.#places.keys()]) if (place >= first && place <= last) this.#untie(place);
    }
  }

  /** No page has the contents of a place any more, or is to come from there. */
  #untie(place: number): void {
    const known = this.#places.get(place);
    if (known === undefined) {
      return;
    }
    const { memory } = this.#faults.guest;
    for (;;) {
      memory.lock();
      let slot: number;
      let frame = 0;
      try {
        slot = this.#slotOf(place);
        frame = slot < 0 ? 0 : slotFrame(memory, slot);
        // A page that is being overwritten is not in its frame yet.
        if (frame !== 0 && frameFlag(memory, frame, FRAME_FILLING)) frame = 0;
        if (frame !== 0) dissociateSlot(memory, frame);
      } finally {
        memory.unlock();
      }
      if (slot < 0 || frame !== 0) {
        break;
      }
      // The page has to be read before its block changes; the manager may take it once more in between.
      this.#faults.fault(known.gfn, false);
    }
    this.#places.delete(place);
  }

  /** Forgets places that mean nothing any more, when there are many. */
  #tidy(): void {
    if (this.#places.size <= 2 * this.#faults.guest.pages) {
      return;
    }
    for (const place of [...this.#places.keys()]) if (this.#slotOf(place) < 0) this.#places.delete(place);
  }
}
