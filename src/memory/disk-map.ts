/**
 * Which pages of a guest have the contents of which blocks of its disks. A page that a device has read from a disk whole, or
 * written to it, is tied to a slot that stands for the block (swap.ts) until somebody writes to the page or to the block: it
 * is mapped read-only, so that the first write is seen. Such a page needs no place in swap: the memory manager drops it, and
 * it is read from the disk again.
 *
 * Belongs to the thread of the guest's only hart, which has the disks, too. A guest with several harts has none: the others
 * could not read the disks.
 */

import type { FaultHandler } from './fault.ts';
import { frameFlag, frameReferences } from './frames.ts';
import {
  FRAME_FILLING,
  GUEST_RAM_BASE,
  HEADER_SWAP_NAIVE,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SIZE,
  SWAP_NAIVE_DISKS,
} from './layout.ts';
import { hasSlot, loadEntry, payloadOf, replaceEntry } from './npt.ts';
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

/** What is told of a disk's requests. `gpa` is guest-physical, `offset` a byte of the disk. */
export interface DiskWatch {
  /** Before bytes of the disk change. */
  changing(offset: number, length: number): void;
  /** Guest memory holds what the disk has. */
  same(gpa: number, offset: number, length: number): void;
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

  constructor(faults: FaultHandler, disks: readonly DiskReader[]) {
    this.#faults = faults;
    this.#disks = disks;
    faults.disks = this;
  }

  /** The watch over disk number `disk`. */
  watch(disk: number): DiskWatch {
    return {
      changing: (offset, length) => this.#changing(disk, offset, length),
      same: (gpa, offset, length) => this.#same(disk, gpa, offset, length),
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

  #same(disk: number, gpa: number, offset: number, length: number): void {
    const { guest, control } = this.#faults;
    const { memory } = guest;
    const skip = (PAGE_SIZE - (gpa % PAGE_SIZE)) % PAGE_SIZE;
    if (
      guest.harts > 1 ||
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
    const frames: number[] = [];
    memory.lock();
    try {
      for (let i = 0; i < pages; i++) {
        this.#tie(gfn + i, first + i, frames);
      }
    } finally {
      memory.unlock();
    }
    // The right to write was taken.
    if (frames.length > 0) control.forgetFrames(frames);
    this.#tidy();
  }

  /** Under the mutex: ties a page to a place if it has a frame of its own; notes the frame if it was writable. */
  #tie(gfn: number, place: number, frames: number[]): void {
    const { guest } = this.#faults;
    const { memory } = guest;
    const entry = loadEntry(guest, gfn);
    const mfn = payloadOf(entry);
    if ((entry & NPT_PRESENT) === 0 || frameReferences(memory, mfn) !== 1 || frameSlot(memory, mfn) >= 0) {
      return;
    }
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
    if ((replaceEntry(guest, gfn, entry & ~NPT_WRITABLE) & NPT_WRITABLE) !== 0) {
      frames.push(mfn);
    }
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
