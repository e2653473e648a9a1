/** Follows a guest's balloon: where it is, what the guest says of itself, and whether the driver still answers. */

import type { BalloonObservation } from './decision.ts';
import type { Guest } from './guest.ts';
import {
  BALLOON_DRIVER,
  BALLOON_STAT_AVAILABLE,
  BALLOON_STAT_FREE,
  BALLOON_STAT_MAJOR_FAULTS,
  COUNT_RESIDENT,
  COUNT_SWAPPED,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_FLAGS,
  GUEST_BALLOON_MANUAL,
  GUEST_BALLOON_STATISTICS,
  GUEST_BALLOON_STATISTICS_COUNT,
  GUEST_BALLOON_TARGET,
} from './layout-guest.ts';

/** A balloon this near to its target, in pages, is there: drivers work in arrays of pages. */
const NEAR = 64;

/** Major faults in a second from which on a balloon is too large, and at which it is twice too large. */
const UNEASY_FAULTS = 10;
const TWICE_FAULTS = 100;
/** Part of the configured memory that a balloon may try to take beyond that in a second. */
const RETRY_PART = 1 / 512;
/** Weight of new statistics in the rate of major faults as it rises, and milliseconds in which it falls to 37%. */
const FAULT_WEIGHT = 1 / 2;
const FAULT_FALL_MS = 10_000;

/** The memory manager's view of one balloon. */
export class BalloonWatch {
  readonly #guest: Guest;
  /** Where the balloon was when it last moved the right way, or when it last was where it should be. */
  #actual: number;
  #goal: number;
  #since: number;
  /** Number of the last statistics, and where the balloon was when they came. */
  #statistics = 0;
  #actualThen = 0;
  /** Major faults that the last statistics had counted, when these came, and their rate. */
  #faultsThen = -1;
  #statisticsAt = 0;
  #faultRate = 0;
  #ease: number;

  constructor(guest: Guest, now: number) {
    this.#guest = guest;
    this.#actual = guest.get(GUEST_BALLOON_ACTUAL);
    this.#goal = guest.get(GUEST_BALLOON_TARGET);
    this.#since = now;
    this.#ease = guest.pages;
  }

  /** What is known now. Statistics are the guest's word: they are kept within its configured memory, never trusted more. */
  observe(now: number): BalloonObservation {
    const guest = this.#guest;
    const target = guest.get(GUEST_BALLOON_TARGET);
    const actual = this.#honest(guest.get(GUEST_BALLOON_ACTUAL));
    const statistics = guest.get(GUEST_BALLOON_STATISTICS_COUNT);
    if (statistics !== this.#statistics) {
      this.#statistics = statistics;
      this.#actualThen = actual;
      this.#countFaults(now, actual);
    }
    const distance = Math.abs(target - actual);
    const closer = distance < Math.abs(target - this.#actual);
    if (distance <= NEAR || closer || Math.sign(target - actual) !== Math.sign(this.#goal - this.#actual)) {
      this.#actual = actual;
      this.#goal = target;
      this.#since = now;
    }
    return {
      driver: (guest.get(GUEST_BALLOON_FLAGS) & BALLOON_DRIVER) !== 0,
      target,
      actual,
      stuckMs: Math.max(0, now - this.#since),
      free: this.#statistic(BALLOON_STAT_FREE, actual),
      available: this.#statistic(BALLOON_STAT_AVAILABLE, actual),
      majorFaults: this.#faultRate,
      ease: Math.floor(this.#ease),
      manual: Math.min(guest.get(GUEST_BALLOON_MANUAL), guest.pages),
    };
  }

  /**
   * What the driver says that the balloon has, as far as it can be true: a page with contents is in no balloon. A driver that
   * keeps its pages, or whose guest goes on using them, thus does not come nearer to its target, and counts as one that does
   * not answer.
   */
  #honest(actual: number): number {
    const guest = this.#guest;
    return clamp(actual, guest.pages - guest.get(COUNT_RESIDENT) - guest.get(COUNT_SWAPPED));
  }

  /** New statistics have come. A guest that lies about faults gains what a busy one would get, within its bounds. */
  #countFaults(now: number, actual: number): void {
    const faults = this.#guest.get(GUEST_BALLOON_STATISTICS + BALLOON_STAT_MAJOR_FAULTS);
    const elapsed = now - this.#statisticsAt;
    if (faults >= 0 && this.#faultsThen >= 0 && elapsed > 0) {
      const rate = (((faults - this.#faultsThen) & 0x7fff_ffff) * 1000) / elapsed;
      const weight = rate > this.#faultRate ? FAULT_WEIGHT : 1 - Math.exp(-elapsed / FAULT_FALL_MS);
      this.#faultRate += weight * (rate - this.#faultRate);
      if (rate >= UNEASY_FAULTS) {
        this.#ease = Math.min(this.#ease, actual * (1 - Math.min(1, rate / TWICE_FAULTS) / 2));
      } else {
        const { pages } = this.#guest;
        this.#ease = Math.min(pages, this.#ease + (pages * RETRY_PART * elapsed) / 1000);
      }
    }
    this.#faultsThen = faults;
    this.#statisticsAt = now;
  }

  /** What the balloon has taken since the statistics came is no longer free or available. */
  #statistic(tag: number, actual: number): number {
    const value = this.#guest.get(GUEST_BALLOON_STATISTICS + tag);
    return value < 0 ? -1 : clamp(value - (actual - this.#actualThen), this.#guest.pages);
  }
}

function clamp(pages: number, limit: number): number {
  return Math.max(0, Math.min(pages, limit));
}
