/**
 * Writes to pages that a hart may not write to yet: a frame for a page of zeros, a copy of a shared one. An entry whose old translation
 * other harts of the guest may still hold goes through NPT_KIND_COMING: they are shot down before anybody may write to the
 * new frame, so that no two harts see different contents of one page. Belongs to the thread of one hart; see fault.ts.
 */

import {
  allocateFrame,
  clearFrame,
  clearFrameFlag,
  copyFrame,
  frameReferences,
  noteOrigin,
  originOf,
  releaseFrame,
} from './frames.ts';
import type { Guest } from './guest.ts';
import { FRAME_SHARED, NPT_ACCESSED, NPT_DIRTY, NPT_KIND_COMING, NPT_MERGED, NPT_WRITABLE } from './layout.ts';
import { COUNT_COPIES, COUNT_ZERO_FILLS, GUEST_BLOCKED, GUEST_LEFT_OVER } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import type { HartControl } from './shootdown.ts';
import { dissociateSlot, frameSlot, keepFrame, slotObject, slotReferences } from './swap.ts';

/** What a write comes to: the page is writable; no free frame; `settle` is to be called without the mutex. */
export type WriteOutcome = 'done' | 'starved' | 'settle';

/** Bits of the entry of a page that is about to be written. */
const WRITTEN = NPT_WRITABLE | NPT_ACCESSED | NPT_DIRTY;

/** Makes pages of one guest writable. */
export class PageWriter {
  readonly #guest: Guest;
  readonly #memory: MachineMemory;
  readonly #control: HartControl;
  readonly #flushAll: () => void;
  /** What is to be settled. */
  #frame = 0;

  /** `flushAll` has all harts of the guest forget all frames. */
  constructor(control: HartControl, flushAll: () => void) {
    this.#control = control;
    this.#guest = control.guest;
    this.#memory = control.guest.memory;
    this.#flushAll = flushAll;
  }

  /** Under the mutex: a write to a page of zeros that was never written. */
  zeroFill(gfn: number, entry: number): WriteOutcome {
    const guest = this.#guest;
    const frame = this.#allocate();
    if (frame === 0) {
      return 'starved';
    }
    clearFrame(this.#memory, frame);
    guest.add(COUNT_ZERO_FILLS, 1);
    if (guest.harts === 1) {
      replaceEntry(guest, gfn, presentEntry(frame, WRITTEN));
      if ((entry & NPT_ACCESSED) !== 0) {
        this.#forget(this.#memory.zeroFrame);
      }
      return 'done';
    }
    // A sibling may map the zero frame until the exchange, so what counts is the accessed bit that comes out of it.
    const old = replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, frame));
    if ((old & NPT_ACCESSED) === 0) {
      replaceEntry(guest, gfn, presentEntry(frame, WRITTEN));
      return 'done';
    }
    this.#frame = frame;
    return 'settle';
  }

  /** Under the mutex: a write to a page that is present and read-only. */
  makeWritable(gfn: number, entry: number): WriteOutcome {
    const guest = this.#guest;
    const memory = this.#memory;
    const old = payloadOf(entry);
    const alone = frameReferences(memory, old) === 1;
    const frame = alone && !this.#isAwaited(old) ? 0 : this.#allocate();
    if (alone && frame === 0) {
      this.#own(old);
      // The frame that a page had before it was merged may still be mapped for reading: by an alias, or by a sibling.
      const merged = (entry & NPT_MERGED) !== 0;
      if (merged && guest.harts > 1) {
        replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, old));
        this.#frame = old;
        return 'settle';
      }
      replaceEntry(guest, gfn, presentEntry(old, WRITTEN));
      if (merged) {
        this.#forget();
      }
      return 'done';
    }
    if (frame === 0) {
      return 'starved';
    }
    copyFrame(memory, old, frame);
    guest.add(COUNT_COPIES, 1);
    if (guest.harts === 1) {
      replaceEntry(guest, gfn, presentEntry(frame, WRITTEN));
      this.#forget(old);
      this.#letGo(old);
      return 'done';
    }
    replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, frame));
    noteOrigin(memory, frame, old);
    this.#frame = frame;
    return 'settle';
  }

  /**
   * Has the hart, the guest's only one, forget the frame that a page has had until now, if any, and those that it may have
   * had before: they are left over from merges.
   */
  #forget(frame?: number): void {
    if (this.#guest.get(GUEST_LEFT_OVER) !== 0) this.#control.forgetFrames();
    else if (frame !== undefined) this.#control.forgetFrames([frame]);
  }

  /** The frame has one reference, which is to become writable: nothing may count on its contents any more. */
  #own(frame: number): void {
    clearFrameFlag(this.#memory, frame, FRAME_SHARED);
    if (frameSlot(this.#memory, frame) >= 0) {
      dissociateSlot(this.#memory, frame);
    }
  }

  /**
   * Whether pages in swap are to find a frame that one page has: its slot has other references than the tie, and would have to
   * be read for them again.
   */
  #isAwaited(frame: number): boolean {
    const slot = frameSlot(this.#memory, frame);
    return slot >= 0 && slotReferences(this.#memory, slot) > 1 && slotObject(this.#memory, slot) === 0;
  }

  /** Under the mutex: a page has got another frame instead of this one. */
  #letGo(frame: number): void {
    if (!keepFrame(this.#memory, frame)) releaseFrame(this.#memory, frame);
  }

  /** Without the mutex: shoots the siblings down, then lets the new frame be used. */
  settle(gfn: number): void {
    const memory = this.#memory;
    const frame = this.#frame;
    this.#flushAll();
    memory.lock();
    try {
      replaceEntry(this.#guest, gfn, presentEntry(frame, WRITTEN));
      const old = originOf(memory, frame);
      if (old !== 0) {
        noteOrigin(memory, frame, 0);
        this.#letGo(old);
      }
    } finally {
      memory.unlock();
    }
    memory.progress();
  }

  #allocate(): number {
    return this.#guest.get(GUEST_BLOCKED) !== 0 ? 0 : allocateFrame(this.#memory);
  }
}
