/**
 * Targets by shares: how the frames are divided. Memory goes to whoever pays most shares for a page, and an idle page costs
 * k times an active one, k = 1 / (1 - tax) (Waldspurger, OSDI 2002, 5.1 and 5.2). Min-funding revocation takes pages from
 * whoever pays least (`rho`) and gives them to whoever pays more; where that ends all guests pay the same price. The price
 * is searched for directly, and so are the bounds: nobody is below the minimum or above the limit. A page that the guest
 * itself calls free costs far more than an idle one, so that free pages are the first to be given.
 */

/** What a claim to memory is made of; pages. */
export interface Claim {
  shares: number;
  configured: number;
  minimum: number;
  /** The most that it may have: its maximum, or its configured memory. */
  limit: number;
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
  let limits = 0;
  for (const claim of claims) {
    limits += claim.limit;
  }
  if (limits <= frames) {
    return claims.map((claim) => claim.limit);
  }
  const idleCost = idleCostOf(tax);
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

/**
 * What a guest pays for each page of `pages`: shares / (active + k * idle), which is the published S / (P * (f + k * (1 - f)))
 * with P pages of which the part f is active; free pages are charged more than idle ones. Infinite without pages.
 */
export function rho(claim: Claim, pages: number, tax: number): number {
  const idleCost = idleCostOf(tax);
  const { active, idle } = parts(claim);
  const activePages = Math.min(pages, active);
  const idlePages = Math.min(pages - activePages, idle);
  const freePages = pages - activePages - idlePages;
  return claim.shares / (activePages + idleCost * (idlePages + FREE_FACTOR * freePages));
}

/** k: the price of an idle page in active ones. */
function idleCostOf(tax: number): number {
  return 1 / (1 - tax);
}

function total(claims: readonly Claim[], perShare: number, idleCost: number): number {
  let sum = 0;
  for (const claim of claims) {
    sum += Math.floor(pagesFor(claim, perShare, idleCost));
  }
  return sum;
}

/** A guest's pages by what they cost; the rest of its configured memory is called free by the guest. */
function parts({ configured, workingSet, free }: Claim): { active: number; idle: number } {
  const active = Math.min(Math.max(workingSet, 0), configured);
  return { active, idle: configured - active - Math.min(Math.max(free, 0), configured - active) };
}

/** Pages that a guest gets if each share buys `perShare` active pages: active pages first, then idle, then free ones. */
function pagesFor(claim: Claim, perShare: number, idleCost: number): number {
  const { active, idle } = parts(claim);
  const free = claim.configured - active - idle;
  let budget = claim.shares * perShare;
  let pages = Math.min(budget, active);
  budget = Math.max(0, budget - active);
  pages += Math.min(budget / idleCost, idle);
  budget = Math.max(0, budget - idle * idleCost);
  pages += Math.min(budget / (idleCost * FREE_FACTOR), free);
  return Math.min(claim.limit, Math.max(claim.minimum, pages));
}
