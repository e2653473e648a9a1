/** What a host and its guests have and have done, for the library's users. Amounts are bytes, counts are pages or events. */
import { type GuestAccount, takeAccount } from '../memory/account.ts';
import { PAGE_SIZE } from '../memory/layout.ts';
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
  /** Pages dropped and read again as a disk of the guest has them; pages in swap that were overwritten and not read. */
  readonly diskDrops: number;
  readonly diskReads: number;
  readonly overwritten: number;
  /** Pages read from swap because of a store, and not of a load. */
  readonly storeReads: number;
  /** Pages put into the compressed pool, and taken from it. */
  readonly compressed: number;
  readonly decompressed: number;
  /** Pages that could not be written to swap. */
  readonly swapFailures: number;
  /** Time that the guest waited for a free frame, milliseconds. */
  readonly starvedMs: number;
  /** Time that its harts waited for memory, pages from swap included, milliseconds. */
  readonly stalledMs: number;
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
  readonly maximum: number;
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
  /** What is kept from guests ({@link Host.limitMemory}). */
  readonly withheld: number;
  /** What of that no guest needs now: guests that are started later take their tables and harts from there. */
  readonly overheadFree: number;
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
    /** Memory in the swap file or compressed. */
    readonly swap: number;
  };
  /** Compressed pages: what the pool may take of the machine memory, what it takes, and what its pages took before. */
  readonly compressed: { readonly limit: number; readonly used: number; readonly pages: number };
  /** Operations of the swap file since the start, and the pages that they moved. */
  readonly swapIo: {
    readonly reads: number;
    readonly pagesRead: number;
    readonly writes: number;
    readonly pagesWritten: number;
    /** Of guests' disks, to bring pages back that were dropped because these have them. */
    readonly diskReads: number;
    readonly diskPagesRead: number;
  };
  /** Size of the swap file, and what of it is free. */
  readonly swapSize: number;
  readonly swapFree: number;
}

/** The statistics of a host and, by their slots, of its guests. */
export interface MemoryStatistics {
  readonly host: HostMemoryStatistics;
  readonly guests: ReadonlyMap<number, GuestMemoryStatistics>;
}

/** Takes the statistics now; any thread may. */
export function memoryStatistics(memory: MachineMemory): MemoryStatistics {
  const account = takeAccount(memory);
  const guests = new Map(account.guests.map((guest) => [guest.slot, guestStatistics(guest)]));
  const sum = (pick: (guest: GuestAccount) => number): number =>
    account.guests.reduce((total, guest) => total + pick(guest), 0) * PAGE_SIZE;
  const machineMemory = account.machine * PAGE_SIZE;
  const configured = sum((guest) => guest.configured);
  return {
    guests,
    host: {
      machineMemory,
      overhead: (account.machine - account.frames - account.withheld) * PAGE_SIZE,
      withheld: account.withheld * PAGE_SIZE,
      overheadFree: account.heapFree * PAGE_SIZE,
      free: account.free * PAGE_SIZE,
      state: account.state,
      configured,
      overcommit: configured / machineMemory,
      savings: {
        sharing: account.saved * PAGE_SIZE,
        balloon: sum((guest) => guest.balloonActual),
        swap: sum((guest) => guest.swapped),
      },
      compressed: {
        limit: account.pool.limit * PAGE_SIZE,
        used: account.pool.frames * PAGE_SIZE,
        pages: account.pool.pages * PAGE_SIZE,
      },
      swapIo: {
        reads: account.swap.reads,
        pagesRead: account.swap.readPages,
        writes: account.swap.writes,
        pagesWritten: account.swap.writtenPages,
        diskReads: account.swap.diskReads,
        diskPagesRead: account.swap.diskReadPages,
      },
      swapSize: account.swap.slots * PAGE_SIZE,
      swapFree: account.swap.free * PAGE_SIZE,
    },
  };
}

function guestStatistics(account: GuestAccount): GuestMemoryStatistics {
  const { events, reportedFree } = account;
  return {
    configured: account.configured * PAGE_SIZE,
    resident: account.resident * PAGE_SIZE,
    target: account.target * PAGE_SIZE,
    balloon: account.balloonActual * PAGE_SIZE,
    balloonTarget: account.balloonTarget * PAGE_SIZE,
    balloonManual: account.balloonManual,
    balloonDriver: account.balloonDriver,
    shared: account.merged * PAGE_SIZE,
    swapped: account.swapped * PAGE_SIZE,
    workingSet: account.workingSet * PAGE_SIZE,
    minimum: account.minimum * PAGE_SIZE,
    maximum: account.maximum * PAGE_SIZE,
    guestFree: reportedFree === undefined ? undefined : reportedFree * PAGE_SIZE,
    blocked: account.blocked,
    counts: {
      faults: events.faults,
      zeroFills: events.zeroFills,
      copies: events.copies,
      merged: events.merges + events.zeroMerges,
      ballooned: events.balloonFrames,
      reported: events.reportedFrames,
      paged: events.pagedFrames,
      swapOuts: events.swapOuts,
      swapIns: events.swapIns,
      diskDrops: events.diskDrops,
      diskReads: events.diskIns,
      overwritten: events.overwrites,
      storeReads: events.storeReads,
      compressed: events.poolOuts,
      decompressed: events.poolIns,
      swapFailures: events.swapFailures,
      starvedMs: events.starvedMs,
      stalledMs: events.stalledUs / 1000,
    },
  };
}
