/**
 * The policy of a host: from what was observed to what is done about it. Balloons first, as the guest knows best which page
 * it can spare; paging where a balloon can't help, or when there is no time to wait for one; guests that have more than
 * their target get no more memory only when hardly any is left.
 */

import type {
  BalloonReason,
  Decision,
  Divisor,
  GuestDecision,
  GuestObservation,
  Observation,
  PagingReason,
  Policy,
  TargetReason,
} from '../memory/decision.ts';
import { STATE_HARD, STATE_HIGH, STATE_LOW } from '../memory/layout.ts';
import { divideByMisses, type MissClaim } from './miss-targets.ts';
import { DEFAULT_THRESHOLDS, nextState, type Thresholds, validateThresholds } from './states.ts';
import { type Claim, divide, rho } from './targets.ts';

/** By what a host divides its memory when it is told nothing, and its tax on idle memory. */
export const DEFAULT_TARGETS: Divisor = 'shares';
export const DEFAULT_TAX = 0.75;

/** What a policy can be told. */
export interface PolicyOptions {
  /** By what the memory is divided; DEFAULT_TARGETS by default. */
  targets?: Divisor;
  /** Free-memory states; DEFAULT_THRESHOLDS if not given. */
  thresholds?: Thresholds;
  /** Tax on idle memory, 0 up to but not 1; DEFAULT_TAX by default. */
  tax?: number;
  /** Largest part of a guest's configured memory that its balloon may take; 0.65 by default. */
  balloonCap?: number;
  /** Largest change of a balloon in a second, as a part of the configured memory; 0.15 by default, twice that in hard. */
  balloonRate?: number;
  /** Milliseconds after which a balloon that does not move is given up; 5000 by default. */
  driverTimeoutMs?: number;
  /** Whether pages are taken without the guests' help; true by default. Without it harts wait for what balloons give. */
  paging?: boolean;
  /** Pages in a second that are taken from one guest by paging; 16384 by default, without limit in state low. */
  pagingRate?: number;
  /**
   * Available memory that a balloon leaves to the guest, as a part of the configured memory; 1/32 by default: below about
   * half of that a guest begins to page by itself, which is what the balloon is for, and a balloon lets go.
   */
  guard?: number;
}

/** Balloons move by this many pages at least: a driver works in arrays of 256. */
const SMALLEST_STEP = 256;
/** Frames taken in one step at least, so that a hart that starves is helped at once. */
const SMALLEST_PAGING = 64;
/** Pages that `guard` comes to at least. */
const SMALLEST_GUARD = 1024;
/** How far reclaiming goes beyond the threshold, so that the state is left for good. */
const BEYOND = 1.1;
/** A guest that is above its maximum by more than this part of it is paged at once. */
const ABOVE_MAXIMUM = 1 / 16;
/** Part of the memory above the threshold that balloons give back in a second. */
const GIVE_BACK = 0.25;
/** A balloon lets a guest grow towards its target from this part of its configured memory below it. */
const BELOW_TARGET = 1 / 32;
/** A guest that waits for memory as long as it may gets the weight of its shares, one that waits longer up to this times. */
const MOST_URGENT = 4;
/** Part of its working set by which a guest's memory has to be larger for the rest to count as idle. */
const IDLE_BEYOND = 1 / 8;
/** Part of its configured memory that a balloon is enlarged for at least. */
const SMALLEST_PART = 1 / 64;
/** Part of a guest's configured memory that is not worth being taken away while it is in use, or being brought to one that lacks it. */
const NOT_WORTH = 1 / 32;
/** Part of a guest's configured memory that is paged in a second when there is time. */
const UNHURRIED = 0.1;
/** Memory by which a guest that reads its disks again and again is taken to be too small at least, as a part of the configured. */
const HIDDEN_PART = 1 / 16;
/** Major faults in a second at which all that a guest's balloon has of it counts as being used. */
const LACKING_FAULTS = 100;
/** A guest that uses pages in swap again goes on to do so for so many seconds. */
const COMING_S = 3;
/** Time that one step can stand for, milliseconds: after a long sleep nothing is made up for. */
const LONGEST_STEP_MS = 1000;

type Settings = Required<PolicyOptions>;

/** What one step works with. */
interface Step {
  settings: Settings;
  state: number;
  seconds: number;
  observation: Observation;
  /** Frames that can't wait for a balloon. */
  urgent: number;
  /** What all guests together have above their targets. */
  excess: number;
  /** Frames that balloons may give back in this step. */
  giveBack: number;
}

