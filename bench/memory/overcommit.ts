/** Six guests on less and less memory, with a quarter and with half of theirs in use. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BootFiles } from '../../src/cli/images.ts';
import type { PolicyChoice } from '../../src/host/options.ts';
import { atLeast, type Experiment, type Finding, type Surroundings } from './experiment.ts';
import { hostWithFrames, type LoadSize, loadFiles, moment, speedOf, startLoads } from './loads.ts';

const GUESTS = 6;
/** Memory of a guest, MiB. */
const SIZE: LoadSize = { memory: 192, anonymous: 96, file: 24 };
/** Parts of the configured memory that are in use, percent. */
const ACTIVE = [25, 50];
/** Configured memory of all guests by memory for guests. */
const RATIOS = [1, 1.5, 2, 3];
/** Time until a rate is taken, and over which it is, seconds. */
const SETTLE_S = 6;
const MEASURE_S = 6;
/** The policies: the first one everywhere, the others where memory is shortest. */
const POLICIES: readonly { readonly name: string; readonly policy: PolicyChoice }[] = [
  { name: 'default', policy: {} },
  { name: 'shares, tax 75%', policy: { targets: 'shares' } },
  { name: 'misses', policy: { targets: 'misses' } },
];
/** The goals: throughput, percent of that at ratio 1. */
const GOALS: readonly { readonly ratio: number; readonly active: number; readonly least: number }[] = [
  { ratio: 1.5, active: 25, least: 97 },
  { ratio: 1.5, active: 50, least: 97 },
  { ratio: 3, active: 25, least: 90 },
];

interface Measured {
  readonly policy: string;
  readonly ratio: number;
  readonly active: number;
  /** Pages used for each second of processor time or of waiting for memory. */
  readonly rate: number;
  /** Pages read from swap or the compressed pool in a second, and memory in balloons and saved by sharing, bytes. */
  readonly swapIns: number;
  readonly balloon: number;
  readonly sharing: number;
}

async function measure(
  surroundings: Surroundings,
  files: BootFiles,
  name: string,
  policy: PolicyChoice,
  ratio: number,
): Promise<Measured[]> {
  const host = await hostWithFrames(surroundings, (GUESTS * SIZE.memory) / ratio, { policy });
  const names = Array.from({ length: GUESTS }, (_, i) => `overcommit-${i + 1}`);
  const loads = await startLoads(host, names, SIZE, files);
  const measured: Measured[] = [];
  for (const active of ACTIVE) {
    const percent = Math.round((active * SIZE.memory) / (SIZE.anonymous + SIZE.file));
    await Promise.all(loads.map((load) => load.work(percent)));
    await sleep(SETTLE_S * 1000);
    const start = moment(loads);
    await sleep(MEASURE_S * 1000);
    const end = moment(loads);
    const { savings } = host.statistics().memory;
    const swapped = (end.swapIns - start.swapIns) / MEASURE_S;
    // What was done until now is told within a second and a half.
    await sleep(1500);
    const rate = speedOf(loads, start, end);
    const { balloon, sharing } = savings;
    measured.push({ policy: name, ratio, active, rate, swapIns: swapped, balloon, sharing });
  }
  await surroundings.done(host);
  return measured;
}

export const overcommit: Experiment = {
  name: 'overcommit',
  shows: 'throughput of six guests as there is less memory than they are configured with',
  published: [],
  async run(surroundings) {
    const files = await loadFiles(SIZE);
    const all: Measured[] = [];
    for (const [place, { name, policy }] of POLICIES.entries()) {
      for (const ratio of place === 0 ? RATIOS : RATIOS.slice(-1)) {
        surroundings.progress(`${name}, ratio ${ratio}`);
        const measured = await measure(surroundings, files, name, policy, ratio);
        for (const { active, rate } of measured) surroundings.progress(`${active}% active: ${rate.toFixed(0)} pages/s`);
        all.push(...measured);
      }
    }
    const findings = all
      .filter(({ ratio }) => ratio !== 1)
      .map(({ policy, ratio, active, rate, swapIns, balloon, sharing }): Finding => {
        const full = all.find((each) => each.ratio === 1 && each.active === active)!.rate;
        const part = (100 * rate) / full;
        const goal =
          policy === POLICIES[0]!.name && GOALS.find((each) => each.ratio === ratio && each.active === active);
        return {
          what: `${policy}, ratio ${ratio}, ${active}% active: throughput, % of ratio 1; swap-ins/s; balloons, sharing, MiB`,
          measured: `${part.toFixed(1)}; ${swapIns.toFixed(0)}; ${Math.round(balloon / 2 ** 20)}, ${Math.round(sharing / 2 ** 20)}`,
          ...(goal ? atLeast(part, goal.least, '') : {}),
        };
      });
    return {
      findings,
      notes: [
        `${GUESTS} guests of ${SIZE.memory} MiB have ${SIZE.anonymous} MiB of their own and ${SIZE.file} MiB of a disk filled, and use a part of both at random.`,
        `Ratio: configured memory by memory for guests. Throughput: pages used for each second of`,
        `processor time of the whole process or of waiting for memory, in ${MEASURE_S} s, ${SETTLE_S} s after the order.`,
      ],
      data: { measured: all },
    };
  },
};
