/**
 * Free-memory states. Each has a threshold, a part of the frames that guests can have: the host falls into a state when
 * free memory drops below that state's threshold, and rises out of it only when the threshold of the next better state is
 * exceeded, so that it does not flutter between two.
 */

import { STATE_HARD, STATE_HIGH, STATE_LOW, STATE_SOFT } from '../memory/layout.ts';

/** Parts (0 to 1) of the frames that are free. */
export interface Thresholds {
  /** What there should be; above it nothing is reclaimed. */
  high: number;
  /** Below: balloons are inflated. */
  soft: number;
  /** Below: guests are paged as well. */
  hard: number;
  /** Below: guests above their target get no more memory for now. */
  low: number;
}

/** The thresholds of ESX (Waldspurger, OSDI 2002, 6.3). */
export const ESX_THRESHOLDS: Thresholds = { high: 0.06, soft: 0.04, hard: 0.02, low: 0.01 };

/**
 * What a host uses by default. Balloons begin earlier than with ESX: the interpreted guests of a small host can fill 2% of
 * its memory in the time that a balloon takes to answer, and what a balloon is too late for has to be paged.
 */
export const DEFAULT_THRESHOLDS: Thresholds = { high: 0.1, soft: 0.08, hard: 0.02, low: 0.01 };

/**
 * Thresholds that grow more slowly than the memory, as later vSphere versions have them: what should be free is 6% of the
 * first 4 GiB, 4% of the next 8, 2% of the next 16 and 1% of the rest; soft, hard and low at 64%, 32% and 16% of that.
 */
export function slidingThresholds(frames: number): Thresholds {
  const gib = 2 ** 18;
  let left = frames;
  let free = 0;
  for (const [size, part] of [
    [4 * gib, 0.06],
    [8 * gib, 0.04],
    [16 * gib, 0.02],
    [Number.POSITIVE_INFINITY, 0.01],
  ] as const) {
    const piece = Math.min(left, size);
    free += piece * part;
    left -= piece;
  }
  const high = frames > 0 ? free / frames : 0.06;
  return { high, soft: high * 0.64, hard: high * 0.32, low: high * 0.16 };
}

/** Throws RangeError unless 0 <= low < hard < soft < high < 1. */
export function validateThresholds({ high, soft, hard, low }: Thresholds): void {
  if (!(low >= 0 && low < hard && hard < soft && soft < high && high < 1)) {
    throw new RangeError(
      `free-memory thresholds high ${high}, soft ${soft}, hard ${hard}, low ${low}: give parts of 1 that fall in this order`,
    );
  }
}

/** The state that follows `state` when `free` of `frames` are free. */
export function nextState(state: number, free: number, frames: number, thresholds: Thresholds): number {
  const part = frames > 0 ? free / frames : 0;
  if (part < thresholds.low) {
    return STATE_LOW;
  }
  if (part < thresholds.hard) {
    return state === STATE_LOW ? STATE_LOW : STATE_HARD;
  }
  if (part < thresholds.soft) {
    return state >= STATE_HARD ? STATE_HARD : STATE_SOFT;
  }
  if (part < thresholds.high) {
    return state === STATE_HIGH ? STATE_HIGH : STATE_SOFT;
  }
  return STATE_HIGH;
}