/** Makes a policy. Throws RangeError if an option makes no sense. */
export function createPolicy(options: PolicyOptions = {}): Policy {
  const settings: Settings = {
    targets: options.targets ?? DEFAULT_TARGETS,
    thresholds: options.thresholds ?? DEFAULT_THRESHOLDS,
    tax: options.tax ?? DEFAULT_TAX,
    balloonCap: options.balloonCap ?? 0.65,
    balloonRate: options.balloonRate ?? 0.15,
    driverTimeoutMs: options.driverTimeoutMs ?? 5000,
    paging: options.paging ?? true,
    pagingRate: options.pagingRate ?? 16384,
    guard: options.guard ?? 1 / 32,
  };
  validateThresholds(settings.thresholds);
  if (!(settings.tax >= 0 && settings.tax < 1)) {
    throw new RangeError(`idle memory tax of ${settings.tax}: give a number from 0 up to, but not 1`);
  }
  if (!(settings.balloonCap >= 0 && settings.balloonCap < 1)) {
    throw new RangeError(`balloon cap of ${settings.balloonCap}: give a part of 1`);
  }
  return (observation) => decide(observation, settings);
}

function decide(observation: Observation, settings: Settings): Decision {
  const { frames, free, guests } = observation;
  const { thresholds, tax } = settings;
  const state = nextState(observation.state, free, frames, thresholds);
  const wanted = Math.ceil(frames * thresholds.high * BEYOND);
  const claims = guests.map(claimOf);
  const available = Math.max(0, frames - wanted);
  const byMisses = settings.targets === 'misses' ? divideByMisses(claims, available, tax) : undefined;
  const targets = byMisses?.targets ?? divide(claims, available, tax);
  const divided = sum(claims.map(({ limit }) => limit)) > available;
  let excesses = guests.map((guest, i) => sparedPart(guest, state) * Math.max(0, guest.charged - targets[i]!));
  let excess = sum(excesses);
  if (state === STATE_LOW && excess < 1) {
    // Nobody is above the target and still nothing is left: everybody gives, down to the minimum.
    excesses = guests.map((guest) => Math.max(0, guest.charged - guest.minimum));
    excess = sum(excesses);
  }
  const seconds = Math.min(observation.elapsedMs, LONGEST_STEP_MS) / 1000;
  const step: Step = {
    settings,
    state,
    seconds,
    observation,
    urgent: state >= STATE_HARD ? Math.max(0, Math.ceil(frames * urgentPart(thresholds)) - free) : 0,
    excess,
    giveBack: state === STATE_HIGH ? Math.max(0, free - wanted) * GIVE_BACK * seconds : 0,
  };
  const shortage = state === STATE_HIGH ? 0 : Math.max(0, wanted - free);
  const needs = divideShortage(shortage, guests, targets, excesses, state);
  const decided = guests.map((guest, i) => {
    const [claim, target] = [claims[i]!, targets[i]!];
    const why = targetReason(claim, guest, target);
    const price = divided && byMisses === undefined ? rho(claim, Math.max(1, target), tax) : undefined;
    const saved = divided ? byMisses?.saved[i] : undefined;
    return decideGuest(guest, { target, why, price, saved }, { excess: excesses[i]!, need: needs[i]! }, step);
  });
  return { state, guests: decided };
}

function targetReason({ limit, minimum }: Claim, { configured }: GuestObservation, target: number): TargetReason {
  if (target >= limit) {
    return limit < configured ? 'maximum' : 'all';
  }
  return target <= minimum ? 'minimum' : 'divided';
}

/** Part of what is to be taken from a guest that is taken though it waits for memory already. */
function sparedPart({ stalled, stallLimit }: GuestObservation, state: number): number {
  return stallLimit >= 1 || state === STATE_LOW ? 1 : Math.max(0, 1 - stalled / stallLimit);
}

/** Weight of a guest that waits for memory longer than it should, beside its shares. */
function urgency({ stalled, stallLimit }: GuestObservation): number {
  return stallLimit >= 1 ? 1 : Math.min(MOST_URGENT, Math.max(1, stalled / stallLimit));
}

/** What paging brings about by itself when there is no time left: well out of `hard`, the rest is for the balloons. */
function urgentPart({ soft, hard }: Thresholds): number {
  return hard + (soft - hard) / 4;
}

/**
 * What a guest would use if it had it. One that reads pages again and again that it has no memory for does little else, and so uses
 * few of those that it has.
 */
function wanted({ workingSet, swapped, returns, balloon }: GuestObservation): number {
  return (
    workingSet +
    balloon.actual * Math.min(1, balloon.majorFaults / LACKING_FAULTS) +
    Math.min(swapped, returns * COMING_S)
  );
}

