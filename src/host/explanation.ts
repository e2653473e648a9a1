/** Why a guest has what it has, for the library's users. Amounts of memory are bytes. */
import { STATE_NAMES } from '../memory/account.ts';
import type { BalloonReason, Divisor, Explanation, PagingReason, TargetReason } from '../memory/decision.ts';
import { PAGE_SIZE } from '../memory/layout.ts';
import { sentence } from '../policy/explain.ts';
import type { MemoryState } from './statistics.ts';

/** Why a guest has this much memory now. */
export interface GuestExplanation {
  readonly guest: string;
  /** All of it in one sentence. */
  readonly text: string;
  /** State of the host. */
  readonly state: MemoryState;
  readonly configured: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly shares: number;
  /** Frames that count as this guest's: its own, and its part of those it shares. */
  readonly charged: number;
  readonly workingSet: number;
  readonly target: number;
  readonly targetReason: TargetReason;
  /** By what the memory is divided. */
  readonly divisor: Divisor;
  /** Shares that it pays for a page, idle ones taxed; undefined if there is enough for all, or misses decide. */
  readonly price: number | undefined;
  /** Misses in a second that the last page of its target saves; undefined if there is enough for all, or shares decide. */
  readonly saved: number | undefined;
  /** Misses in a second with i / 64 of its configured memory, for i from 0 to 64; empty while nothing is known. */
  readonly misses: readonly number[];
  /** Percent of its time that it has waited for memory lately, and that it may wait. */
  readonly stalled: number;
  readonly stallLimit: number;
  readonly balloon: { readonly size: number; readonly target: number; readonly reason: BalloonReason };
  /** What is paged out at this moment, and why. */
  readonly paging: { readonly bytes: number; readonly reason: PagingReason } | undefined;
  /** Part of what it should give that is taken, 0 to 1: less than 1 while it waits for memory too long. */
  readonly spared: number;
  readonly blocked: boolean;
  /** What was taken from it since its start, by the way it went; paged memory by the reason for it. */
  readonly taken: {
    readonly balloon: number;
    readonly reported: number;
    readonly shared: number;
    readonly paging: Readonly<Record<PagingReason, number>>;
  };
}

/** The explanation of the memory manager in the words of the library. */
export function guestExplanation(of: Explanation): GuestExplanation {
  const { guest, decision, taken } = of;
  const { why, page } = decision;
  const bytes = (pages: number): number => Math.round(pages) * PAGE_SIZE;
  const paging = Object.fromEntries(Object.entries(taken.paging).map(([reason, pages]) => [reason, bytes(pages)]));
  return {
    guest: guest.name,
    text: sentence(of),
    state: STATE_NAMES[of.state] ?? 'high',
    configured: bytes(guest.configured),
    minimum: bytes(guest.minimum),
    maximum: bytes(guest.maximum),
    shares: guest.shares,
    charged: bytes(guest.charged),
    workingSet: bytes(guest.workingSet),
    target: bytes(decision.target),
    targetReason: why.target,
    divisor: why.divisor,
    price: why.price,
    saved: why.saved,
    misses: guest.misses,
    stalled: guest.stalled * 100,
    stallLimit: guest.stallLimit * 100,
    balloon: { size: bytes(guest.balloon.actual), target: bytes(decision.balloonTarget), reason: why.balloon },
    paging: why.paging === undefined ? undefined : { bytes: bytes(page), reason: why.paging },
    spared: why.spared,
    blocked: decision.block,
    taken: {
      balloon: bytes(taken.balloon),
      reported: bytes(taken.reported),
      shared: bytes(taken.shared),
      paging: paging as Record<PagingReason, number>,
    },
  };
}
