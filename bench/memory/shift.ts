/** Two halves of the guests swap their roles between idle and busy: how long until memory has followed. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../../src/host/host.ts';
import type { PolicyChoice } from '../../src/host/options.ts';
import type { GuestMemoryStatistics } from '../../src/host/statistics.ts';
import { DEFAULT_TARGETS, DEFAULT_TAX } from '../../src/policy/policy.ts';
import { atMost, type Experiment, type Finding, MIB } from './experiment.ts';
import {
  fillMemory,
  hostFor,
  type LoadGuest,
  type LoadSize,
  limit,
  loadFiles,
  type Moment,
  moment,
  speedOf,
  startLoads,
  swapInsOf,
} from './loads.ts';

/** Guests of each half. */
const HALF = 2;
/** Memory of a guest, MiB: what its load has is used whole while it is busy, and not at all while it is idle. */
const SIZE: LoadSize = { memory: 192, anonymous: 64, file: 32 };
/** Memory for guests, MiB: enough for busy guests, not for what the idle ones hold beside. */
const FRAMES = 350;
const PLENTY = 2 * HALF * SIZE.memory * 1.2;
/** Time in each role, seconds, and time with memory for all, the first of which is not counted. */
const BEFORE_S = 15;
const AFTER_S = 26;
const FREE_S = 12;
const WARM_S = 4;
/** Seconds at the end of which the mean is taken. */
const LAST_S = 8;
/** Seconds over which a rate is taken. */
const WINDOW_S = 3;
/** The goal: part of the unconstrained speed, percent, and when it has to be reached, seconds. */
const PART = 95;
const SOON_S = 20;
/** Seconds behind which targets have settled, and what they may still change by, in all, as a part of the guests' memory. */
const SETTLED_S = 16;
const MOST_CHANGE = 0.1;

const POLICIES: readonly { readonly name: string; readonly policy: PolicyChoice }[] = [
  { name: 'shares, no tax', policy: { targets: 'shares', tax: 0 } },
  { name: 'shares, tax 75%', policy: { targets: 'shares', tax: 0.75 } },
  { name: 'misses', policy: { targets: 'misses' } },
];

interface Shift {
  /** Speed of the busy half, second by second from the shift. */
  readonly rates: readonly number[];
  /** Of all guests, MiB, second by second. */
  readonly targets: readonly (readonly number[])[];
  readonly resident: readonly (readonly number[])[];
  readonly balloons: readonly (readonly number[])[];
  readonly workingSets: readonly (readonly number[])[];
  /** Free memory of the host, MiB, and time that the busy half has waited for memory, and for frames, milliseconds. */
  readonly free: readonly number[];
  readonly stalledMs: readonly number[];
  readonly starvedMs: readonly number[];
  /** Pages that came back from below the guests, second by second. */
  readonly swapIns: readonly number[];
}

/** All that take part. */
interface Scene {
  readonly host: Host;
  readonly loads: readonly LoadGuest[];
}

/** Follows guests for some seconds. `busy`: those whose speed counts. */
async function follow({ host, loads }: Scene, busy: readonly LoadGuest[], seconds: number): Promise<Shift> {
  const start = performance.now();
  const moments: Moment[] = [await moment(host)];
  const swapped = [swapInsOf(loads)];
  const each = (pick: (memory: GuestMemoryStatistics) => number): number[] =>
    loads.map(({ guest }) => Math.round(pick(guest.statistics().memory) / MIB));
  const [targets, resident, balloons, workingSets]: number[][][] = [[], [], [], []];
  const [free, stalledMs, starvedMs]: number[][] = [[], [], []];
  const waited = (pick: (counts: GuestMemoryStatistics['counts']) => number): number =>
    busy.reduce((sum, { guest }) => sum + pick(guest.statistics().memory.counts), 0);
  for (let second = 1; second <= seconds; second++) {
    await sleep(Math.max(0, start + second * 1000 - performance.now()));
    moments.push(await moment(host));
    swapped.push(swapInsOf(loads));
    free!.push(Math.round(host.statistics().memory.free / MIB));
    stalledMs!.push(Math.round(waited(({ stalledMs }) => stalledMs)));
    starvedMs!.push(Math.round(waited(({ starvedMs }) => starvedMs)));
    targets!.push(each(({ target }) => target));
    resident!.push(each(({ resident }) => resident));
    balloons!.push(each(({ balloon }) => balloon));
    workingSets!.push(each(({ workingSet }) => workingSet));
  }
  const rates = Array.from({ length: seconds }, (_, i) => {
    const speed = speedOf(busy, moments[Math.max(0, i + 1 - WINDOW_S)]!, moments[i + 1]!);
    return Number.isNaN(speed) ? 0 : speed;
  });
  const swapIns = swapped.slice(1).map((count, i) => count - swapped[i]!);
  return {
    rates,
    targets: targets!,
    resident: resident!,
    balloons: balloons!,
    workingSets: workingSets!,
    free: free!,
    stalledMs: stalledMs!,
    starvedMs: starvedMs!,
    swapIns,
  };
}

