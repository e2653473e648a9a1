/** What a memory manager is made with, and what it says of itself. */

import type { EventCounts, GuestAccount, HostAccount } from './account.ts';
import type { Policy } from './decision.ts';
import type { PageContents } from './hash.ts';
import type { SharingLoad } from './sharing-pace.ts';
import type { SlotStore } from './swap.ts';
import type { WorkingSetOptions } from './working-set.ts';

/** What a memory manager is made with. */
export interface ManagerOptions {
  policy: Policy;
  /** Milliseconds from any start. */
  now: () => number;
  /** Where swapped pages are written; without it nothing is swapped. */
  store?: SlotStore | undefined;
  /** Random numbers from 0 up to 1; by default Math.random. */
  random?: () => number;
  /** Told of errors that the manager survives: swap full, a write that failed, a hart that does not answer. */
  onError?: (error: Error) => void;
  /** Whether pages are shared; true by default. */
  sharing?: boolean;
  /** How page sharing looks at pages; by default in JavaScript. */
  contents?: PageContents;
  /** Parts of a core that page sharing may take. */
  sharingLoad?: SharingLoad;
  workingSet?: WorkingSetOptions;
  /** Is told of guests that are gone. */
  onGone?: (slot: number, now: number) => void;
  /** Milliseconds that one tick may page; 40 by default, four times that in state low. */
  pagingMs?: number;
  /** Milliseconds after which a hart that does not answer a shootdown is reported. */
  shootdownTimeoutMs?: number;
}

/** What a memory manager has done so far. */
export interface ManagerWork {
  ticks: number;
  /** Pages hashed by page sharing. */
  scanned: number;
  busyMs: number;
}

/** The account of a host with what happened so far. */
export interface HostSnapshot extends HostAccount {
  guests: GuestAccount[];
  /** Events of all guests, those that are gone included. */
  totals: EventCounts;
  /** What the manager itself has done. */
  manager: ManagerWork;
}
