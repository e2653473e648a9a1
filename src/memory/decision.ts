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
  /** Whether one of its harts has waited for a frame since the last observation. */
  starved: boolean;
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

/** What is to be done with a guest. */
export interface GuestDecision {
  slot: number;
  /** Memory that the guest should have now. */
  target: number;
  /** Size that its balloon should have. */
  balloonTarget: number;
  /** Frames to take from it by paging in this step. */
  page: number;
  /** Whether pages in use may be taken too. */
  force: boolean;
  /** Whether it gets no further frames for now. */
  block: boolean;
  /** A sentence that says why. */
  reason: string;
}

/** What is to be done. */
export interface Decision {
  /** STATE_HIGH ... STATE_LOW. */
  state: number;
  guests: GuestDecision[];
}

/** Decides from what was observed; keeps nothing between calls. */
export type Policy = (observation: Observation) => Decision;
