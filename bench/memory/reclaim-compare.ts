/** The same pressure served by one technique alone, and by all of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BootFiles } from '../../src/cli/images.ts';
import type { Host } from '../../src/host/host.ts';
import type { HostOptions } from '../../src/host/options.ts';
import { type Experiment, type Finding, MIB, type Surroundings } from './experiment.ts';
import { hostWithFrames, LoadGuest, type LoadSize, loadFiles, moment, speedOf } from './loads.ts';

const GUESTS = 4;
/** Memory of a guest, MiB; the load uses this part of what it has filled, percent. */
const SIZE: LoadSize = { memory: 192, anonymous: 40, file: 40 };
const ACTIVE = 50;
/** Memory for guests, MiB, and where there is no pressure. */
const FRAMES = 390;
const PLENTY = GUESTS * SIZE.memory * 1.3;
const SETTLE_S = 10;
const MEASURE_S = 10;
/** Longest time until all guests have filled their memory: with a technique that can't serve the pressure they never have. */
const FILL_MS = 60_000;

const WAYS: readonly { readonly name: string; readonly options: Omit<HostOptions, 'machineMemory'> }[] = [
  { name: 'balloon only', options: { sharing: false, policy: { paging: false } } },
  { name: 'sharing only', options: { policy: { paging: false, balloonCap: 0 } } },
  { name: 'swap only', options: { sharing: false, policy: { balloonCap: 0 } } },
  { name: 'all', options: {} },
];

interface Measured {
  /** Pages used for each second of processor time or of waiting for memory; 0 if they never came to it. */
  readonly rate: number;
  /** Pages to and from swap or the compressed pool in a second. */
  readonly swapOuts: number;
  readonly swapIns: number;
  /** Bytes. */
  readonly balloon: number;
  readonly sharing: number;
  readonly swap: number;
  /** Time that harts waited for a free frame, of each second. */
  readonly starved: number;
}

async function start(host: Host, files: BootFiles): Promise<LoadGuest[] | undefined> {
  const starting: Promise<LoadGuest>[] = [];
  const late = sleep(FILL_MS, undefined, { ref: false });
  for (let i = 0; i < GUESTS; i++) {
    const load = LoadGuest.start(host, `compare-${i + 1}`, SIZE, files);
    load.catch(() => {});
    starting.push(load);
    // Two at a time, as the processor has room for.
    if (i % 2 === 1) await Promise.race([Promise.all(starting), late]);
  }
  return await Promise.race([Promise.all(starting), late]);
}

async function measure(
  surroundings: Surroundings,
  files: BootFiles,
  framesMiB: number,
  options: Omit<HostOptions, 'machineMemory'>,
): Promise<Measured> {
  const host = await hostWithFrames(surroundings, framesMiB, options);
  const loads = await start(host, files);
  const counts = () => {
    const guests = host.guests.map((guest) => guest.statistics().memory.counts);
    const sum = (pick: (each: (typeof guests)[number]) => number) => guests.reduce((all, each) => all + pick(each), 0);
    return {
      swapOuts: sum((each) => each.swapOuts + each.compressed),
      swapIns: sum((each) => each.swapIns + each.decompressed),
      starved: sum((each) => each.starvedMs),
    };
  };
  if (loads !== undefined) {
    for (const load of loads) void load.work(ACTIVE).catch(() => {});
    await sleep(SETTLE_S * 1000);
  }
  const [from, before] = [moment(loads ?? []), counts()];
  await sleep(MEASURE_S * 1000);
  const [to, after] = [moment(loads ?? []), counts()];
  const { savings } = host.statistics().memory;
  await sleep(1500);
  const rate = loads === undefined ? 0 : speedOf(loads, from, to);
  await surroundings.done(host);
  return {
    rate,
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
  async run(surroundings) {
    const files = await loadFiles(SIZE);
    surroundings.progress('without pressure');
    const plenty = await measure(surroundings, files, PLENTY, {});
    const findings: Finding[] = [];
    const data: Record<string, unknown> = { 'without pressure': plenty };
    for (const { name, options } of WAYS) {
      surroundings.progress(name);
      const measured = await measure(surroundings, files, FRAMES, options);
      data[name] = measured;
      const speed =
        measured.rate === 0 ? 'the guests never have their memory' : ((100 * measured.rate) / plenty.rate).toFixed(1);
      const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
      findings.push(
        { what: `${name}: throughput, % of that without pressure`, measured: speed },
        {
          what: '  pages to and from swap or pool in a second; waits for frames, harts',
          measured: `${measured.swapOuts.toFixed(0)}, ${measured.swapIns.toFixed(0)}; ${measured.starved.toFixed(2)}`,
        },
        {
          what: '  MiB in balloons, saved by sharing, in swap',
          measured: `${mib(measured.balloon)}, ${mib(measured.sharing)}, ${mib(measured.swap)}`,
        },
      );
    }
    return {
      findings,
      notes: [
        `${GUESTS} guests of ${SIZE.memory} MiB have ${SIZE.anonymous} MiB of their own and ${SIZE.file} MiB of a disk filled, and use ${ACTIVE}% of both at random,`,
        `on ${FRAMES} MiB for guests. What the balloon takes from a guest's page cache it reads again from its disk.`,
        'Throughput: pages used for each second of processor time of the whole process or of waiting for memory.',
      ],
      data,
    };
  },
};
