/** What the memory manager keeps of a guest: watches, and what it has taken from it. */

import { BalloonWatch } from './balloon-watch.ts';
import { ClockPace } from './clock-pace.ts';
import type { PagingReason, TakenPages } from './decision.ts';
import type { Guest } from './guest.ts';
import { COUNT_BALLOON_FRAMES, COUNT_MERGES, COUNT_REPORTED_FRAMES, COUNT_ZERO_MERGES } from './layout-guest.ts';
import { ReturnWatch } from './return-watch.ts';
import { StallWatch } from './stall-watch.ts';

/** A guest, as the manager's thread has it. */
export interface Managed {
  guest: Guest;
  balloon: BalloonWatch;
  stalls: StallWatch;
  returns: ReturnWatch;
  clock: ClockPace;
  starvations: number;
  /** Pages paged so far, by reason. */
  paged: Record<PagingReason, number>;
}

/** Takes up a guest. */
export function manage(guest: Guest, now: number): Managed {
  return {
    guest,
    balloon: new BalloonWatch(guest, now),
    stalls: new StallWatch(guest, now),
    returns: new ReturnWatch(guest, now),
    clock: new ClockPace(),
    starvations: 0,
    paged: { urgent: 0, manual: 0, 'no-driver': 0, 'no-answer': 0, 'balloon-full': 0, few: 0, lacking: 0 },
  };
}

/** What was taken from a guest since its start. */
export function takenPages({ guest, paged }: Managed): TakenPages {
  return {
    paging: { ...paged },
    balloon: guest.get(COUNT_BALLOON_FRAMES) >>> 0,
    reported: guest.get(COUNT_REPORTED_FRAMES) >>> 0,
    shared: (guest.get(COUNT_MERGES) + guest.get(COUNT_ZERO_MERGES)) >>> 0,
  };
}
