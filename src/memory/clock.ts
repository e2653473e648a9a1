/**
 * Which pages paging takes. A clock with two hands goes over the guest's entries: the front hand clears accessed bits, the back hand
 * takes pages that have not been used since.
 */

import { frameReferences } from './frames.ts';
import type { Guest } from './guest.ts';
import {
  HEADER_DISK_USED,
  HEADER_SWAP_NAIVE,
  NPT_ACCESSED,
  NPT_PRESENT,
  NPT_RECENT,
  NPT_YOUNG,
  SWAP_NAIVE_VICTIMS,
} from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';
import { loadEntry, payloadOf } from './npt.ts';
import { frameSlot, isDiskSlot } from './swap.ts';
import type { Transit } from './transit.ts';

/** Entries that the hands pass in one turn with the mutex. */
const STEPS = 2048;
/** Calls of `take` without a round for pages of disks, when the last one has found none. */
const DISK_REST = 16;
/** The front hand is this part of the guest's memory ahead. */
const LEAD = 2;

interface Hands {
  back: number;
  /** How many entries the front hand is ahead. */
  lead: number;
  /** Calls of `take` for which no pages of disks are looked for, as there were none. */
  diskRest: number;
}

/** Which pages a round of the clock takes. */
export type Round = 'disk' | 'cold' | 'any';

/** The clock of a host; belongs to the memory manager's thread. */
export class Clock {
  readonly #memory: MachineMemory;
  readonly #transit: Transit;
  readonly #hands = new Map<number, Hands>();

  constructor(memory: MachineMemory, transit: Transit) {
    this.#memory = memory;
    this.#transit = transit;
  }

  /** Forgets a guest that is gone. */
  forget(slot: number): void {
    this.#hands.delete(slot);
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
  hasDiskPages(guest: Guest): boolean {
    const { i32 } = this.#memory;
    const hands = this.#handsOf(guest);
    if (i32[HEADER_DISK_USED] === 0 || (i32[HEADER_SWAP_NAIVE]! & SWAP_NAIVE_VICTIMS) !== 0) {
      return false;
    }
    return hands.diskRest-- <= 0;
  }

  /** A round for pages of disks has found none. */
  foundNoDiskPages(guest: Guest): void {
    this.#handsOf(guest).diskRest = DISK_REST;
  }

  /** Makes up to `count` pages leave and shoots them down. Returns the entries passed. */
  collect(guest: Guest, count: number, round: Round, most: number): number {
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
}

/** Whether a disk of its guest has the contents of a frame. */
function isOnDisk(memory: MachineMemory, mfn: number): boolean {
  const slot = frameSlot(memory, mfn);
  return slot >= 0 && isDiskSlot(memory, slot);
}
