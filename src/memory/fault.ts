/**
 * What a hart's thread does when the NPT does not serve an access: zero fill, copy-on-write, swap-in, and waiting for a
 * free frame. The thread that faults does the work itself, under the host mutex for as long as it changes entries; while it
 * waits or reads from swap the mutex is free and the hart is parked.
 *
 * An entry whose old translation other harts of the guest may still hold goes through NPT_KIND_COMING: they are shot down
 * before anybody may write to the new frame, so that no two harts see different contents of one page.
 */

import { GuestAddressError, GuestStoppedError, SwapReadError } from './errors.ts';
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
import {
  FRAME_SHARED,
  GUEST_RAM_BASE,
  HEADER_PROGRESS,
  HEADER_WAITING,
  NPT_ACCESSED,
  NPT_DIRTY,
  NPT_KIND_COMING,
  NPT_KIND_LEAVING,
  NPT_KIND_SWAP,
  NPT_KIND_ZERO,
  NPT_MERGED,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SIZE,
} from './layout.ts';
import {
  COUNT_COPIES,
  COUNT_FAULTS,
  COUNT_RESCUES,
  COUNT_STALLED_US,
  COUNT_STARVATIONS,
  COUNT_STARVED_MS,
  COUNT_STORE_READS,
  COUNT_ZERO_FILLS,
  GUEST_BLOCKED,
  GUEST_LEFT_OVER,
  GUEST_RUNNING,
  GUEST_STARVED,
  GUEST_STATE,
  MAX_HARTS,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { absentEntry, isComing, kindOf, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import { Overwrites, STORE_AGAIN, STORE_REFUSED } from './overwrite.ts';
import { awaitShootdown, type FlushPart, type HartControl, requestShootdown } from './shootdown.ts';
import {
  dissociateSlot,
  frameSlot,
  isDiskSlot,
  keepFrame,
  type SlotStore,
  slotObject,
  slotReferences,
} from './swap.ts';
import { type DiskSource, SwapReader } from './swap-in.ts';
import { restoredBits } from './transit.ts';

/** What else a fault handler can be given. */
export interface FaultOptions {
  /** This thread's access to the swap; without it a guest must have no pages there. */
  store?: SlotStore | undefined;
  /**
   * Told of pages that can't be read from swap; the hart then stands still and tries again from time to time until it works
   * or the guest is stopped. Without it `fault` throws.
   */
  onReadError?: ((error: SwapReadError) => void) | undefined;
  /** Milliseconds from any start, for the account of waiting times. */
  now?: (() => number) | undefined;
  /**
   * Has the thread that has the guest's disks bring in a page that is to come from one of them, and waits for it; for the threads that
   * don't have them.
   */
  bringIn?: ((gfn: number) => void) | undefined;
}

/** What the part under the mutex (resolve and what it calls) leaves to be done without it. */
const [DONE, AGAIN, STARVED, WAIT, SETTLE, FILL, COMPLETE, ELSEWHERE] = [0, 1, 2, 3, 4, 5, 6, 7];

/** Milliseconds after which a waiting hart looks whether its guest was stopped. */
const LOOK_MS = 50;
/** Milliseconds after which a page that could not be read from swap is tried again. */
const RETRY_MS = 1000;
/** Bits of the entry of a page that is about to be written. */
const WRITTEN = NPT_WRITABLE | NPT_ACCESSED | NPT_DIRTY;

/** Serves the faults of one hart, on its own thread. */
export class FaultHandler {
  readonly guest: Guest;
  readonly control: HartControl;
  readonly #memory: MachineMemory;
  readonly #reader: SwapReader;
  readonly #overwrites: Overwrites;
  readonly #onReadError: FaultOptions['onReadError'];
  readonly #now: (() => number) | undefined;
  readonly #bringIn: FaultOptions['bringIn'];
  readonly #numbers = new Int32Array(MAX_HARTS);
  /** The other harts of the guest. */
  readonly #siblings: readonly number[];
  /** The page that a store was last refused for, so that it is made writable in the ordinary way; -1: none. */
  #refused = -1;
  // What resolve has prepared for settle.
  #frame = 0;
  #progress = 0;
  /** The record of the page that is to be completed. */
  #record = 0;

  constructor(control: HartControl, options: FaultOptions = {}) {
    this.control = control;
    this.guest = control.guest;
    this.#siblings = control.guest.allHarts.filter((hart) => hart !== control.hart);
    this.#memory = control.guest.memory;
    this.#reader = new SwapReader(this.guest, options.store);
    this.#overwrites = new Overwrites(this.guest, control.hart, this.#reader, (harts, part) =>
      this.flushOthers(harts, part),
    );
    this.#bringIn = options.bringIn;
    this.#onReadError = options.onReadError;
    this.#now = options.now;
  }

  /** The guest's disks, which pages that were dropped are read from. */
  set disks(disks: DiskSource) {
    this.#reader.disks = disks;
  }

  /**
   * Makes a page readable or writable; afterwards the NPT serves the access (look again). The hart's TLBs may have been
   * flushed and shootdowns acknowledged meanwhile, so no translation from before may be used. Throws GuestAddressError
   * beyond the guest's memory, SwapReadError (the page is still in swap; unless `onReadError` is given), GuestStoppedError (end the hart).
   */
  fault(gfn: number, write: boolean): void {
    const { guest } = this;
    if (!(gfn >= 0 && gfn < guest.pages)) {
      const [base, size] = [GUEST_RAM_BASE, guest.pages * PAGE_SIZE];
      throw new GuestAddressError(guest.name, base + gfn * PAGE_SIZE, 1, base, size);
    }
    guest.add(COUNT_FAULTS, 1);
    for (;;) {
      switch (this.#attempt(gfn, write)) {
        case DONE:
          return;
        case STARVED:
          this.#starve();
          break;
        case WAIT:
          this.#sleep();
          break;
        case SETTLE:
          this.#settle(gfn);
          return;
        case FILL:
          if (write) this.#countRead(gfn);
          this.#readFromSwap(() => this.#reader.read());
          break;
        case COMPLETE:
          if (write) this.#countRead(gfn);
          this.#readFromSwap(() => this.#overwrites.complete(this.#record));
          break;
        case ELSEWHERE:
          if (write) this.#countRead(gfn);
          this.#waitFor(() => this.#bringIn!(gfn));
          break;
      }
    }
  }

  /**
   * The hart is about to store within a page that the NPT does not let it write to. Returns the machine address for this store
   * alone, if the page is in swap and is being overwritten (overwrite.ts): `noteStore` has to follow. STORE_REFUSED: call `fault`.
   * STORE_AGAIN: look at the entry again, and call this again.
   */
  store(gfn: number, offset: number): number {
    if (!(gfn >= 0 && gfn < this.guest.pages)) {
      return STORE_REFUSED;
    }
    const overwrites = this.#overwrites;
    if (overwrites.hasNoRoomFor(gfn)) {
      this.#refused = overwrites.surplus;
      if (this.#refused >= 0) this.fault(this.#refused, true);
      return STORE_AGAIN;
    }
    const address = overwrites.store(gfn, offset);
    this.#refused = address === STORE_REFUSED ? gfn : -1;
    return address;
  }

  /** The store that `store` has given an address for has been made. */
  noteStore(bytes: number): void {
    this.#overwrites.noteStore(bytes);
  }

  /** Counts a page that is read because of a store; an atomic access has to see what was there. */
  #countRead(gfn: number): void {
    if (gfn === this.#refused) this.guest.add(COUNT_STORE_READS, 1);
  }

  /** What pages in swap had does not matter any more, as far as they are being overwritten. */
  settleStores(gfn: number, count: number): void {
    this.#overwrites.settle(gfn, count);
  }

  /** Waits until a page in transit may have settled; for code that found one under the mutex, which must be free by now. */
  waitForTransit(gfn: number): void {
    this.#memory.lock();
    const moving = isComing(loadEntry(this.guest, gfn));
    if (moving) {
      this.#announceWait();
    }
    this.#memory.unlock();
    if (moving) {
      this.#sleep();
    }
  }

  #attempt(gfn: number, write: boolean): number {
    const memory = this.#memory;
    memory.lock();
    try {
      const outcome = this.#resolve(gfn, write);
      if (outcome === STARVED || outcome === WAIT) {
        this.#announceWait();
      }
      return outcome;
    } finally {
      memory.unlock();
    }
  }

  #resolve(gfn: number, write: boolean): number {
    const entry = loadEntry(this.guest, gfn);
    if ((entry & NPT_PRESENT) !== 0) {
      return !write || (entry & NPT_WRITABLE) !== 0 ? DONE : this.#makeWritable(gfn, entry);
    }
    switch (kindOf(entry)) {
      case NPT_KIND_ZERO:
        return write ? this.#zeroFill(gfn, entry) : DONE;
      case NPT_KIND_SWAP:
        return this.#swapIn(gfn, payloadOf(entry));
      case NPT_KIND_LEAVING:
        this.#rescue(gfn, payloadOf(entry));
        return AGAIN;
      default:
        return this.#comeIn(gfn);
    }
  }

  /** Somebody has begun to bring a page in: another thread, which is waited for, or one that has only stored to it. */
  #comeIn(gfn: number): number {
    const overwrites = this.#overwrites;
    const record = overwrites.find(gfn);
    if (record === 0) {
      return WAIT;
    }
    if (this.#isElsewhere(overwrites.slotOf(record))) {
      return ELSEWHERE;
    }
    if (!overwrites.claim(record)) {
      return WAIT;
    }
    this.#record = record;
    return COMPLETE;
  }

  /** Whether another thread has to read a slot. */
  #isElsewhere(slot: number): boolean {
    return this.#bringIn !== undefined && isDiskSlot(this.#memory, slot);
  }

  #zeroFill(gfn: number, entry: number): number {
    const { guest } = this;
    const frame = this.#allocate();
    if (frame === 0) {
      return STARVED;
    }
    clearFrame(this.#memory, frame);
    guest.add(COUNT_ZERO_FILLS, 1);
    if (guest.harts === 1) {
      replaceEntry(guest, gfn, presentEntry(frame, WRITTEN));
      if ((entry & NPT_ACCESSED) !== 0) {
        this.#forget(this.#memory.zeroFrame);
      }
      return DONE;
    }
    // A sibling may map the zero frame until the exchange, so what counts is the accessed bit that comes out of it.
    const old = replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, frame));
    if ((old & NPT_ACCESSED) === 0) {
      replaceEntry(guest, gfn, presentEntry(frame, WRITTEN));
      return DONE;
    }
    this.#frame = frame;
    return SETTLE;
  }

  /** A write to a page that is present and read-only. */
  #makeWritable(gfn: number, entry: number): number {
    const { guest } = this;
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
        return SETTLE;
      }
      replaceEntry(guest, gfn, presentEntry(old, WRITTEN));
      if (merged) {
        this.#forget();
      }
      return DONE;
    }
    if (frame === 0) {
      return STARVED;
    }
    copyFrame(memory, old, frame);
    guest.add(COUNT_COPIES, 1);
    if (guest.harts === 1) {
      replaceEntry(guest, gfn, presentEntry(frame, WRITTEN));
      this.#forget(old);
      this.#letGo(old);
      return DONE;
    }
    replaceEntry(guest, gfn, absentEntry(NPT_KIND_COMING, frame));
    noteOrigin(memory, frame, old);
    this.#frame = frame;
    return SETTLE;
  }

  /**
   * Has the hart, the guest's only one, forget the frame that a page has had until now, if any, and those that it may have
   * had before: they are left over from merges.
   */
  #forget(frame?: number): void {
    if (this.guest.get(GUEST_LEFT_OVER) !== 0) this.control.forgetFrames();
    else if (frame !== undefined) this.control.forgetFrames([frame]);
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

  /** A page that is being written to swap is taken back; its frame has kept the contents. */
  #rescue(gfn: number, frame: number): void {
    replaceEntry(this.guest, gfn, presentEntry(frame, restoredBits(this.#memory, frame) | NPT_ACCESSED));
    this.guest.add(COUNT_RESCUES, 1);
  }

  #swapIn(gfn: number, slot: number): number {
    if (this.#isElsewhere(slot)) {
      return ELSEWHERE;
    }
    switch (this.#reader.begin(gfn, slot)) {
      case 'served':
        return AGAIN;
      case 'starved':
        return STARVED;
      case 'busy':
        return WAIT;
      case 'read':
        return FILL;
    }
  }

  #allocate(): number {
    return this.guest.get(GUEST_BLOCKED) !== 0 ? 0 : allocateFrame(this.#memory);
  }

  /** Without the mutex: shoots the siblings down, then lets the new frame be used. */
  #settle(gfn: number): void {
    const memory = this.#memory;
    const frame = this.#frame;
    this.flushAll();
    memory.lock();
    try {
      replaceEntry(this.guest, gfn, presentEntry(frame, WRITTEN));
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

  /** Without the mutex: reads the page from swap. If that fails, the hart stands still or the caller is told. */
  #readFromSwap(read: () => void): void {
    this.#waitFor(() => {
      try {
        read();
      } catch (error) {
        if (this.#onReadError === undefined || !(error instanceof SwapReadError)) throw error;
        this.#onReadError(error);
        Atomics.wait(this.#memory.i32, HEADER_PROGRESS, Atomics.load(this.#memory.i32, HEADER_PROGRESS), RETRY_MS);
        this.#lookForStop();
      }
    });
  }

  /** Parks the hart while something is done for it, and counts the time. */
  #waitFor(action: () => void): void {
    const start = this.#now?.() ?? 0;
    this.control.park();
    try {
      action();
    } finally {
      this.control.unpark();
      this.#stalled((this.#now?.() ?? 0) - start);
    }
  }

  /** Has all harts of the guest forget all frames. The mutex must be free, and no translation in use. */
  flushAll(): void {
    this.control.forgetFrames();
    this.flushOthers();
  }

  /**
   * Has other harts of the guest, by default all of them, forget all frames, or no less than a part. The mutex must be free,
   * and no translation in use.
   */
  flushOthers(harts: readonly number[] = this.#siblings, part?: FlushPart): void {
    if (harts.length === 0) {
      return;
    }
    const { guest, control } = this;
    // Parked, so that two harts which shoot at each other both count as having acknowledged.
    control.park();
    try {
      requestShootdown(guest, this.#numbers, harts, part);
      awaitShootdown(guest, this.#numbers, harts);
    } finally {
      control.unpark();
    }
  }

  /** Under the mutex: from now on whoever makes progress wakes this thread. */
  #announceWait(): void {
    const { i32 } = this.#memory;
    Atomics.add(i32, HEADER_WAITING, 1);
    this.#progress = Atomics.load(i32, HEADER_PROGRESS);
  }

  #starve(): void {
    const { guest } = this;
    const memory = this.#memory;
    const start = this.#now?.() ?? 0;
    guest.add(COUNT_STARVATIONS, 1);
    guest.add(GUEST_STARVED, 1);
    memory.wakeManager();
    try {
      this.#sleep();
    } finally {
      guest.add(GUEST_STARVED, -1);
      const ms = (this.#now?.() ?? 0) - start;
      guest.add(COUNT_STARVED_MS, Math.round(ms));
      this.#stalled(ms);
    }
  }

  /** Notes that the hart has waited for memory. */
  #stalled(ms: number): void {
    this.guest.add(COUNT_STALLED_US, Math.round(ms * 1000));
  }

  #sleep(): void {
    const { i32 } = this.#memory;
    this.control.park();
    Atomics.wait(i32, HEADER_PROGRESS, this.#progress, LOOK_MS);
    Atomics.sub(i32, HEADER_WAITING, 1);
    this.control.unpark();
    this.#lookForStop();
  }

  #lookForStop(): void {
    if (this.guest.get(GUEST_STATE) !== GUEST_RUNNING) {
      throw new GuestStoppedError(this.guest.name);
    }
  }
}