/** What a guest has and does not use. */
function idle(guest: GuestObservation): number {
  return Math.max(0, guest.charged - wanted(guest) * (1 + IDLE_BEYOND));
}

/**
 * What of the shortage each guest gives, of what it has above its target. What guests use is taken only for one that lacks it: memory
 * that is merely to be free would be read back at once. A host on which all memory is in use stays short of it, and at rest.
 */
function divideShortage(
  shortage: number,
  guests: readonly GuestObservation[],
  targets: readonly number[],
  excesses: readonly number[],
  state: number,
): number[] {
  const spare = guests.map((guest, i) => (state === STATE_LOW ? excesses[i]! : Math.min(excesses[i]!, idle(guest))));
  const spareSum = sum(spare);
  // Estimates vary: what is in use goes to and fro for large differences only.
  const beyond = (pages: number, { configured }: GuestObservation): number =>
    Math.max(0, pages - configured * NOT_WORTH);
  const lack = sum(guests.map((guest, i) => beyond(Math.min(targets[i]!, wanted(guest)) - guest.charged, guest)));
  const used = guests.map((guest, i) => beyond(excesses[i]! - spare[i]!, guest));
  const sparePart = spareSum > 0 ? Math.min(1, shortage / spareSum) : 0;
  const usedSum = sum(used);
  const usedPart = usedSum > 0 ? Math.min(1, Math.max(0, Math.min(shortage - spareSum, lack)) / usedSum) : 0;
  return spare.map((pages, i) => Math.ceil(pages * sparePart + used[i]! * usedPart));
}

function claimOf(guest: GuestObservation): MissClaim {
  const { shares, configured, minimum, maximum, misses, charged, balloon } = guest;
  // What its balloon took is what it could keep.
  const hidden = { hidden: balloon.majorFaults, hiddenPages: Math.max(balloon.actual, configured * HIDDEN_PART) };
  const limit = Math.min(configured, maximum);
  return {
    shares: shares * urgency(guest),
    configured,
    minimum,
    limit,
    workingSet: wanted(guest),
    misses,
    charged,
    free: balloon.free,
    ...hidden,
  };
}

/** What a guest should have, and why. */
interface Target {
  target: number;
  why: TargetReason;
  price: number | undefined;
  saved: number | undefined;
}

function decideGuest(
  guest: GuestObservation,
  { target, why, price, saved }: Target,
  { excess, need: asked }: { excess: number; need: number },
  step: Step,
): GuestDecision {
  const { settings, state } = step;
  const part = step.excess > 0 ? excess / step.excess : 0;
  // What is above the maximum is taken however much is free.
  const above = Math.max(0, guest.charged - guest.maximum);
  const now = Math.max(above - guest.maximum * ABOVE_MAXIMUM, Math.min(excess, Math.ceil(step.urgent * part)));
  const need = Math.max(above, asked, now);
  const pages = settings.paging && step.observation.swapReady;
  const spare = idle(guest);
  const ballooned = pages ? Math.max(above, balloonPart(guest, Math.min(need, spare))) : need;
  const { size, reach, room, answers, reason } = decideBalloon(guest, target, ballooned, step);
  // What no balloon can bring in or should, and what can't wait for one. A guest that has nothing to spare may still not be using
  // all that it has, such as memory of programs that sleep; what it is using would be needed again at once.
  const beyondReach = Math.max(need - Math.max(0, reach - guest.balloon.actual), Math.min(need - room, spare));
  const beyondBalloon = answers ? Math.max(need - ballooned, beyondReach) : need;
  let page = pages ? Math.max(0, beyondBalloon, now) : 0;
  if (page > 0 && state !== STATE_LOW) {
    // Where there is time, pages have some to show that they are in use.
    const rate = page > now && answers ? guest.configured * UNHURRIED : settings.pagingRate;
    page = Math.min(page, Math.max(SMALLEST_PAGING, now, Math.ceil(rate * step.seconds)));
    page = Math.min(page, Math.max(SMALLEST_PAGING, Math.ceil(settings.pagingRate * step.seconds)));
  }
  page = Math.ceil(page);
  const block = state === STATE_LOW && guest.charged > target;
  const force = state === STATE_LOW;
  const unreached = beyondReach >= need - ballooned ? 'balloon-full' : need > spare ? 'lacking' : 'few';
  const paging = page > 0 ? pagingReason(reason, now >= beyondBalloon ? 'urgent' : unreached) : undefined;
  const spared = sparedPart(guest, state);
  return {
    slot: guest.slot,
    target,
    balloonTarget: size,
    page,
    urgent: Math.min(page, Math.max(0, now)),
    force,
    block,
    why: { target: why, divisor: settings.targets, price, saved, tax: settings.tax, balloon: reason, paging, spared },
  };
}

