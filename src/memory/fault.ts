/**
 * What a hart's thread does when the NPT does not serve an access: zero fill, copy-on-write, swap-in, and waiting for a
 * free frame. The thread that faults does the work itself, under the host mutex for as long as it changes entries; while it
 * waits or reads from swap the mutex is free and the hart is parked.
 */

import { GuestAddressError, ShootdownTimeoutError } from './errors.ts';
import { FaultWaits, type WaitOptions } from './fault-wait.ts';
import type { Guest } from './guest.ts';
import {
  GUEST_RAM_BASE,
  NPT_ACCESSED,
  NPT_KIND_LEAVING,
  NPT_KIND_SWAP,
  NPT_KIND_ZERO,
  NPT_PRESENT,
  NPT_WRITABLE,
  PAGE_SIZE,
} from './layout.ts';
import { COUNT_FAULTS, COUNT_RESCUES, COUNT_STORE_READS, MAX_HARTS } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { isComing, kindOf, loadEntry, payloadOf, presentEntry, replaceEntry } from './npt.ts';
import { Overwrites, STORE_AGAIN, STORE_REFUSED } from './overwrite.ts';
import { PageWriter, type WriteOutcome } from './page-write.ts';
import { awaitShootdown, type FlushPart, type HartControl, requestShootdown } from './shootdown.ts';
import { isDiskSlot, type SlotStore } from './swap.ts';
import { type DiskSource, SwapReader } from './swap-in.ts';
import { restoredBits } from './transit.ts';

/** What else a fault handler can be given. */
export interface FaultOptions extends WaitOptions {
  /** This thread's access to the swap; without it a guest must have no pages there. */
  store?: SlotStore | undefined;
  /**
   * Has the thread that has the guest's disks bring in a page that is to come from one of them, and waits for it; for the threads that
   * don't have them.
   */
  bringIn?: ((gfn: number) => void) | undefined;
}

/** What the part under the mutex (resolve and what it calls) leaves to be done without it. */
type Outcome = WriteOutcome | 'again' | 'wait' | 'fill' | 'complete' | 'elsewhere';

/** Serves the faults of one hart, on its own thread. */
export class FaultHandler {
  readonly guest: Guest;
  readonly control: HartControl;
  readonly #memory: MachineMemory;
  readonly #reader: SwapReader;
  readonly #overwrites: Overwrites;
  readonly #writer: PageWriter;
  readonly #waits: FaultWaits;
  readonly #bringIn: FaultOptions['bringIn'];
  readonly #numbers = new Int32Array(MAX_HARTS);
  /** The other harts of the guest. */
  readonly #siblings: readonly number[];
  /** The page that a store was last refused for, so that it is made writable in the ordinary way; -1: none. */
  #refused = -1;
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
    this.#writer = new PageWriter(control, () => this.flushAll());
    this.#waits = new FaultWaits(control, options);
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
        case 'done':
          return;
        case 'starved':
          this.#waits.starve();
          break;
        case 'wait':
          this.#waits.sleep();
          break;
        case 'settle':
          this.#writer.settle(gfn);
          return;
        case 'fill':
          if (write) this.#countRead(gfn);
          this.#waits.readFromSwap(() => this.#reader.read());
          break;
        case 'complete':
          if (write) this.#countRead(gfn);
          this.#waits.readFromSwap(() => this.#overwrites.complete(this.#record));
          break;
        case 'elsewhere':
          if (write) this.#countRead(gfn);
          this.#waits.parked(() => this.#bringIn!(gfn));
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
      this.#waits.announce();
    }
    this.#memory.unlock();
    if (moving) {
      this.#waits.sleep();
    }
  }

  #attempt(gfn: number, write: boolean): Outcome {
    const memory = this.#memory;
    memory.lock();
    try {
      const outcome = this.#resolve(gfn, write);
      if (outcome === 'starved' || outcome === 'wait') {
        this.#waits.announce();
      }
      return outcome;
    } finally {
      memory.unlock();
    }
  }

  #resolve(gfn: number, write: boolean): Outcome {
    const entry = loadEntry(this.guest, gfn);
    if ((entry & NPT_PRESENT) !== 0) {
      return !write || (entry & NPT_WRITABLE) !== 0 ? 'done' : this.#writer.makeWritable(gfn, entry);
    }
    switch (kindOf(entry)) {
      case NPT_KIND_ZERO:
        return write ? this.#writer.zeroFill(gfn, entry) : 'done';
      case NPT_KIND_SWAP:
        return this.#swapIn(gfn, payloadOf(entry));
      case NPT_KIND_LEAVING:
        this.#rescue(gfn, payloadOf(entry));
        return 'again';
      default:
        return this.#comeIn(gfn);
    }
  }

  /** Somebody has begun to bring a page in: another thread, which is waited for, or one that has only stored to it. */
  #comeIn(gfn: number): Outcome {
    const overwrites = this.#overwrites;
    const record = overwrites.find(gfn);
    if (record === 0) {
      return 'wait';
    }
    if (this.#isElsewhere(overwrites.slotOf(record))) {
      return 'elsewhere';
    }
    if (!overwrites.claim(record)) {
      return 'wait';
    }
    this.#record = record;
    return 'complete';
  }

  /** Whether another thread has to read a slot. */
  #isElsewhere(slot: number): boolean {
    return this.#bringIn !== undefined && isDiskSlot(this.#memory, slot);
  }

  /** A page that is being written to swap is taken back; its frame has kept the contents. */
  #rescue(gfn: number, frame: number): void {
    replaceEntry(this.guest, gfn, presentEntry(frame, restoredBits(this.#memory, frame) | NPT_ACCESSED));
    this.guest.add(COUNT_RESCUES, 1);
  }

  #swapIn(gfn: number, slot: number): Outcome {
    if (this.#isElsewhere(slot)) {
      return 'elsewhere';
    }
    switch (this.#reader.begin(gfn, slot)) {
      case 'served':
        return 'again';
      case 'starved':
        return 'starved';
      case 'busy':
        return 'wait';
      case 'read':
        return 'fill';
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
    this.#shootDown(harts, part);
  }

  /** The same for all other harts, if they answer within some milliseconds. Returns whether they have. */
  flushOthersWithin(ms: number, part: FlushPart): boolean {
    try {
      this.#shootDown(this.#siblings, part, ms);
      return true;
    } catch (error) {
      if (error instanceof ShootdownTimeoutError) return false;
      throw error;
    }
  }

  #shootDown(harts: readonly number[], part?: FlushPart, timeoutMs?: number): void {
    if (harts.length === 0) {
      return;
    }
    const { guest, control } = this;
    // Parked, so that two harts which shoot at each other both count as having acknowledged.
    control.park();
    try {
      requestShootdown(guest, this.#numbers, harts, part);
      awaitShootdown(guest, this.#numbers, harts, timeoutMs);
    } finally {
      control.unpark();
    }
  }
}
