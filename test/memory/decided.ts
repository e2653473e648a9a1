import type { GuestDecision, Why } from '../../src/memory/decision.ts';

/** Reasons of a decision that a test has made up. */
export const WHY: Why = {
  target: 'all',
  divisor: 'shares',
  price: undefined,
  saved: undefined,
  tax: 0,
  balloon: 'stays',
  paging: 'urgent',
  spared: 1,
};

/** A decision that does nothing with a guest but what is given. */
export function decided(slot: number, changes: Partial<GuestDecision>): GuestDecision {
  return { slot, target: 0, balloonTarget: 0, page: 0, urgent: 0, force: false, block: false, why: WHY, ...changes };
}
