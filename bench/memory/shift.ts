/** Two halves of the guests swap their roles between idle and busy: how long until memory has followed. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BootFiles } from '../../src/cli/images.ts';
import type { PolicyChoice } from '../../src/host/options.ts';
import { atMost, type Experiment, type Finding, MIB, type Surroundings } from './experiment.ts';
import {
  hostWithFrames,
  type LoadGuest,
  type LoadSize,
  loadFiles,
  type Moment,
  moment,
  speedOf,
  startLoads,
} from './loads.ts';

/** Guests of each half. */
const HALF = 2;
/** Memory of a guest, MiB: what its load has is used whole while it is busy, and not at all while it is idle. */
const SIZE: LoadSize = { memory: 192, anonymous: 80, file: 40 };
/** Memory for guests, MiB: enough for busy guests, not for what the idle ones hold beside. */
const FRAMES = 520;
/** Time in each role, seconds. */
const BEFORE_S = 8;
const AFTER_S = 24;
const FREE_S = 12;
/** Seconds at the end of which the mean is taken. */
const LAST_S = 6;
/** Seconds over which a rate is taken. */
const WINDOW_S = 3;
/** The goal: part of the unconstrained speed, percent, and when it has to be reached, seconds. */
const PART = 95;
const SOON_S = 20;
/** Seconds behind which targets have settled, and what they may still change by, in all, as a part of the guests' memory. */
const SETTLED_S = 16;
const MOST_CHANGE = 0.1;

/** What a host does when it is told nothing. */
const DEFAULT = { targets: 'shares', tax: 0.75 };

const POLICIES: readonly { readonly name: string; readonly policy: PolicyChoice }[] = [
  { name: 'shares, no tax', policy: { targets: 'shares', tax: 0 } },
  { name: 'shares, tax 75%', policy: { targets: 'shares', tax: 0.75 } },
  { name: 'misses', policy: { targets: 'misses' } },
];

interface Shift {
  /** Speed of the busy half, second by second from the shift. */
  readonly rates: readonly number[];
  /** Targets of all guests, MiB, second by second. */
  readonly targets: readonly (readonly number[])[];
  readonly swapIns: number;
}

async function shiftOn(
  surroundings: Surroundings,
  files: BootFiles,
  framesMiB: number,
  policy: PolicyChoice,
  seconds: number,
): Promise<Shift> {
  const host = await hostWithFrames(surroundings, framesMiB, { policy });
  const names = Array.from({ length: 2 * HALF }, (_, i) => `shift-${i + 1}`);
  const loads = await startLoads(host, names, SIZE, files);
  const [first, second] = [loads.slice(0, HALF), loads.slice(HALF)] as [LoadGuest[], LoadGuest[]];
  await Promise.all(first.map((load) => load.work(100)));
  await sleep(BEFORE_S * 1000);
  await Promise.all([...first.map((load) => load.work(0)), ...second.map((load) => load.work(100))]);
  const start = performance.now();
  const targets: number[][] = [];
  const moments: Moment[] = [moment(loads)];
  for (let second = 1; second <= seconds; second++) {
    await sleep(start + second * 1000 - performance.now());
    moments.push(moment(loads));
    targets.push(loads.map(({ guest }) => guest.statistics().memory.target / MIB));
  }
  // What was done until now is told within a second and a half.
  await sleep(1500);
  const rates = Array.from({ length: seconds }, (_, i) =>
    speedOf(second, moments[Math.max(0, i + 1 - WINDOW_S)]!, moments[i + 1]!),
  );
  await surroundings.done(host);
  return { rates, targets, swapIns: moments.at(-1)!.swapIns - moments[0]!.swapIns };
}

/** Seconds until the rate reaches a part of another one and stays there on average; infinite if it does not. */
export function secondsUntil(rates: readonly number[], wanted: number): number {
  for (let i = WINDOW_S - 1; i < rates.length; i++) {
    const rest = rates.slice(i);
    const mean = rest.reduce((sum, rate) => sum + rate, 0) / rest.length;
    if (rates[i]! >= wanted && mean >= wanted) return i + 1;
  }
  return Number.POSITIVE_INFINITY;
}

/** What targets change by from one second to the next, summed up behind the first `from` seconds, by the guests' memory. */
export function unrest(targets: readonly (readonly number[])[], from: number, memory: number): number {
  let sum = 0;
  for (let i = from + 1; i < targets.length; i++) {
    for (const [guest, target] of targets[i]!.entries()) sum += Math.abs(target - targets[i - 1]![guest]!);
  }
  return sum / memory;
}

export const shift: Experiment = {
  name: 'shift',
  shows: 'busy and idle guests swap their roles',
  published: [
    {
      figure: 'without tax the busy VM stays at its half; with 75% it gets the idle memory and runs over 30% faster',
      source: 'ESX, Waldspurger, OSDI 2002, figure 8',
    },
  ],
  async run(surroundings) {
    const { progress } = surroundings;
    const files = await loadFiles(SIZE);
    progress('with memory for all');
    const free = await shiftOn(surroundings, files, 2 * HALF * SIZE.memory * 1.3, {}, FREE_S);
    const last = free.rates.slice(-LAST_S);
    const unconstrained = last.reduce((sum, rate) => sum + rate, 0) / last.length;
    const findings: Finding[] = [];
    const data: Record<string, unknown> = { unconstrained };
    for (const { name, policy } of POLICIES) {
      progress(name);
      const run = await shiftOn(surroundings, files, FRAMES, policy, AFTER_S);
      const soon = secondsUntil(run.rates, (unconstrained * PART) / 100);
      const late = run.rates.slice(-LAST_S);
      const end = (100 * late.reduce((sum, rate) => sum + rate, 0)) / late.length / unconstrained;
      const change = unrest(run.targets, SETTLED_S, 2 * HALF * SIZE.memory);
      progress(`${name}: ${soon} s, ${end.toFixed(0)}% at the end, ${run.swapIns} pages from swap`);
      const isDefault = policy.targets === DEFAULT.targets && (policy.tax ?? DEFAULT.tax) === DEFAULT.tax;
      findings.push(
        {
          what: `${name}: seconds until ${PART}% of the unconstrained speed`,
          measured: Number.isFinite(soon) ? String(soon) : `not in ${AFTER_S}`,
          ...(isDefault ? atMost(soon, SOON_S, '') : {}),
        },
        { what: '  speed in the last 10 s, % of unconstrained', measured: end.toFixed(0) },
        {
          what: `  changes of targets from second ${SETTLED_S} on, by the guests' memory`,
          measured: change.toFixed(3),
          ...(isDefault ? atMost(change, MOST_CHANGE, '') : {}),
        },
        { what: '  pages read from swap or the compressed pool', measured: String(run.swapIns) },
      );
      data[name] = { seconds: Number.isFinite(soon) ? soon : null, endPercent: end, unrest: change, ...run };
    }
    return {
      findings,
      notes: [
        `${2 * HALF} guests of ${SIZE.memory} MiB on ${FRAMES} MiB; each load has ${SIZE.anonymous} MiB of its own and ${SIZE.file} MiB of its disk. One half uses`,
        `all of that at random, the other waits; after ${BEFORE_S} s they swap. Speed: pages used for each second of processor time or of waiting for memory, over ${WINDOW_S} s.`,
      ],
      data,
    };
  },
};
