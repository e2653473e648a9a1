/** What a host and its guests have and have done, read from the machine memory. Amounts are bytes, counts are pages or events. */
import type { Guest } from '../memory/guest.ts';
import * as layout from '../memory/layout.ts';
import * as block from '../memory/layout-guest.ts';
import type { MachineMemory } from '../memory/machine-memory.ts';

/** Free-memory state of a host. */
export type MemoryState = 'high' | 'soft' | 'hard' | 'low';

/** Pages and events of a guest since its start. */
export interface GuestCounts {
  /** Accesses that the VMM had to serve. */
  readonly faults: number;
  readonly zeroFills: number;
  /** Copies made because of a write to a shared page. */
  readonly copies: number;
  /** Pages merged with an identical one, pages of zeros included. */
  readonly merged: number;
  /** Frames that came back through the balloon. */
  readonly ballooned: number;
  /** Frames that came back because the guest reported them free. */
  readonly reported: number;
  /** Frames taken by the VMM's own paging. */
  readonly paged: number;
  readonly swapOuts: number;
  readonly swapIns: number;
  /** Pages that could not be written to swap. */
  readonly swapFailures: number;
  /** Time that the guest waited for a free frame, milliseconds. */
  readonly starvedMs: number;
}

/** A guest's memory. */
export interface GuestMemoryStatistics {
  readonly configured: number;
  /** Pages that have a frame, shared ones included. */
  readonly resident: number;
  /** Memory that the policy wants the guest to have. */
  readonly target: number;
  readonly balloon: number;
  readonly balloonTarget: number;
  /** Whether the balloon was set by hand. */
  readonly balloonManual: boolean;
  /** Whether the guest's balloon driver has come up. */
  readonly balloonDriver: boolean;
  /** Pages merged with others. */
  readonly shared: number;
  readonly swapped: number;
  readonly workingSet: number;
  readonly minimum: number;
  /** Free memory as the guest's driver reports it; undefined before it has. */
  readonly guestFree: number | undefined;
  /** Whether the manager holds the guest back. */
  readonly blocked: boolean;
  readonly counts: GuestCounts;
}

/** The machine memory. */
export interface HostMemoryStatistics {
  /** What the host was given. */
  readonly machineMemory: number;
  /** What the VMM itself takes of it. */
  readonly overhead: number;
  readonly free: number;
  readonly state: MemoryState;
  /** Configured memory of the running guests. */
  readonly configured: number;
  /** Configured memory by machine memory. */
  readonly overcommit: number;
  readonly savings: {
    /** Frames that there would be more without sharing. */
    readonly sharing: number;
    /** Memory in balloons. */
    readonly balloon: number;
    /** Memory in the swap file. */
    readonly swap: number;
  };
  /** Size of the swap file, and what of it is free. */
  readonly swapSize: number;
  readonly swapFree: number;
}

const STATES: readonly MemoryState[] = ['high', 'soft', 'hard', 'low'];

/** @param guest whose block is still there: before its `end` */
export function guestMemoryStatistics(guest: Guest): GuestMemoryStatistics {
  const at = (word: number): number => guest.get(word);
  const size = (word: number): number => at(word) * layout.PAGE_SIZE;
  const count = (word: number): number => at(word) >>> 0;
  const free = at(block.GUEST_BALLOON_STATISTICS + block.BALLOON_STAT_FREE);
  return {
    configured: size(block.GUEST_PAGES),
    resident: size(block.COUNT_RESIDENT),
    target: size(block.GUEST_TARGET),
    balloon: size(block.GUEST_BALLOON_ACTUAL),
    balloonTarget: size(block.GUEST_BALLOON_TARGET),
    balloonManual: at(block.GUEST_BALLOON_MANUAL) >= 0,
    balloonDriver: (at(block.GUEST_BALLOON_FLAGS) & block.BALLOON_DRIVER) !== 0,
    shared: size(block.COUNT_MERGED),
    swapped: size(block.COUNT_SWAPPED),
    workingSet: size(block.GUEST_WORKING_SET),
    minimum: size(block.GUEST_MINIMUM),
    guestFree: free < 0 ? undefined : free * layout.PAGE_SIZE,
    blocked: at(block.GUEST_BLOCKED) !== 0,
    counts: {
      faults: count(block.COUNT_FAULTS),
      zeroFills: count(block.COUNT_ZERO_FILLS),
      copies: count(block.COUNT_COPIES),
      merged: count(block.COUNT_MERGES) + count(block.COUNT_ZERO_MERGES),
      ballooned: count(block.COUNT_BALLOON_FRAMES),
      reported: count(block.COUNT_REPORTED_FRAMES),
      paged: count(block.COUNT_PAGED_FRAMES),
      swapOuts: count(block.COUNT_SWAP_OUTS),
      swapIns: count(block.COUNT_SWAP_INS),
      swapFailures: count(block.COUNT_SWAP_FAILURES),
      starvedMs: count(block.COUNT_STARVED_MS),
    },
  };
}

/** @param guests statistics of the guests that run */
export function hostMemoryStatistics(
  memory: MachineMemory,
  guests: readonly GuestMemoryStatistics[],
): HostMemoryStatistics {
  const { i32, machineFrames, guestFrames } = memory;
  const sum = (pick: (guest: GuestMemoryStatistics) => number): number =>
    guests.reduce((total, guest) => total + pick(guest), 0);
  const free = memory.freeFrames;
  const machineMemory = machineFrames * layout.PAGE_SIZE;
  const configured = sum((guest) => guest.configured);
  const mapped = Atomics.load(i32, layout.HEADER_MAPPED);
  return {
    machineMemory,
    overhead: (machineFrames - guestFrames) * layout.PAGE_SIZE,
    free: free * layout.PAGE_SIZE,
    state: STATES[Atomics.load(i32, layout.HEADER_STATE)] ?? 'low',
    configured,
    overcommit: configured / machineMemory,
    savings: {
      // Frames in use by other than mappings (pages in the manager's hands) make this too small for a moment.
      sharing: Math.max(0, mapped - (guestFrames - free)) * layout.PAGE_SIZE,
      balloon: sum((guest) => guest.balloon),
      swap: sum((guest) => guest.swapped),
    },
    swapSize: i32[layout.HEADER_SWAP_SLOTS]! * layout.PAGE_SIZE,
    swapFree: Atomics.load(i32, layout.HEADER_SWAP_FREE) * layout.PAGE_SIZE,
  };
}
