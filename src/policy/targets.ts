/**
 * Targets: how the frames are divided. Memory goes to whoever pays most shares for a page, and an idle page costs k times
 * an active one, k = 1 / (1 - tax) (Waldspurger, OSDI 2002, 5.1). In balance all guests pay the same price; it is found
 * directly, and so are the bounds: nobody is below the minimum or above the configured memory. A page that the guest itself
 * calls free costs far more than an idle one, so that free pages are the first to be given.
 */

/** What a claim to memory is made of; pages. */
export interface Claim {
  shares: number;
  configured: number;
  minimum: number;
  /** Estimate of what the guest is using. */
  workingSet: number;
  /** Pages that the guest says are free, -1 or 0 if it has not said. */
  free: number;
}

/** What a page that the guest calls free costs, in idle pages. */
const FREE_FACTOR = 16;
/** Steps of the search for the price; each halves the error. */
const STEPS = 60;

/**
 * Divides `frames` among the claims; `tax` from 0 up to, but not 1. Returns whole pages for each claim, in all not more
 * than `frames` unless the minimums alone are more.
 */
export function divide(claims: readonly Claim[], frames: number, tax: number): number[] {
  let configured = 0;
  for (const claim of claims) {
    configured += claim.configured;
  }
  if (configured <= frames) {
    return claims.map((claim) => claim.configured);
  }
  const idleCost = 1 / (1 - tax);
  let low = 0;
  let high = 1;
  while (total(claims, high, idleCost) < frames && high < 2 ** 60) {
    high *= 2;
  }
  for (let i = 0; i < STEPS; i++) {
    const middle = (low + high) / 2;
    if (total(claims, middle, idleCost) > frames) {
      high = middle;
    } else {
      low = middle;
    }
  }
  return claims.map((claim) => Math.floor(pagesFor(claim, low, idleCost)));
}

function total(claims: readonly Claim[], perShare: number, idleCost: number): number {
  let sum = 0;
  for (const claim of claims) {
    sum += Math.floor(pagesFor(claim, perShare, idleCost));
  }
  return sum;
}

/** Pages that a guest gets if each share buys `perShare` active pages: active pages first, then idle, then free ones. */
function pagesFor(claim: Claim, perShare: number, idleCost: number): number {
  const { configured } = claim;
  const active = Math.min(Math.max(claim.workingSet, 0), configured);
  const free = Math.min(Math.max(claim.free, 0), configured - active);
  const idle = configured - active - free;
  let budget = claim.shares * perShare;
  let pages = Math.min(budget, active);
  budget = Math.max(0, budget - active);
  const idlePages = Math.min(budget / idleCost, idle);
  pages += idlePages;
  budget = Math.max(0, budget - idle * idleCost);
  pages += Math.min(budget / (idleCost * FREE_FACTOR), free);
  return Math.min(configured, Math.max(claim.minimum, pages));
}
