/**
 * Targets by misses: memory goes to where a page more saves most misses, weighed by shares (Zhou et al., ASPLOS 2004, divide
 * memory among processes by their miss-ratio curves). What is left when no guest has use for more is divided by shares.
 *
 * Guests whose curves are much the same must not take everything from each other in turn as their estimates vary. So the
 * last page of a guest's memory counts for less than its first, all else being equal, and equals share evenly.
 */

import { type Claim, divide } from './targets.ts';

/** A claim with the guest's miss-ratio curve. */
export interface MissClaim extends Claim {
  /** Misses in a second with i / (length - 1) of its configured memory, for i from 0; empty while nothing is known. */
  misses: readonly number[];
  /** What it has now. */
  charged: number;
  /**
   * Misses in a second that the curve does not show: what the guest reads from its own disks, as it has no memory to keep it
   * in; and the memory by which it would have to grow to miss nothing any more.
   */
  hidden: number;
  hiddenPages: number;
}

/** Targets, and what a page more would be worth to each guest: misses in a second that it saves. */
export interface MissTargets {
  targets: number[];
  /** Misses in a second that the last page of each target saves, by the guest's own curve. */
  saved: number[];
}

/** How much less the last page of the configured memory counts than the first, as a part of 1. */
const TILT = 0.5;
/**
 * Uses in a second that a page of the working set is expected to have at least: what was used for the first time has no
 * reuse distance yet.
 */
const EXPECTED = 0.02;
/** Steps of the search for the price; each halves the error. */
const STEPS = 50;

/** Misses that each page saves in a second, by equal parts of the configured memory; falling. */
type Marginals = readonly number[];

/** Divides `frames` among the claims; as {@link divide} does, which divides what is left with `tax`. */
export function divideByMisses(claims: readonly MissClaim[], frames: number, tax: number): MissTargets {
  const marginals = claims.map(marginalsOf);
  let limits = 0;
  for (const claim of claims) {
    limits += claim.limit;
  }
  if (limits <= frames) {
    return { targets: claims.map((claim) => claim.limit), saved: claims.map(() => 0) };
  }
  let low = 0;
  let high = 0;
  for (const [i, { shares }] of claims.entries()) {
    high = Math.max(high, (marginals[i]![0] ?? 0) * shares * (1 + TILT) + 1);
  }
  for (let i = 0; i < STEPS; i++) {
    const middle = (low + high) / 2;
    if (total(claims, marginals, middle) > frames) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const useful = claims.map((claim, i) => Math.floor(pagesAt(claim, marginals[i]!, high)));
  const targets = divide(
    claims.map((claim, i) => ({ ...claim, minimum: useful[i]! })),
    frames,
    tax,
  );
  const saved = targets.map((target, i) => {
    const each = marginals[i]!;
    return each[Math.min(each.length - 1, Math.floor((target / claims[i]!.configured) * each.length))] ?? 0;
  });
  return { targets, saved };
}

function total(claims: readonly MissClaim[], marginals: readonly Marginals[], price: number): number {
  let sum = 0;
  for (const [i, claim] of claims.entries()) {
    sum += Math.floor(pagesAt(claim, marginals[i]!, price));
  }
  return sum;
}

/** Pages of a guest that are worth the price or more, within its bounds. */
function pagesAt(claim: MissClaim, marginals: Marginals, price: number): number {
  const parts = marginals.length;
  let pages = 0;
  for (const [part, saved] of marginals.entries()) {
    // Within a part the value falls on a line, by the tilt.
    const first = worth(claim, saved, part / parts);
    const last = worth(claim, saved, (part + 1) / parts);
    if (first <= price) break;
    pages += last > price ? 1 : (first - price) / (first - last);
  }
  return Math.min(claim.limit, Math.max(claim.minimum, (pages * claim.configured) / parts));
}

function worth({ shares }: MissClaim, saved: number, place: number): number {
  return shares * saved * (1 - TILT * place);
}

/** What pages save, from the curve's lower convex hull: a step in the curve is worth its height by its width. */
function marginalsOf(claim: MissClaim): Marginals {
  const { misses, configured, workingSet } = claim;
  const parts = Math.max(1, misses.length - 1);
  const partPages = configured / parts;
  const marginals = hull(withHidden(claim)).map((saved) => saved / partPages);
  const used = Math.min(1, Math.max(0, workingSet) / configured) * parts;
  return marginals.map((saved, part) => Math.max(saved, part + 0.5 < used ? EXPECTED : 0));
}

/** The curve, with the hidden misses on top up to what the guest has, and fewer and fewer of them behind that. */
function withHidden({ misses, configured, charged, hidden, hiddenPages }: MissClaim): readonly number[] {
  if (hidden <= 0 || misses.length < 2) {
    return misses;
  }
  const partPages = configured / (misses.length - 1);
  const span = Math.max(hiddenPages, partPages);
  return misses.map((each, i) => each + hidden * Math.min(1, Math.max(0, (charged + span - i * partPages) / span)));
}

/** Slopes of the lower convex hull, one for each part, positive and falling. */
function hull(misses: readonly number[]): number[] {
  if (misses.length < 2) {
    return [0];
  }
  const corners: number[] = [];
  for (let i = 0; i < misses.length; i++) {
    while (corners.length >= 2) {
      const [a, b] = [corners.at(-2)!, corners.at(-1)!];
      if ((misses[b]! - misses[a]!) * (i - a) < (misses[i]! - misses[a]!) * (b - a)) break;
      corners.pop();
    }
    corners.push(i);
  }
  const slopes: number[] = [];
  for (let c = 1; c < corners.length; c++) {
    const [a, b] = [corners[c - 1]!, corners[c]!];
    const slope = Math.max(0, (misses[a]! - misses[b]!) / (b - a));
    for (let i = a; i < b; i++) slopes.push(slope);
  }
  return slopes;
}
