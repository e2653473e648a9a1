/**
 * Double paging: takes frames from a guest without its help. What the clock (clock.ts) finds leaves (transit.ts) and, if no hart wants it back meanwhile, is dropped (zeros, or its swap slot still holds it), merged with a shared frame, or
 * written to swap.
 */

import { Clock, type Round } from './clock.ts';
import { MemoryError, SwapWriteError } from './errors.ts';
import { frameReferences, releaseFrame } from './frames.ts';
import type { Guest } from './guest.ts';
import { HEADER_KEPT, NPT_KIND_SWAP } from './layout.ts';
import {
  COUNT_CLEAN_DROPS,
  COUNT_DISK_DROPS,
  COUNT_PAGED_FRAMES,
  COUNT_POOL_OUTS,
  COUNT_SWAP_FAILURES,
  COUNT_SWAP_OUTS,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, replaceEntry } from './npt.ts';
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
const NO_SLOT = -1;

/** The paging of a host; belongs to the memory manager's thread. */
export class Reclaimer {
  readonly #memory: MachineMemory;
  readonly #transit: Transit;
  readonly #sharing: Sharing;
  readonly #store: SlotStore | undefined;
  readonly #stage: PoolStage;
  readonly #clock: Clock;

  constructor(memory: MachineMemory, transit: Transit, sharing: Sharing, store: SlotStore | undefined) {
    this.#memory = memory;
    this.#transit = transit;
    this.#sharing = sharing;
    this.#store = store;
    this.#stage = new PoolStage(memory, store, BATCH);
    this.#clock = new Clock(memory, transit);
  }

  /** Forgets a guest that is gone. */
  forget(slot: number): void {
    this.#clock.forget(slot);
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
    const rounds: Round[] = most >= guest.pages && this.#clock.hasDiskPages(guest) ? ['disk', 'cold'] : ['cold'];
    if (force) rounds.push('any');
    for (const round of rounds) {
      const before = result.freed;
      let steps = Math.min(guest.pages, most);
      while (steps > 0 && result.freed < wanted && result.error === undefined && !expired()) {
        steps -= this.#clock.collect(guest, Math.min(BATCH, wanted - result.freed), round, steps);
        if (this.#transit.length > 0) {
          this.#evict(guest, result);
        }
      }
      if (round === 'disk' && steps <= 0 && result.freed === before) {
        this.#clock.foundNoDiskPages(guest);
      }
    }
    return result;
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
