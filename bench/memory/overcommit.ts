/** Six guests on less and less memory, with a quarter and with half of theirs in use. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PolicyChoice } from '../../src/host/options.ts';
import { atLeast, type Experiment, type Finding, MIB } from './experiment.ts';
import { hostFor, type LoadSize, limit, loadFiles, moment, speedOf, startLoads, swapInsOf } from './loads.ts';

const GUESTS = 6;
/** Memory of a guest, MiB. */
const SIZE: LoadSize = { memory: 192, anonymous: 80, file: 20 };
interface Setting {
  readonly name: string;
  readonly policy: PolicyChoice;
  /** Configured memory of all guests by memory for guests. */
  readonly ratio: number;
  /** Part of the configured memory that is in use, percent. */
  readonly active: number;
}

const [BY_DEFAULT, BY_MISSES] = [
  { name: 'default', policy: {} },
  { name: 'misses', policy: { targets: 'misses' } },
] as const;

/** In this order: what is in use has no room at the end, and guests take long to come out of that. Ratio 1 is what others are compared with. */
const SETTINGS: readonly Setting[] = [
  { ...BY_DEFAULT, ratio: 1, active: 25 },
  { ...BY_DEFAULT, ratio: 1, active: 50 },
  { ...BY_DEFAULT, ratio: 1.5, active: 25 },
  { ...BY_DEFAULT, ratio: 1.5, active: 50 },
  { ...BY_DEFAULT, ratio: 3, active: 25 },
  { ...BY_MISSES, ratio: 3, active: 25 },
  { ...BY_DEFAULT, ratio: 2, active: 25 },
  { ...BY_DEFAULT, ratio: 2, active: 50 },
  { ...BY_DEFAULT, ratio: 3, active: 50 },
];
/** Time until a rate is taken, and over which it is, seconds. */
const SETTLE_S = 8;
const MEASURE_S = 8;
/** The goals: throughput, percent of that at ratio 1. */
const GOALS: readonly { readonly ratio: number; readonly active: number; readonly least: number }[] = [
  { ratio: 1.5, active: 25, least: 97 },
  { ratio: 1.5, active: 50, least: 97 },
  { ratio: 3, active: 25, least: 90 },
];

/** What part of a load, percent, is a part of the guest's memory. */
const percentOf = (active: number): number => Math.round((active * SIZE.memory) / (SIZE.anonymous + SIZE.file));

interface Measured {
  readonly policy: string;
  readonly ratio: number;
  readonly active: number;
  /** See speedOf. */
  readonly rate: number;
  /** Pages that came back from below the guests in a second, and memory in balloons and saved by sharing, bytes. */
  readonly swapIns: number;
  readonly balloon: number;
  readonly sharing: number;
  readonly targets: readonly number[];
}

export const overcommit: Experiment = {
  name: 'overcommit',
  shows: 'throughput of six guests as there is less memory than they are configured with',
  published: [],
  async run(surroundings) {
    const { progress } = surroundings;
    const files = await loadFiles(SIZE);
    const host = await hostFor(surroundings, GUESTS * SIZE.memory);
    const names = Array.from({ length: GUESTS }, (_, i) => `overcommit-${i + 1}`);
    const loads = await startLoads(host, names, SIZE, files);
    const all: Measured[] = [];
    for (const { name, policy, ratio, active } of SETTINGS) {
      await Promise.all(loads.map((load) => load.work(percentOf(active))));
      await host.setPolicy(policy);
      await limit(host, (GUESTS * SIZE.memory) / ratio);
      await sleep(SETTLE_S * 1000);
      const before = swapInsOf(loads);
      const from = await moment(host);
      await sleep(MEASURE_S * 1000);
      const to = await moment(host);
      const rate = speedOf(loads, from, to);
      const swapIns = (swapInsOf(loads) - before) / MEASURE_S;
      const { balloon, sharing } = host.statistics().memory.savings;
      const targets = loads.map(({ guest }) => Math.round(guest.statistics().memory.target / MIB));
      all.push({ policy: name, ratio, active, rate, swapIns, balloon, sharing, targets });
      progress(
        `${name}, ratio ${ratio}, ${active}% active: ${rate.toFixed(3)} of the time in arithmetic, ${swapIns} swap-ins/s`,
      );
    }
    const findings = all
      .filter(({ ratio }) => ratio !== 1)
      .map(({ policy, ratio, active, rate, swapIns, balloon, sharing }): Finding => {
        const full = all.find((each) => each.ratio === 1 && each.active === active)!.rate;
        const part = (100 * rate) / full;
        const goal = policy === BY_DEFAULT.name && GOALS.find((each) => each.ratio === ratio && each.active === active);
        return {
          what: `${policy}, ratio ${ratio}, ${active}% active: throughput, % of ratio 1; swap-ins/s; balloons, sharing, MiB`,
          measured: `${part.toFixed(1)}; ${swapIns.toFixed(0)}; ${Math.round(balloon / MIB)}, ${Math.round(sharing / MIB)}`,
          ...(goal ? atLeast(part, goal.least, '') : {}),
        };
      });
    return {
      findings,
      notes: [
        `${GUESTS} guests of ${SIZE.memory} MiB have ${SIZE.anonymous} MiB of their own and ${SIZE.file} MiB of a disk filled, and use a part of both at random.`,
        'Ratio: configured memory by memory for guests. Throughput: pages used in the time that the arithmetic between them',
        `takes, less the part that the memory manager takes, in ${MEASURE_S} s, ${SETTLE_S} s after the order.`,
      ],
      data: { measured: all },
    };
  },
};
