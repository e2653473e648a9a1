/**
 * Double paging: takes frames from a guest without its help. A clock with two hands goes over the guest's entries: the front
 * hand clears accessed bits, the back hand takes pages that have not been used since. What it takes leaves (transit.ts) and,
 * if no hart wants it back meanwhile, is dropped (zeros, or its swap slot still holds it), merged with a shared frame, or
 * written to swap.
 */

import { MemoryError, SwapWriteError } from './errors.ts';
import { frameReferences, releaseFrame } from './frames.ts';
import type { Guest } from './guest.ts';
import {
  HEADER_DISK_USED,
  HEADER_KEPT,
  HEADER_SWAP_NAIVE,
  NPT_ACCESSED,
  NPT_KIND_SWAP,
  NPT_PRESENT,
  NPT_RECENT,
  NPT_YOUNG,
  SWAP_NAIVE_VICTIMS,
} from './layout.ts';
import {
  COUNT_CLEAN_DROPS,
  COUNT_DISK_DROPS,
  COUNT_PAGED_FRAMES,
  COUNT_POOL_OUTS,
  COUNT_SWAP_FAILURES,
  COUNT_SWAP_OUTS,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, loadEntry, payloadOf, replaceEntry } from './npt.ts';
import { PoolStage } from './pool-stage.ts';
import type { Sharing } from './sharing.ts';
import {
  allocateSlot,
  associateSlot,
  dropAllKept,
  frameSlot,
  isDiskSlot,
  referenceSlot,
  releaseSlot,
  type SlotStore,
  seekRun,
  spoilSlot,
} from './swap.ts';
import { type SlotPage, writeSlots } from './swap-io.ts';
import type { Transit } from './transit.ts';

/** What a call of `take` has done. */
export interface TakeResult {
  /** Frames that became free. */
  freed: number;
  /** Pages taken from the guest; those that others still share free nothing. */
  taken: number;
  /** Why it ended early, if it did. */
  error: Error | undefined;
}

/** Pages in a batch: one shootdown for all of them. */
const BATCH = 32;
/** Entries that the hands pass in one turn with the mutex. */
const STEPS = 2048;
/** Calls of `take` without a round for pages of disks, when the last one has found none. */
const DISK_REST = 16;
/** The front hand is this part of the guest's memory ahead. */
const LEAD = 2;

const NO_SLOT = -1;

interface Hands {
  back: number;
  /** How many entries the front hand is ahead. */
  lead: number;
  /** Calls of `take` for which no pages of disks are looked for, as there were none. */
  diskRest: number;
}

/** Which pages a round of the clock takes. */
type Round = 'disk' | 'cold' | 'any';

/** The paging of a host; belongs to the memory manager's thread. */
export class Reclaimer {
  readonly #memory: MachineMemory;
  readonly #transit: Transit;
  readonly #sharing: Sharing;
  readonly #store: SlotStore | undefined;
  readonly #stage: PoolStage;
  readonly #hands = new Map<number, Hands>();

  constructor(memory: MachineMemory, transit: Transit, sharing: Sharing, store: SlotStore | undefined) {
    this.#memory = memory;
    this.#transit = transit;
    this.#sharing = sharing;
    this.#store = store;
    this.#stage = new PoolStage(memory, store, BATCH);
  }

  /** Forgets a guest that is gone. */
  forget(slot: number): void {
    this.#hands.delete(slot);
  }

  /**
   * Takes pages from a guest until `wanted` frames are free or `expired` says so, or the clock's hands have passed `most` entries:
   * a page is only cold when its guest had time to use it. With `force`, pages that are in use or
   * shared are taken too when there are no others. No page is lost if writing fails: it stays where it was.
   */
  take(guest: Guest, wanted: number, force: boolean, expired: () => boolean, most = guest.pages): TakeResult {
    const result: TakeResult = { freed: this.#dropKept(), taken: 0, error: undefined };
    // A round of the clock each: cold pages that a disk has, which cost no write; cold pages; (forced) whatever there is.
    // Hands that have to go slowly take what they find.
    const rounds: Round[] = most >= guest.pages && this.#hasDiskPages(guest) ? ['disk', 'cold'] : ['cold'];
    if (force) rounds.push('any');
    for (const round of rounds) {
      const before = result.freed;
      let steps = Math.min(guest.pages, most);
      while (steps > 0 && result.freed < wanted && result.error === undefined && !expired()) {
        steps -= this.#collect(guest, Math.min(BATCH, wanted - result.freed), round, steps);
        if (this.#transit.length > 0) {
          this.#evict(guest, result);
        }
      }
      if (round === 'disk' && steps <= 0 && result.freed === before) {
        this.#handsOf(guest).diskRest = DISK_REST;
      }
    }
    return result;
  }

  #handsOf(guest: Guest): Hands {
    let hands = this.#hands.get(guest.slot);
    if (hands === undefined) {
      hands = { back: 0, lead: 0, diskRest: 0 };
      this.#hands.set(guest.slot, hands);
    }
    return hands;
  }

