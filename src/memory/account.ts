/** The account of the memory: what is where, as plain objects, and the proof that it is right. */

import { Guest } from './guest.ts';
import {
  GUEST_SLOTS,
  HEADER_DISK_READ_PAGES,
  HEADER_DISK_READS,
  HEADER_GUEST_TABLE,
  HEADER_HEAP_FREE,
  HEADER_KEPT,
  HEADER_MAPPED,
  HEADER_STATE,
  HEADER_SWAP_BAD,
  HEADER_SWAP_FREE,
  HEADER_SWAP_READ_PAGES,
  HEADER_SWAP_READS,
  HEADER_SWAP_SLOTS,
  HEADER_SWAP_WRITE_PAGES,
  HEADER_SWAP_WRITES,
  HEADER_WITHHELD,
} from './layout.ts';
import * as words from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { type PoolAccount, poolAccount } from './pool.ts';

/** Names of the free-memory states, by number. */
export const STATE_NAMES = ['high', 'soft', 'hard', 'low'] as const;

/** Events so far; pages unless the name says otherwise. */
export interface EventCounts {
  faults: number;
  zeroFills: number;
  copies: number;
  swapIns: number;
  rescues: number;
  swapOuts: number;
  cleanDrops: number;
  merges: number;
  zeroMerges: number;
  balloonFrames: number;
  reportedFrames: number;
  starvations: number;
  starvedMs: number;
  /** Microseconds in which harts waited for a frame or for a page from swap. */
  stalledUs: number;
  shootdowns: number;
  pagedFrames: number;
  swapFailures: number;
  poolOuts: number;
  poolIns: number;
  readAhead: number;
  diskDrops: number;
  diskIns: number;
  overwrites: number;
  storeReads: number;
}

/** Where the words of EventCounts are in the guest block. */
const EVENT_WORDS: Record<keyof EventCounts, number> = {
  faults: words.COUNT_FAULTS,
  zeroFills: words.COUNT_ZERO_FILLS,
  copies: words.COUNT_COPIES,
  swapIns: words.COUNT_SWAP_INS,
  rescues: words.COUNT_RESCUES,
  swapOuts: words.COUNT_SWAP_OUTS,
  cleanDrops: words.COUNT_CLEAN_DROPS,
  merges: words.COUNT_MERGES,
  zeroMerges: words.COUNT_ZERO_MERGES,
  balloonFrames: words.COUNT_BALLOON_FRAMES,
  reportedFrames: words.COUNT_REPORTED_FRAMES,
  starvations: words.COUNT_STARVATIONS,
  starvedMs: words.COUNT_STARVED_MS,
  stalledUs: words.COUNT_STALLED_US,
  shootdowns: words.COUNT_SHOOTDOWNS,
  pagedFrames: words.COUNT_PAGED_FRAMES,
  swapFailures: words.COUNT_SWAP_FAILURES,
  poolOuts: words.COUNT_POOL_OUTS,
  poolIns: words.COUNT_POOL_INS,
  readAhead: words.COUNT_READ_AHEAD,
  diskDrops: words.COUNT_DISK_DROPS,
  diskIns: words.COUNT_DISK_INS,
  overwrites: words.COUNT_OVERWRITES,
  storeReads: words.COUNT_STORE_READS,
};
const EVENT_NAMES = Object.keys(EVENT_WORDS) as (keyof EventCounts)[];

/** One guest's part of the account; memory in pages. */
export interface GuestAccount {
  slot: number;
  name: string;
  /** Configured memory. */
  configured: number;
  minimum: number;
  /** The most that it may have. */
  maximum: number;
  shares: number;
  /** Part of its time that it may wait for memory before it is spared, 0 to 1. */
  stallLimit: number;
  /** Pages with a frame, shared or its own. */
  resident: number;
  /** Those of them that page sharing has merged. */
  merged: number;
  /** Frames that count as this guest's: those of its own, and its part of the merged ones. */
  charged: number;
  swapped: number;
  /** Pages that take nothing: untouched, given back, or found to be zeros. */
  zero: number;
  target: number;
  workingSet: number;
  balloonTarget: number;
  balloonActual: number;
  balloonDriver: boolean;
  /** Whether the target was set by hand. */
  balloonManual: boolean;
  /** What the driver last said is free in the guest; undefined before it has said anything. */
  reportedFree: number | undefined;
  blocked: boolean;
  /** VMM heap that the guest takes. */
  overhead: number;
  events: EventCounts;
}

/** The account of a host; memory in pages. */
export interface HostAccount {
  /** Size of the machine memory. */
  machine: number;
  /** Frames that guests can have, without those that are kept from them. */
  frames: number;
  withheld: number;
  free: number;
  /** Frames in use. */
  used: number;
  /** Pages of all guests that have a frame; more than `used` by what sharing saves. */
  mapped: number;
  /** Frames that page sharing saves now, pages of zeros not counted. */
  saved: number;
  state: (typeof STATE_NAMES)[number];
  heapFree: number;
  /** Slots, and what the swap file has done: operations and the pages in them. */
  swap: {
    slots: number;
    free: number;
    bad: number;
    reads: number;
    readPages: number;
    writes: number;
    writtenPages: number;
    /** Of guests' disks, to bring dropped pages back. */
    diskReads: number;
    diskReadPages: number;
  };
  /** Compressed pages, and the frames that hold them. */
  pool: PoolAccount;
  /** Frames that no page has, and that are kept for pages in swap with their contents. */
  kept: number;
  /** Configured memory of all guests divided by `frames`. */
  overcommit: number;
  guests: GuestAccount[];
}

