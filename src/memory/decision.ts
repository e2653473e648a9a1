/**
 * What the memory manager asks the policy, and what it gets for an answer. A policy is a pure function of this, so that it
 * can be tested without guests. Amounts of memory are in pages (frames), times in milliseconds.
 */

/** What was observed of a guest. */
export interface GuestObservation {
  slot: number;
  name: string;
  /** Configured memory. */
  configured: number;
  /** What it is always left with. */
  minimum: number;
  /** The most that it may have. */
  maximum: number;
  shares: number;
  /** Pages that have a frame, shared or its own. */
  resident: number;
  /** Those of them that are merged. */
  merged: number;
  /** Frames that count as this guest's: its own, and its part of those it shares. */
  charged: number;
  /** Pages in swap. */
  swapped: number;
  /** Estimate of what it is using. */
  workingSet: number;
  /** Misses in a second if it had i / (length - 1) of its configured memory, for i from 0; empty while nothing is known. */
  misses: readonly number[];
  /** Whether one of its harts has waited for a frame since the last observation. */
  starved: boolean;
  /** Part of its time that it has waited for memory lately, 0 to 1, and the part from which on it is to be spared. */
  stalled: number;
  stallLimit: number;
  /** Pages in a second that were taken by paging and that it has used again lately. */
  returns: number;
  balloon: BalloonObservation;
}

/** What was observed of a guest's balloon. */
export interface BalloonObservation {
  /** Whether a driver has taken the device into use. */
  driver: boolean;
  target: number;
  actual: number;
  /** For how long the balloon has not moved towards its target; 0 while it moves or is there. */
  stuckMs: number;
  /** What the guest says of itself, -1 while it has said nothing: free pages, and pages it can give without swapping. */
  free: number;
  available: number;
  /** Pages in a second that the guest itself had to read from its disks lately, as it had no memory for them; 0 if it has not said. */
  majorFaults: number;
  /**
   * The size up to which the guest can do with it: smaller than what it had when the guest began to read from its disks again and again,
   * and growing slowly since. The configured memory for a guest that has not.
   */
  ease: number;
  /** A target set by hand, -1 if there is none. */
  manual: number;
}

/** What was observed of the host. */
export interface Observation {
  /** Time since the last observation. */
  elapsedMs: number;
  /** Frames that guests can have in all. */
  frames: number;
  /** Free frames now. */
  free: number;
  /** State (STATE_*) that was decided last. */
  state: number;
  /** Whether pages can be written to swap now: there is one, and it has not failed just now. */
  swapReady: boolean;
  guests: GuestObservation[];
}

/**
 * Why a target is what it is: the guest gets all of its configured memory or of its maximum, it is left with its minimum, or
 * the targets are the outcome of dividing what there is.
 */
export type TargetReason = 'all' | 'maximum' | 'minimum' | 'divided';

/** Why a balloon is to have its size. */
export type BalloonReason =
  /** It was set by hand. */
  | 'manual'
  /** There is no driver. */
  | 'no-driver'
  /** It takes what the guest can spare. */
  | 'takes'
  /** It should take more, and has not moved for a while. */
  | 'no-answer'
  /** The guest has hardly any memory available. */
  | 'let-out'
  | 'thrashing'
  /** The guest has less than its target. */
  | 'below-target'
  /** Memory is free. */
  | 'gives-back'
  | 'stays';

/** Why pages are taken without the guest's help. */
export type PagingReason =
  /** There is no time to wait for a balloon. */
  | 'urgent'
  /** The balloon brings in nothing: it was set by hand, has no driver, does not answer, or is as large as it may be. */
  | 'manual'
  | 'no-driver'
  | 'no-answer'
  | 'balloon-full'
  /** They are too few for the balloon to be worth being enlarged. */
  | 'few'
  /** The guest uses all that it has, and another one lacks them more: its balloon would take what is used, too. */
  | 'lacking';

/** By what memory is divided: by shares with a tax on idle memory, or by the misses that it saves. */
export const DIVISORS = ['shares', 'misses'] as const;
export type Divisor = (typeof DIVISORS)[number];

/** Why something is done with a guest. */
export interface Why {
  target: TargetReason;
  /** By what the memory was divided. */
  divisor: Divisor;
  /** Shares that it pays for each page, idle ones taxed; undefined if nothing had to be divided by shares. */
  price: number | undefined;
  /** Misses in a second that the last page of its target saves; undefined if nothing had to be divided by misses. */
  saved: number | undefined;
  /** Tax on idle memory, 0 to 1. */
  tax: number;
  balloon: BalloonReason;
  paging: PagingReason | undefined;
  /** Less is taken from it, as it waits for memory longer than its stall limit allows: the part that is still taken, 0 to 1. */
  spared: number;
}

/** What is to be done with a guest. */
export interface GuestDecision {
  slot: number;
  /** Memory that the guest should have now. */
  target: number;
  /** Size that its balloon should have. */
  balloonTarget: number;
  /** Frames to take from it by paging in this step. */
  page: number;
  /** Those of them for which there is no time to wait until pages have shown that they are in use. */
  urgent: number;
  /** Whether pages in use may be taken too. */
  force: boolean;
  /** Whether it gets no further frames for now. */
  block: boolean;
  why: Why;
}

/** What is to be done. */
export interface Decision {
  /** STATE_HIGH ... STATE_LOW. */
  state: number;
  guests: GuestDecision[];
}

/** Why a guest has what it has: what was observed last, what was decided, and what was taken from it so far. */
export interface Explanation {
  observation: Omit<Observation, 'guests'> & { guests: number; configured: number };
  guest: GuestObservation;
  /** The state that was decided, and what is done with the guest. */
  state: number;
  decision: GuestDecision;
  taken: TakenPages;
}

/** Pages that were taken from a guest so far, or came back from it, by way and reason. */
export interface TakenPages {
  /** By the memory manager's own paging. */
  paging: Record<PagingReason, number>;
  balloon: number;
  /** Reported as free by the guest. */
  reported: number;
  /** Merged with identical ones, pages of zeros included. */
  shared: number;
}

/** Decides from what was observed; keeps nothing between calls. */
export type Policy = (observation: Observation) => Decision;