  /** Whether it is worth a round to look for pages that a disk of the guest has. */
  #hasDiskPages(guest: Guest): boolean {
    const { i32 } = this.#memory;
    const hands = this.#handsOf(guest);
    if (i32[HEADER_DISK_USED] === 0 || (i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_VICTIMS) !== 0) {
      return false;
    }
    return hands.diskRest-- <= 0;
  }

  /** Frees what is only kept to save reads. */
  #dropKept(): number {
    const memory = this.#memory;
    if (memory.i32[HEADER_KEPT] === 0) {
      return 0;
    }
    memory.lock();
    try {
      const before = memory.freeFrames;
      dropAllKept(memory);
      return memory.freeFrames - before;
    } finally {
      memory.unlock();
    }
  }

  /** Makes up to `count` pages leave and shoots them down. Returns the entries passed. */
  #collect(guest: Guest, count: number, round: Round, most: number): number {
    const memory = this.#memory;
    const transit = this.#transit;
    const hands = this.#handsOf(guest);
    const lead = Math.max(1, Math.floor(guest.pages / LEAD));
    let passed = 0;
    let cleared = false;
    memory.lock();
    try {
      while (hands.lead < lead) {
        cleared = this.#clearAccessed(guest, (hands.back + hands.lead++) % guest.pages) || cleared;
      }
      for (; passed < Math.min(STEPS, most) && transit.length < count; passed++) {
        const gfn = hands.back;
        const entry = loadEntry(guest, gfn);
        if ((entry & NPT_PRESENT) !== 0) {
          const cold = (entry & (NPT_ACCESSED | NPT_RECENT)) === 0 && frameReferences(memory, payloadOf(entry)) === 1;
          const wanted = round !== 'disk' || isOnDisk(memory, payloadOf(entry));
          if (round === 'any' || (cold && wanted)) {
            transit.add(guest, gfn);
          }
        }
        cleared = this.#clearAccessed(guest, (gfn + lead) % guest.pages) || cleared;
        hands.back = gfn + 1 < guest.pages ? gfn + 1 : 0;
      }
    } finally {
      memory.unlock();
    }
    if (transit.length > 0 || cleared) {
      // A bit that was cleared is set again only by a TLB that has been flushed.
      transit.include(guest);
      transit.shoot();
    }
    if (transit.length === 0) {
      transit.clear();
    }
    return passed;
  }

  /** Clears the accessed bit, which the sampling of the working set finds as NPT_YOUNG. */
  #clearAccessed(guest: Guest, gfn: number): boolean {
    const { i32 } = this.#memory;
    const index = guest.npt + gfn;
    const entry = Atomics.load(i32, index);
    if ((entry & NPT_PRESENT) === 0 || (entry & (NPT_ACCESSED | NPT_RECENT)) === 0) {
      return false;
    }
    // What the sampling has cleared it knows already.
    const young = (entry & NPT_ACCESSED) === 0 ? 0 : NPT_YOUNG;
    const cleared = (entry & ~(NPT_ACCESSED | NPT_RECENT)) | young;
    return Atomics.compareExchange(i32, index, entry, cleared) === entry && young !== 0;
  }

  /** Finds each settled page of the batch another place. */
  #evict(guest: Guest, result: TakeResult): void {
    const memory = this.#memory;
    const transit = this.#transit;
    const count = transit.length;
    const takenBefore = result.taken;
    const targets = new Int32Array(count);
    const slots = new Int32Array(count).fill(NO_SLOT);
    // Looking at the contents needs no mutex: nobody can change them, and a page that is taken back is noticed below.
    for (let i = 0; i < count; i++) {
      targets[i] = this.#sharing.lookUp(guest, transit.frames[i]!);
    }
    let left = 0;
    memory.lock();
    try {
      seekRun(memory, count);
      // No hart can allocate meanwhile, so that the difference is what this batch has freed.
      const before = memory.freeFrames;
      for (let i = 0; i < count; i++) {
        if (transit.settled(i) && this.#dropUnwritten(guest, i, targets[i]!)) {
          result.taken++;
          continue;
        }
        if (transit.settled(i) && result.error === undefined) {
          slots[i] = this.#allocateSlot(result);
        }
        if (slots[i] === NO_SLOT) {
          transit.restore(i);
        } else {
          left++;
        }
      }
      result.freed += memory.freeFrames - before;
    } finally {
      memory.unlock();
    }
    if (left > 0) {
      this.#swapOut(guest, this.#compress(guest, slots, result), result);
    }
    guest.add(COUNT_PAGED_FRAMES, result.taken - takenBefore);
    memory.progress();
    transit.clear();
  }

  /** Under the mutex: whether a settled page could go without being written. */
  #dropUnwritten(guest: Guest, i: number, target: number): boolean {
    const memory = this.#memory;
    const gfn = this.#transit.gfns[i]!;
    const mfn = this.#transit.frames[i]!;
    const slot = frameSlot(memory, mfn);
    if (slot >= 0) {
      referenceSlot(memory, slot);
      replaceEntry(guest, gfn, absentEntry(NPT_KIND_SWAP, slot));
      releaseFrame(memory, mfn);
      guest.add(isDiskSlot(memory, slot) ? COUNT_DISK_DROPS : COUNT_CLEAN_DROPS, 1);
      return true;
    }
    if (this.#sharing.merger.mergeZero(guest, gfn, mfn)) {
      return true;
    }
    return target !== 0 && this.#sharing.merger.mergeInto(guest, gfn, mfn, target);
  }

  #allocateSlot(result: TakeResult): number {
    try {
      if (this.#store === undefined) {
        throw new MemoryError('the host has no swap to take pages from guests; give it some');
      }
      return allocateSlot(this.#memory);
    } catch (error) {
      result.error = error as Error;
      return NO_SLOT;
    }
  }

  /** Puts what it can of the pages that have got a slot into the compressed pool. Returns the slots that are left. */
  #compress(guest: Guest, slots: Int32Array, result: TakeResult): Int32Array {
    const memory = this.#memory;
    const transit = this.#transit;
    const stage = this.#stage;
    if (!stage.enabled) {
      return slots;
    }
    const small: number[] = [];
    for (const [i, slot] of slots.entries()) {
      if (slot !== NO_SLOT && transit.leaving(i) && stage.compress(i, transit.frames[i]!)) {
        small.push(i);
      }
    }
    if (small.length === 0) {
      return slots;
    }
    const failure = stage.makeRoom(small);
    memory.lock();
    try {
      const before = memory.freeFrames;
      for (const i of small) {
        const slot = slots[i]!;
        if (!transit.settled(i) || !stage.put(i, slot)) {
          continue;
        }
        this.#moveToSlot(guest, transit.gfns[i]!, transit.frames[i]!, slot);
        guest.add(COUNT_POOL_OUTS, 1);
        result.taken++;
        slots[i] = NO_SLOT;
      }
      result.freed += memory.freeFrames - before;
    } finally {
      memory.unlock();
    }
    if (failure !== undefined && this.#store === undefined) {
      result.error = failure;
    }
    return slots;
  }

  /** Writes the pages that have got a slot, then lets go of the frames. */
  #swapOut(guest: Guest, slots: Int32Array, result: TakeResult): void {
    const memory = this.#memory;
    const transit = this.#transit;
    const pages: SlotPage[] = [];
    const numbers = new Map<number, number>();
    const frames = new Set<number>();
    for (const [i, slot] of slots.entries()) {
      // A page that was taken back may be changing, and is dealt with below; so is a second page with the same frame.
      const mfn = transit.frames[i]!;
      if (slot !== NO_SLOT && transit.leaving(i) && !frames.has(mfn)) {
        frames.add(mfn);
        pages.push({ slot, page: memory.page(mfn) });
        numbers.set(slot, i);
      }
    }
    const failure = writeSlots(memory, this.#store!, pages);
    if (failure !== undefined) {
      const slot = failure.unwritten[0]!;
      result.error = new SwapWriteError(guest.name, transit.gfns[numbers.get(slot)!]!, slot, failure.error);
    }
    const unwritten = new Set(failure?.unwritten);
    memory.lock();
    try {
      const before = memory.freeFrames;
      for (const [i, slot] of slots.entries()) {
        if (slot === NO_SLOT) {
          continue;
        }
        const written = numbers.has(slot) ? !unwritten.has(slot) : frameSlot(memory, transit.frames[i]!) >= 0;
        if (written && transit.settled(i)) {
          this.#moveToSlot(guest, transit.gfns[i]!, transit.frames[i]!, slot);
          guest.add(COUNT_SWAP_OUTS, 1);
          result.taken++;
          continue;
        }
        transit.restore(i);
        if (unwritten.has(slot)) {
          guest.add(COUNT_SWAP_FAILURES, 1);
        }
        if (failure?.spoilt.includes(slot)) {
          spoilSlot(memory, slot);
        } else {
          releaseSlot(memory, slot);
        }
      }
      result.freed += memory.freeFrames - before;
    } finally {
      memory.unlock();
    }
  }

  /** Under the mutex: the entry of a settled page goes over to the slot that holds its contents now. */
  #moveToSlot(guest: Guest, gfn: number, mfn: number, slot: number): void {
    const memory = this.#memory;
    const tied = frameSlot(memory, mfn);
    if (tied >= 0) {
      // Another page of this batch with the same frame was faster.
      releaseSlot(memory, slot);
      referenceSlot(memory, tied);
      replaceEntry(guest, gfn, absentEntry(NPT_KIND_SWAP, tied));
    } else {
      if (frameReferences(memory, mfn) > 1) {
        // Others share the frame; when their turn comes they need not be written, and are read once.
        associateSlot(memory, mfn, slot);
        referenceSlot(memory, slot);
      }
      replaceEntry(guest, gfn, absentEntry(NPT_KIND_SWAP, slot));
    }
    releaseFrame(memory, mfn);
  }
}

/** Whether a disk of its guest has the contents of a frame. */
function isOnDisk(memory: MachineMemory, mfn: number): boolean {
  const slot = frameSlot(memory, mfn);
  return slot >= 0 && isDiskSlot(memory, slot);
}