/**
 * What of its idle memory a guest should give by its balloon. Which of its pages it uses, the guest does not know as well as the memory
 * manager does: asked for more than is idle, it throws out page cache that it reads again, and so it may if it has none that is. And for
 * a little it gives all that is free in it first.
 */
function balloonPart({ configured }: GuestObservation, spare: number): number {
  return spare >= configured * SMALLEST_PART ? spare : 0;
}

function pagingReason(balloon: BalloonReason, otherwise: PagingReason): PagingReason {
  return balloon === 'manual' || balloon === 'no-driver' || balloon === 'no-answer' ? balloon : otherwise;
}

interface BalloonDecision {
  size: number;
  /** The largest that it could become if the guest had the memory to spare. */
  reach: number;
  /** What it can take now. */
  room: number;
  /** Whether it can be counted on. */
  answers: boolean;
  reason: BalloonReason;
}

function decideBalloon(guest: GuestObservation, target: number, need: number, step: Step): BalloonDecision {
  const { settings, state, seconds } = step;
  const { balloon, configured, minimum } = guest;
  if (balloon.manual >= 0) {
    return { size: balloon.manual, reach: 0, room: 0, answers: false, reason: 'manual' };
  }
  if (!balloon.driver) {
    return { size: 0, reach: 0, room: 0, answers: false, reason: 'no-driver' };
  }
  const answers = balloon.stuckMs < settings.driverTimeoutMs;
  const guard = Math.max(SMALLEST_GUARD, Math.floor(configured * settings.guard));
  const cap = Math.max(0, Math.min(Math.floor(configured * settings.balloonCap), configured - minimum));
  const pages = settings.paging && step.observation.swapReady;
  // Beyond it the guest throws out what it needs, as one without swap of its own can't do without anything else. What it does
  // not need is found by paging.
  const reach = pages ? Math.min(cap, balloon.ease) : cap;
  const spare = balloon.available < 0 ? cap : balloon.actual + Math.max(0, balloon.available - guard);
  const limit = Math.min(reach, spare);
  const room = Math.max(0, limit - balloon.actual);
  const rate = state >= STATE_HARD ? 2 * settings.balloonRate : settings.balloonRate;
  const change = Math.max(SMALLEST_STEP, Math.floor(configured * rate * seconds));
  // A guest that is about to run out of memory is let out, whoever else has to pay for it.
  const floor = state >= STATE_HARD ? guard / 4 : guard / 2;
  if (balloon.available >= 0 && balloon.available < floor && balloon.actual > 0) {
    const size = Math.max(0, balloon.actual - Math.max(change, guard - balloon.available));
    return { size, reach, room: 0, answers, reason: 'let-out' };
  }
  if (balloon.actual > Math.max(reach, SMALLEST_STEP)) {
    return { size: Math.max(reach, balloon.actual - change), reach, room: 0, answers, reason: 'thrashing' };
  }
  if (need > 0) {
    // Asked for as long as it does not move: a driver may come back. Paging does not wait for it.
    // It swallows first what is free in the guest, of which the host may have nothing: such pages come on top of the need.
    const wanted = Math.min(need, change) + Math.max(0, balloon.free);
    const size = Math.min(limit, balloon.actual + wanted);
    const reason = answers ? 'takes' : 'no-answer';
    return { size: Math.max(size, Math.min(balloon.actual, reach)), reach, room, answers, reason };
  }
  const missing = target - guest.charged;
  if (balloon.actual > 0 && missing > configured * BELOW_TARGET) {
    // Others give what it may have: it is let grow before it has nothing left, and however much is free, as what it takes makes
    // others give.
    const size = Math.max(0, balloon.actual - Math.min(change, Math.floor(missing)));
    return { size, reach, room, answers, reason: 'below-target' };
  }
  const below = guest.maximum - guest.charged - Math.floor(configured * BELOW_TARGET);
  if (step.giveBack > 0 && balloon.target > 0 && (guest.maximum >= configured || below > 0)) {
    const giveBack = Math.min(change, Math.ceil(step.giveBack / Math.max(1, step.observation.guests.length)));
    return {
      size: Math.max(0, balloon.target - giveBack),
      reach,
      room,
      answers,
      reason: 'gives-back',
    };
  }
  // Where it is: what was asked for and not needed any more is taken back.
  return { size: Math.min(balloon.target, Math.max(balloon.actual, 0)), reach, room, answers, reason: 'stays' };
}

function sum(numbers: readonly number[]): number {
  let result = 0;
  for (const number of numbers) {
    result += number;
  }
  return result;
}