const mean = (rates: readonly number[]): number => rates.reduce((sum, rate) => sum + rate, 0) / rates.length;

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
    const host = await hostFor(surroundings, PLENTY);
    const names = Array.from({ length: 2 * HALF }, (_, i) => `shift-${i + 1}`);
    const loads = await startLoads(host, names, SIZE, files);
    const scene: Scene = { host, loads };
    const [first, second] = [loads.slice(0, HALF), loads.slice(HALF)];
    progress('with memory for all');
    await Promise.all(second.map((load) => load.work(100)));
    const free = await follow(scene, second, FREE_S);
    const unconstrained = mean(free.rates.slice(WARM_S));
    const findings: Finding[] = [];
    const data: Record<string, unknown> = { unconstrained, free };
    for (const { name, policy } of POLICIES) {
      progress(name);
      await fillMemory(host, loads);
      await Promise.all(first.map((load) => load.work(100)));
      await host.setPolicy(policy);
      await limit(host, FRAMES);
      await sleep(BEFORE_S * 1000);
      await Promise.all([...first.map((load) => load.work(0)), ...second.map((load) => load.work(100))]);
      const run = await follow(scene, second, AFTER_S);
      const soon = secondsUntil(run.rates, (unconstrained * PART) / 100);
      const end = (100 * mean(run.rates.slice(-LAST_S))) / unconstrained;
      const change = unrest(run.targets, SETTLED_S, 2 * HALF * SIZE.memory);
      const swapIns = run.swapIns.reduce((sum, count) => sum + count, 0);
      progress(`${name}: ${soon} s, ${end.toFixed(0)}% at the end, ${swapIns} pages from swap`);
      const isDefault = policy.targets === DEFAULT_TARGETS && (policy.tax ?? DEFAULT_TAX) === DEFAULT_TAX;
      findings.push(
        {
          what: `${name}: seconds until ${PART}% of the unconstrained speed`,
          measured: Number.isFinite(soon) ? String(soon) : `not in ${AFTER_S}`,
          ...(isDefault ? atMost(soon, SOON_S, '') : {}),
        },
        { what: `  speed in the last ${LAST_S} s, % of unconstrained`, measured: end.toFixed(1) },
        {
          what: `  changes of targets from second ${SETTLED_S} on, by the guests' memory`,
          measured: change.toFixed(3),
          ...(isDefault ? atMost(change, MOST_CHANGE, '') : {}),
        },
        {
          what: '  pages that guests waited for: in swap, in the compressed pool, or dropped since a disk has them',
          measured: String(swapIns),
        },
      );
      data[name] = { seconds: Number.isFinite(soon) ? soon : null, endPercent: end, unrest: change, ...run };
    }
    return {
      findings,
      notes: [
        `${2 * HALF} guests of ${SIZE.memory} MiB on ${FRAMES} MiB; each load has ${SIZE.anonymous} MiB of its own and ${SIZE.file} MiB of its disk. One half uses`,
        `all of that at random, the other waits; ${BEFORE_S} s after memory was limited they swap. Each policy begins with all memory of the guests in memory. Speed: pages used in the`,
        `time that the arithmetic between them takes, over ${WINDOW_S} s, less the part that the memory manager takes.`,
      ],
      data,
    };
  },
};
