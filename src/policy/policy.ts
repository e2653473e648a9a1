/**
 * The policy of a host: from what was observed to what is done about it. Balloons first, as the guest knows best which page
 * it can spare; paging where a balloon can't help, or when there is no time to wait for one; guests that have more than
 * their target get no more memory only when hardly any is left.
 */

import type { Decision, GuestDecision, GuestObservation, Observation, Policy } from '../memory/decision.ts';
import { STATE_HARD, STATE_HIGH, STATE_LOW } from '../memory/layout.ts';
import { DEFAULT_THRESHOLDS, nextState, type Thresholds, validateThresholds } from './states.ts';
import { divide } from './targets.ts';

/** What a policy can be told. */
export interface PolicyOptions {
  /** Free-memory states; DEFAULT_THRESHOLDS if not given. */
  thresholds?: Thresholds;
  /** Tax on idle memory, 0 up to but not 1; 0.75 by default. */
  tax?: number;
  /** Largest part of a guest's configured memory that its balloon may take; 0.65 by default. */
  balloonCap?: number;
  /** Largest change of a balloon in a second, as a part of the configured memory; 0.15 by default, twice that in hard. */
  balloonRate?: number;
  /** Milliseconds after which a balloon that does not move is given up; 5000 by default. */
  driverTimeoutMs?: number;
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
/** Part of the memory above the threshold that balloons give back in a second. */
const GIVE_BACK = 0.25;
/** Time that one step can stand for, milliseconds: after a long sleep nothing is made up for. */
const LONGEST_STEP_MS = 1000;

type Settings = Required<PolicyOptions>;

/** What one step works with. */
interface Step {
  settings: Settings;
  state: number;
  seconds: number;
  observation: Observation;
  /** Frames that should be reclaimed, and of them those that can't wait for a balloon. */
  shortage: number;
  urgent: number;
  /** Configured memory of all guests. */
  configured: number;
  /** What all guests together have above their targets. */
  excess: number;
  /** Frames that balloons may give back in this step. */
  giveBack: number;
}

/** Makes a policy. Throws RangeError if an option makes no sense. */
export function createPolicy(options: PolicyOptions = {}): Policy {
  const settings: Settings = {
    thresholds: options.thresholds ?? DEFAULT_THRESHOLDS,
    tax: options.tax ?? 0.75,
    balloonCap: options.balloonCap ?? 0.65,
    balloonRate: options.balloonRate ?? 0.15,
    driverTimeoutMs: options.driverTimeoutMs ?? 5000,
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
  const targets = divide(guests.map(claimOf), Math.max(0, frames - wanted), tax);
  let excesses = guests.map((guest, i) => Math.max(0, guest.charged - targets[i]!));
  let excess = sum(excesses);
  if (state === STATE_LOW && excess < 1) {
    // Nobody is above the target and still nothing is left: everybody gives.
    excesses = guests.map((guest) => guest.charged);
    excess = sum(excesses);
  }
  const seconds = Math.min(observation.elapsedMs, LONGEST_STEP_MS) / 1000;
  const step: Step = {
    settings,
    state,
    seconds,
    observation,
    shortage: state === STATE_HIGH ? 0 : Math.max(0, wanted - free),
    urgent: state >= STATE_HARD ? Math.max(0, Math.ceil(frames * urgentPart(thresholds)) - free) : 0,
    configured: sum(guests.map((guest) => guest.configured)),
    excess,
    giveBack: state === STATE_HIGH ? Math.max(0, free - wanted) * GIVE_BACK * seconds : 0,
  };
  return { state, guests: guests.map((guest, i) => decideGuest(guest, targets[i]!, excesses[i]!, step)) };
}

/** What paging brings about by itself when there is no time left: well out of `hard`, the rest is for the balloons. */
function urgentPart({ soft, hard }: Thresholds): number {
  return hard + (soft - hard) / 4;
}

function claimOf(guest: GuestObservation) {
  const { shares, configured, minimum, workingSet, balloon } = guest;
  return { shares, configured, minimum, workingSet, free: balloon.free };
}

function decideGuest(guest: GuestObservation, target: number, excess: number, step: Step): GuestDecision {
  const { settings, state } = step;
  const part = step.excess > 0 ? excess / step.excess : 0;
  const need = Math.min(excess, Math.ceil(step.shortage * part));
  const { size, reach, answers, why } = decideBalloon(guest, need, step);
  // What no balloon can bring in, and what can't wait for one. A guest whose balloon could be larger, if only it had memory
  // to spare, is using what it has: paging it would bring in what is needed again at once.
  const beyondBalloon = answers ? need - Math.max(0, reach - guest.balloon.actual) : need;
  const now = Math.min(excess, Math.ceil(step.urgent * part));
  let page = step.observation.swapReady ? Math.max(0, beyondBalloon, now) : 0;
  if (page > 0 && state !== STATE_LOW) {
    page = Math.min(page, Math.max(SMALLEST_PAGING, Math.ceil(settings.pagingRate * step.seconds)));
  }
  const block = state === STATE_LOW && guest.charged > target;
  const force = state === STATE_LOW || (state === STATE_HARD && page > 0);
  const reason = explain(guest, target, step, why, page, block);
  return { slot: guest.slot, target, balloonTarget: size, page, force, block, reason };
}

interface BalloonDecision {
  size: number;
  /** The largest that it could become if the guest had the memory to spare. */
  reach: number;
  /** Whether it can be counted on. */
  answers: boolean;
  why: string;
}

function decideBalloon(guest: GuestObservation, need: number, step: Step): BalloonDecision {
  const { settings, state, seconds } = step;
  const { balloon, configured, minimum } = guest;
  if (balloon.manual >= 0) {
    return { size: balloon.manual, reach: 0, answers: false, why: 'its balloon was set by hand' };
  }
  if (!balloon.driver) {
    return { size: 0, reach: 0, answers: false, why: 'it has no balloon driver' };
  }
  const answers = balloon.stuckMs < settings.driverTimeoutMs;
  const guard = Math.max(SMALLEST_GUARD, Math.floor(configured * settings.guard));
  const cap = Math.max(0, Math.min(Math.floor(configured * settings.balloonCap), configured - minimum));
  const room = balloon.available < 0 ? cap : balloon.actual + Math.max(0, balloon.available - guard);
  const limit = Math.min(cap, room);
  const rate = state >= STATE_HARD ? 2 * settings.balloonRate : settings.balloonRate;
  const change = Math.max(SMALLEST_STEP, Math.floor(configured * rate * seconds));
  // A guest that is about to run out of memory is let out, whoever else has to pay for it.
  const floor = state >= STATE_HARD ? guard / 4 : guard / 2;
  if (balloon.available >= 0 && balloon.available < floor && balloon.actual > 0) {
    const size = Math.max(0, balloon.actual - Math.max(change, guard - balloon.available));
    return { size, reach: cap, answers, why: 'its balloon shrinks, as it has hardly any memory available' };
  }
  if (need > 0) {
    // Asked for as long as it does not move: a driver may come back. Paging does not wait for it.
    // It swallows first what is free in the guest, of which the host may have nothing: such pages come on top of the need.
    const wanted = Math.min(need, change) + Math.max(0, balloon.free);
    const size = Math.min(limit, balloon.actual + wanted);
    const why = answers ? 'its balloon takes what it can spare' : 'its balloon driver does not answer';
    return { size: Math.max(size, Math.min(balloon.actual, cap)), reach: cap, answers, why };
  }
  if (step.giveBack > 0 && balloon.target > 0) {
    const giveBack = Math.min(change, Math.ceil(step.giveBack / Math.max(1, step.observation.guests.length)));
    return {
      size: Math.max(0, balloon.target - giveBack),
      reach: cap,
      answers,
      why: 'its balloon shrinks, as memory is free',
    };
  }
  // Where it is: what was asked for and not needed any more is taken back.
  return { size: Math.min(balloon.target, Math.max(balloon.actual, 0)), reach: cap, answers, why: 'its balloon stays' };
}

const STATE_WORDS = ['enough memory is free', 'memory is short', 'memory is very short', 'hardly any memory is left'];

function explain(
  guest: GuestObservation,
  target: number,
  step: Step,
  balloon: string,
  page: number,
  block: boolean,
): string {
  const { observation, settings, state } = step;
  let text =
    target >= guest.configured
      ? `gets all of its ${mib(guest.configured)}: `
      : `gets ${mib(target)} of ${mib(guest.configured)} for ${guest.shares} shares, ${mib(guest.workingSet)} in use ` +
        `and ${Math.round(settings.tax * 100)}% tax on idle memory: `;
  text += `guests are configured with ${mib(step.configured)} on ${mib(observation.frames)}, and ${STATE_WORDS[state]}`;
  if (balloon !== '') {
    text += `; ${balloon}`;
  }
  if (page > 0) {
    text += `; up to ${mib(page)} are paged out now, as it has ${mib(Math.round(guest.charged))}`;
  }
  if (block) {
    text += '; it gets no more until memory is free again';
  }
  return text;
}

function mib(pages: number): string {
  return `${Math.round((pages / 256) * 10) / 10} MiB`;
}

function sum(numbers: readonly number[]): number {
  let result = 0;
  for (const number of numbers) {
    result += number;
  }
  return result;
}
