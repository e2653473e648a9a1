/** A guest that a balloon has made small, against one that is small. */
import { setTimeout as sleep } from 'node:timers/promises';
import { debianFiles } from '../../src/cli/images.ts';
import type { Guest } from '../../src/host/guest.ts';
import { figures, format } from '../report.ts';
import { atMost, type Experiment, MIB } from './experiment.ts';
import { idleGuests } from './guests.ts';
import { execute, processorMs } from './shell.ts';

/** Configured memory of the guest with the balloon, and of the other one; machine memory, MiB. */
const LARGE = 512;
const SMALL = 256;
const MACHINE_MEMORY = 1280;
const MOST_RATIO = 1.02;
const ROUNDS = 41;
/** Longest time that the balloon may take, and time between looks, milliseconds. */
const INFLATE_MS = 60_000;
const LOOK_MS = 50;
/** Fills a part of the memory with files that stay, and works beside them, so that what is free is short and is used. */
const PREPARE = 'dd if=/dev/zero of=/tmp/ballast bs=1M count=64 2>/dev/null; seq 1 40000 | gzip >/tmp/numbers.gz';
const WORK =
  'i=0; while [ $i -lt 4 ]; do i=$((i+1)); zcat /tmp/numbers.gz >/tmp/numbers; sort -r /tmp/numbers | md5sum; rm /tmp/numbers; done';

export const balloonCost: Experiment = {
  name: 'balloon-cost',
  shows: `a guest of ${LARGE} MiB with a balloon of ${LARGE - SMALL} against one of ${SMALL}, at the same work`,
  published: [
    {
      figure: '1.044 with a balloon of half the memory, 1.014 with an eighth',
      source: 'ESX, Waldspurger, OSDI 2002, section 3.3',
    },
  ],
  async run({ progress, host: makeHost }) {
    const files = await debianFiles();
    const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB });
    const [large] = (await idleGuests(host, files, ['ballooned'], LARGE)) as [Guest];
    const [small] = (await idleGuests(host, files, ['small'], SMALL)) as [Guest];
    const target = (LARGE - SMALL) * MIB;
    large.setBalloon(target);
    const start = performance.now();
    while (large.statistics().memory.balloon < target) {
      if (performance.now() - start > INFLATE_MS)
        throw new Error(`the balloon is not full after ${INFLATE_MS / 1000} s`);
      await sleep(LOOK_MS);
    }
    const inflateMs = performance.now() - start;
    for (const guest of [large, small]) await execute(guest, PREPARE);
    const times = new Map<Guest, number[]>([
      [large, []],
      [small, []],
    ]);
    const results = new Set<string>();
    for (let round = 0; round <= ROUNDS; round++) {
      progress(`round ${round} of ${ROUNDS}`);
      for (const guest of round % 2 === 0 ? [large, small] : [small, large]) {
        const before = process.cpuUsage();
        const { output } = await execute(guest, WORK);
        const ms = processorMs(before);
        results.add(output);
        // The first round has code translated.
        if (round > 0) times.get(guest)!.push(ms);
      }
    }
    if (results.size > 1) throw new Error(`the guests do not come to the same: ${[...results].join(' and ')}`);
    const [with_, without] = [times.get(large)!, times.get(small)!];
    // Each pair of runs has what else the machine did at the time; the medians have little of it.
    const pairs = figures(with_.map((ms, i) => ms / without[i]!));
    const ratio = figures(with_).median / figures(without).median;
    return {
      findings: [
        {
          what: 'processor time with the balloon by that without, medians',
          measured: ratio.toFixed(3),
          beside: 'ESX: 1.044',
          ...atMost(ratio, MOST_RATIO, ''),
        },
        { what: '  the same of pairs of runs: median (smallest to largest)', measured: format(pairs, 3) },
        { what: `  time until the balloon had ${LARGE - SMALL} MiB, s`, measured: (inflateMs / 1000).toFixed(2) },
        { what: '  work with the balloon, ms', measured: format(figures(with_), 0) },
        { what: '  work without, ms', measured: format(figures(without), 0) },
      ],
      notes: [
        `Both guests unpack, sort and hash a file beside files of 64 MiB in memory, by turns, ${ROUNDS} times.`,
        'Time is processor time of the whole process, the idle guest and the memory manager included.',
      ],
      data: { ratio, pairs, inflateMs, withMs: with_, withoutMs: without },
    };
  },
};
