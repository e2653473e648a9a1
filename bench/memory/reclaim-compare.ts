/** The same pressure served by one technique alone, and by all of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../../src/host/host.ts';
import type { PolicyChoice } from '../../src/host/options.ts';
import { type Experiment, type Finding, MIB, type Surroundings } from './experiment.ts';
import { hostFor, type LoadGuest, type LoadSize, loadFiles, moment, speedOf, startLoads } from './loads.ts';

const GUESTS = 4;
/** Memory of a guest, MiB; the load uses this part of what it has filled, percent. */
const SIZE: LoadSize = { memory: 192, anonymous: 40, file: 40 };
const ACTIVE = 50;
/** Memory for guests, MiB, and where there is no pressure. */
const FRAMES = 390;
const PLENTY = GUESTS * SIZE.memory * 1.2;
/** Time that the technique has to bring the memory in while the guests work, and over which is measured, seconds. */
const SETTLE_S = 15;
const MEASURE_S = 10;
/** Time without pressure between two techniques. */
const REST_S = 6;

/** Hosts with and without page sharing, and by what else memory is reclaimed on them. */
const HOSTS: readonly {
  readonly sharing: boolean;
  readonly ways: readonly { readonly name: string; readonly policy: PolicyChoice }[];
}[] = [
  {
    sharing: false,
    ways: [
      { name: 'balloon only', policy: { paging: false } },
      { name: 'swap only', policy: { balloonCap: 0 } },
    ],
  },
  {
    sharing: true,
    ways: [
      { name: 'sharing only', policy: { paging: false, balloonCap: 0 } },
      { name: 'all', policy: {} },
    ],
  },
];

interface Measured {
  /** See speedOf. */
  readonly rate: number;
  /** Memory that was to be brought in and has not come, bytes. */
  readonly missing: number;
  /** Pages to and from swap or the compressed pool, and from disks below the guests, in a second. */
  readonly swapOuts: number;
  readonly swapIns: number;
  /** Bytes. */
  readonly balloon: number;
  readonly sharing: number;
  readonly swap: number;
  /** Time that harts waited for a free frame, of each second. */
  readonly starved: number;
}

/** What a host with working guests comes to. */
async function measure(host: Host, loads: readonly LoadGuest[], framesMiB: number): Promise<Measured> {
  const counts = () => {
    const guests = loads.map(({ guest }) => guest.statistics().memory.counts);
    const sum = (pick: (each: (typeof guests)[number]) => number) => guests.reduce((all, each) => all + pick(each), 0);
    return {
      swapOuts: sum((each) => each.swapOuts + each.compressed),
      swapIns: sum((each) => each.swapIns + each.decompressed + each.diskReads),
      starved: sum((each) => each.starvedMs),
    };
  };
  const before = counts();
  const from = await moment(host);
  await sleep(MEASURE_S * 1000);
  const to = await moment(host);
  const after = counts();
  const { savings, machineMemory, overhead, withheld } = host.statistics().memory;
  return {
    rate: speedOf(loads, from, to),
    missing: Math.max(0, machineMemory - overhead - withheld - framesMiB * MIB),
    swapOuts: (after.swapOuts - before.swapOuts) / MEASURE_S,
    swapIns: (after.swapIns - before.swapIns) / MEASURE_S,
    starved: (after.starved - before.starved) / MEASURE_S / 1000,
    ...savings,
  };
}

export const reclaimCompare: Experiment = {
  name: 'reclaim-compare',
  shows: 'the same pressure served by balloons only, by sharing only, by swap only, and by all',
  published: [
    { figure: 'a balloon costs 1.4% to 4.4%', source: 'ESX, Waldspurger, OSDI 2002, figure 2, as quoted from memory' },
  ],
  async run(surroundings: Surroundings) {
    const { progress } = surroundings;
    const files = await loadFiles(SIZE);
    const findings: Finding[] = [];
    const data: Record<string, unknown> = {};
    for (const { sharing, ways } of HOSTS) {
      progress(`a host ${sharing ? 'with' : 'without'} page sharing`);
      const host = await hostFor(surroundings, PLENTY, { sharing });
      const names = Array.from({ length: GUESTS }, (_, i) => `compare-${i + 1}`);
      const loads = await startLoads(host, names, SIZE, files);
      await Promise.all(loads.map((load) => load.work(ACTIVE)));
      await sleep(REST_S * 1000);
      const plenty = await measure(host, loads, PLENTY);
      data[`without pressure, ${sharing ? 'with' : 'without'} page sharing`] = plenty;
      for (const { name, policy } of ways) {
        progress(name);
        await host.setPolicy(policy);
        await host.limitMemory(FRAMES * MIB);
        await sleep(SETTLE_S * 1000);
        const measured = await measure(host, loads, FRAMES);
        data[name] = measured;
        const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
        findings.push(
          {
            what: `${name}: throughput, % of that without pressure`,
            measured: ((100 * measured.rate) / plenty.rate).toFixed(1),
          },
          { what: '  of the memory that was to be brought in, missing, MiB', measured: mib(measured.missing) },
          {
            what: '  pages to and from swap or pool in a second; waits for frames, harts',
            measured: `${measured.swapOuts.toFixed(0)}, ${measured.swapIns.toFixed(0)}; ${measured.starved.toFixed(2)}`,
          },
          {
            what: '  MiB in balloons, saved by sharing, in swap',
            measured: `${mib(measured.balloon)}, ${mib(measured.sharing)}, ${mib(measured.swap)}`,
          },
        );
        await host.setPolicy({});
        await host.limitMemory('all');
        await sleep(REST_S * 1000);
      }
      await surroundings.done(host);
    }
    return {
      findings,
      notes: [
        `${GUESTS} guests of ${SIZE.memory} MiB have ${SIZE.anonymous} MiB of their own and ${SIZE.file} MiB of a disk filled, and use ${ACTIVE}% of both at random`,
        `while the memory for guests is limited to ${FRAMES} MiB. What the balloon takes from a guest's page cache it reads again from its disk.`,
        'Throughput: pages used in the time that the arithmetic between them takes, less the part that the memory manager takes.',
      ],
      data,
    };
  },
};