/** All events zero. */
export function noEvents(): EventCounts {
  const events = {} as EventCounts;
  for (const name of EVENT_NAMES) {
    events[name] = 0;
  }
  return events;
}

/** Adds the events of one account to another. */
export function addEvents(sum: EventCounts, events: EventCounts): void {
  for (const name of EVENT_NAMES) {
    sum[name] += events[name];
  }
}

/** Slots of the guests that exist now. */
export function guestSlots(memory: MachineMemory): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < GUEST_SLOTS; slot++) {
    if (Atomics.load(memory.i32, HEADER_GUEST_TABLE + slot) !== 0) {
      slots.push(slot);
    }
  }
  return slots;
}

/**
 * The account as it is now, taken under the mutex (some microseconds a guest). Any thread may ask; one that asks often
 * hands in the handles to guests that it has already.
 */
export function takeAccount(memory: MachineMemory, handle = (slot: number) => Guest.attach(memory, slot)): HostAccount {
  memory.lock();
  try {
    const { i32 } = memory;
    const withheld = i32[HEADER_WITHHELD]!;
    const frames = memory.guestFrames - withheld;
    const free = memory.freeFrames;
    const mapped = i32[HEADER_MAPPED]!;
    const pool = poolAccount(memory);
    const kept = i32[HEADER_KEPT]!;
    const saved = Math.max(0, mapped - (frames - free - pool.frames - kept));
    const guests = guestSlots(memory).map((slot) => guestAccount(handle(slot)));
    let merged = 0;
    let configured = 0;
    for (const guest of guests) {
      merged += guest.merged;
      configured += guest.configured;
    }
    for (const guest of guests) {
      guest.charged = guest.resident - (merged > 0 ? Math.min(guest.merged, (guest.merged * saved) / merged) : 0);
    }
    return {
      machine: memory.machineFrames,
      frames,
      withheld,
      free,
      used: frames - free,
      mapped,
      saved,
      state: STATE_NAMES[i32[HEADER_STATE]!] ?? 'high',
      heapFree: i32[HEADER_HEAP_FREE]!,
      swap: {
        slots: i32[HEADER_SWAP_SLOTS]!,
        free: i32[HEADER_SWAP_FREE]!,
        bad: i32[HEADER_SWAP_BAD]!,
        reads: i32[HEADER_SWAP_READS]! >>> 0,
        readPages: i32[HEADER_SWAP_READ_PAGES]! >>> 0,
        writes: i32[HEADER_SWAP_WRITES]! >>> 0,
        writtenPages: i32[HEADER_SWAP_WRITE_PAGES]! >>> 0,
        diskReads: i32[HEADER_DISK_READS]! >>> 0,
        diskReadPages: i32[HEADER_DISK_READ_PAGES]! >>> 0,
      },
      pool,
      kept,
      overcommit: configured / frames,
      guests,
    };
  } finally {
    memory.unlock();
  }
}

function guestAccount(guest: Guest): GuestAccount {
  const resident = guest.get(words.COUNT_RESIDENT);
  const swapped = guest.get(words.COUNT_SWAPPED);
  const free = guest.get(words.GUEST_BALLOON_STATISTICS + words.BALLOON_STAT_FREE);
  const events = noEvents();
  for (const name of EVENT_NAMES) {
    events[name] = guest.get(EVENT_WORDS[name]) >>> 0;
  }
  return {
    slot: guest.slot,
    name: guest.name,
    configured: guest.pages,
    minimum: guest.get(words.GUEST_MINIMUM),
    maximum: guest.get(words.GUEST_MAXIMUM),
    shares: guest.get(words.GUEST_SHARES),
    stallLimit: guest.get(words.GUEST_STALL_LIMIT) / 1000,
    resident,
    merged: guest.get(words.COUNT_MERGED),
    charged: resident,
    swapped,
    zero: guest.pages - resident - swapped,
    target: guest.get(words.GUEST_TARGET),
    workingSet: guest.get(words.GUEST_WORKING_SET),
    balloonTarget: guest.get(words.GUEST_BALLOON_TARGET),
    balloonActual: guest.get(words.GUEST_BALLOON_ACTUAL),
    balloonManual: guest.get(words.GUEST_BALLOON_MANUAL) >= 0,
    reportedFree: free < 0 ? undefined : free,
    balloonDriver: (guest.get(words.GUEST_BALLOON_FLAGS) & words.BALLOON_DRIVER) !== 0,
    blocked: guest.get(words.GUEST_BLOCKED) !== 0,
    overhead: guest.get(words.GUEST_OVERHEAD),
    events,
  };
}
