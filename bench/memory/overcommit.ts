/** Six guests on less and less memory, with a quarter and with half of theirs in use. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../../src/host/host.ts';
import type { PolicyChoice } from '../../src/host/options.ts';
import { atLeast, type Experiment, type Finding, MIB } from './experiment.ts';
import {
  fillMemory,
  hostFor,
  type LoadGuest,
  type LoadSize,
  limit,
  loadFiles,
  moment,
  settle,
  speedOf,
  startLoads,
  swapInsOf,
} from './loads.ts';

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
  /** The goal: throughput, percent of that at ratio 1. */
  readonly least?: number;
}

const [BY_DEFAULT, OTHERWISE] = [
  { name: 'default', policy: {} },
  { name: 'misses', policy: { targets: 'misses' } },
] as const;

/** Each begins with all memory of all guests there, and nothing in swap. */
const SETTINGS: readonly Setting[] = [
  { ...BY_DEFAULT, ratio: 1.5, active: 25, least: 97 },
  { ...BY_DEFAULT, ratio: 1.5, active: 50, least: 97 },
  { ...BY_DEFAULT, ratio: 2, active: 25 },
  { ...BY_DEFAULT, ratio: 2, active: 50 },
  { ...BY_DEFAULT, ratio: 3, active: 25, least: 90 },
  { ...OTHERWISE, ratio: 3, active: 25 },
  { ...BY_DEFAULT, ratio: 3, active: 50 },
];
/**
 * Seconds at ratio 1, the first of which does not count; until a host that has as much memory as it should, and has not come to rest, is
 * measured all the same; and of measuring.
 */
const WARM_S = 1;
const FULL_S = 4;
const SETTLE_S = 12;
const MEASURE_S = 6;

/** What part of a load, percent, is a part of the guest's memory. */
const percentOf = (active: number): number => Math.round((active * SIZE.memory) / (SIZE.anonymous + SIZE.file));

interface Measured extends Omit<Setting, 'name' | 'policy'> {
  readonly policy: string;
  /** See speedOf; at ratio 1 just before. */
  readonly rate: number;
  readonly full: number;
  /** Pages used in a second by all guests, as told in this time. */
  readonly uses: number;
  /** Seconds until the guests had given back what they were to, and whether the host came to rest then. */
  readonly limitS: number;
  readonly settled: boolean;
  /** Pages that came back from below the guests in a second, and memory in balloons and saved by sharing, bytes. */
  readonly swapIns: number;
  readonly balloon: number;
  readonly sharing: number;
  readonly targets: readonly number[];
}

/** See speedOf; and pages used in a second by all guests. */
async function speedFor(
  host: Host,
  loads: readonly LoadGuest[],
  seconds: number,
): Promise<{ rate: number; uses: number }> {
  const from = await moment(host);
  await sleep(seconds * 1000);
  const to = await moment(host);
  const pages = loads.reduce((sum, load) => sum + load.done(from.at, to.at).pages, 0);
  return { rate: speedOf(loads, from, to), uses: (pages * 1000) / (to.at - from.at) };
}

async function measure(host: Host, loads: readonly LoadGuest[], setting: Setting): Promise<Measured> {
  const { name, policy, ...of } = setting;
  await fillMemory(host, loads);
  await Promise.all(loads.map((load) => load.work(percentOf(of.active))));
  await sleep(WARM_S * 1000);
  const { rate: full } = await speedFor(host, loads, FULL_S);
  await host.setPolicy(policy);
  const start = performance.now();
  await limit(host, (GUESTS * SIZE.memory) / of.ratio);
  const limitS = (performance.now() - start) / 1000;
  const settled = await settle(loads, SETTLE_S);
  const before = swapInsOf(loads);
  const { rate, uses } = await speedFor(host, loads, MEASURE_S);
  const swapIns = (swapInsOf(loads) - before) / MEASURE_S;
  const { balloon, sharing } = host.statistics().memory.savings;
  const targets = loads.map(({ guest }) => Math.round(guest.statistics().memory.target / MIB));
  return { ...of, policy: name, rate, full, uses, limitS, settled, swapIns, balloon, sharing, targets };
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
    for (const setting of SETTINGS) {
      const measured = await measure(host, loads, setting);
      all.push(measured);
      const { policy, ratio, active, rate, full, uses, limitS, settled, swapIns } = measured;
      progress(
        `${policy}, ratio ${ratio}, ${active}% active: ${rate.toFixed(3)} of the time in arithmetic, ${full.toFixed(3)} at ratio 1; ` +
          `${swapIns.toFixed(0)} swap-ins/s of ${uses.toFixed(0)} uses, limited after ${limitS.toFixed(1)} s, ${settled ? '' : 'not '}at rest`,
      );
    }
    const findings = all.map(
      ({ policy, ratio, active, least, rate, full, limitS, settled, swapIns, balloon, sharing }): Finding => {
        const part = (100 * rate) / full;
        const rest = `${limitS.toFixed(0)} s${settled ? '' : ', not at rest'}`;
        const below = `${Math.round(balloon / MIB)}, ${Math.round(sharing / MIB)}`;
        return {
          what: `${policy}, ratio ${ratio}, ${active}% active: throughput, % of ratio 1; limited after; swap-ins/s; balloons, sharing, MiB`,
          measured: `${part.toFixed(1)}; ${rest}; ${swapIns.toFixed(0)}; ${below}`,
          ...(least === undefined ? {} : atLeast(part, least, '')),
        };
      },
    );
    return {
      findings,
      notes: [
        `${GUESTS} guests of ${SIZE.memory} MiB have ${SIZE.anonymous} MiB of their own and ${SIZE.file} MiB of a disk filled, and use a part of both at random.`,
        'Ratio: configured memory by memory for guests. Throughput: pages used in the time that the arithmetic between them',
        `takes, less the part that the memory manager takes, in ${MEASURE_S} s. Each line begins with all memory of the guests in memory, at ratio 1,`,
        `where ${FULL_S} s are measured; then memory is limited, and the rest measured when the host has come to rest, or ${SETTLE_S} s later.`,
      ],
      data: { measured: all },
    };
  },
};
