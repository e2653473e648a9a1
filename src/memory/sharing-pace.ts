/**
 * How fast page sharing scans. Its time is a part of a core: a small one while it finds little, a larger one while it finds
 * much, or memory has become short. Whether it finds much shows only after a round, in which about every page was looked at once: a
 * sample of a part of the pages finds but the square of that part of the doubles.
 */

import { STATE_HIGH } from './layout.ts';
import type { ScanResult } from './sharing.ts';

/** Parts of a core that page sharing may take. */
export interface SharingLoad {
  /** While it finds little; 0.01 by default. Where moreover hardly any page comes or is written anew, less and less. */
  idle?: number;
  /** While it finds much, or has not looked yet; 0.1 by default. */
  finding?: number;
  /** While memory is short, until a round has found little; 0.1 by default. */
  pressed?: number;
}

/** Milliseconds of scanning that can be saved up. */
const CREDIT_MS = 30;
/** The shortest scan that is worth a shootdown, milliseconds. */
const SHORTEST_MS = 1;
/** A scan that takes this many times what it should, as the thread does not get to run, is ended. */
const PATIENCE = 4;
/** Part of the pages scanned in a round that makes the next one worth more time. */
const WORTHWHILE = 0.01;
/** Growth of the unmerged memory that makes a new round worth it. */
const GROWTH = 1.1;
/** Part of the time that is left to the scans of memory in which nothing happens: after each round half of it, down to this. */
const LEAST_PART = 1 / 16;
/** Pages of a round for each unmerged page: half of the pages are picked at random, some of them twice. */
const ROUND = 1.2;
/** A scan counts with the time it took, but not with more than this many times what the fastest ones would have taken. */
const SLACK = 4;
/** Bounds of the estimated cost of a page, milliseconds. */
const CHEAPEST = 0.0005;
const DEAREST = 0.05;

/** Keeps the pace of page sharing. */
export class SharingPace {
  readonly #load: Required<SharingLoad>;
  #credit = 0;
  /** Milliseconds of computing for a page: what the fastest scans take, which neither merge nor wait for the processor. */
  #cost = 0.005;
  #finding = true;
  #short = false;
  #scanned = 0;
  #found = 0;
  /** Unmerged pages at the end of the last round, and the faults that there had been by then. */
  #unmerged = 0;
  #faults = 0;
  #part = 1;

  constructor(load: SharingLoad = {}) {
    this.#load = { idle: load.idle ?? 0.01, finding: load.finding ?? 0.1, pressed: load.pressed ?? 0.1 };
  }

  /** Whether it finds much, or has not looked yet. */
  get finding(): boolean {
    return this.#finding;
  }

  /**
   * Adds the time that has passed. Returns the pages that may be scanned now, 0 if it is not worth it yet. `faults`: how
   * many the guests that are there have had so far. `arrived`: devices have written pages, for which a short scan is worth it.
   * `wanted`: somebody could use what is found.
   */
  pages(state: number, elapsedMs: number, unmerged: number, faults: number, arrived = false, wanted = true): number {
    // Those of guests that have gone are no longer counted.
    this.#faults = Math.min(this.#faults, faults);
    this.#finding ||= unmerged > this.#unmerged * GROWTH;
    if (this.#finding || !this.#isQuiet(unmerged, faults)) {
      this.#part = 1;
    }
    const { idle, finding, pressed } = this.#load;
    // What could be found when memory became short is known after a round, however long it stays so.
    const short = state !== STATE_HIGH;
    this.#finding ||= short && !this.#short;
    this.#short = short;
    const load = !this.#finding ? idle * this.#part : short ? pressed : wanted ? finding : idle;
    this.#credit = Math.min(CREDIT_MS, this.#credit + elapsedMs * load);
    return this.#credit < (arrived ? SHORTEST_MS / 10 : SHORTEST_MS) ? 0 : Math.floor(this.#credit / this.#cost);
  }

  /** Milliseconds that the next scan may take in all. */
  get limitMs(): number {
    return this.#credit * PATIENCE;
  }

  /** Takes account of a scan, which took `ms`. */
  note({ scanned, merged, zero }: ScanResult, ms: number, unmerged: number, faults: number): void {
    if (scanned === 0) {
      this.#credit = 0;
      return;
    }
    const cost = ms / scanned;
    this.#cost = Math.min(DEAREST, Math.max(CHEAPEST, Math.min(cost, this.#cost * 1.02)));
    this.#credit = Math.max(0, this.#credit - Math.min(ms, scanned * this.#cost * SLACK));
    this.#scanned += scanned;
    this.#found += merged + zero;
    if (this.#scanned >= unmerged * ROUND) {
      this.#finding = this.#found >= this.#scanned * WORTHWHILE;
      this.#part = this.#isQuiet(unmerged, faults) ? Math.max(LEAST_PART, this.#part / 2) : 1;
      this.#faults = faults;
      this.#unmerged = unmerged;
      this.#scanned = 0;
      this.#found = 0;
    }
  }

  /** Whether all pages but a few are those of the last round: what comes anew comes by faults. */
  #isQuiet(unmerged: number, faults: number): boolean {
    return faults - this.#faults < unmerged * WORTHWHILE;
  }
}
