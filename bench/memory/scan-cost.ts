/** What page sharing costs while guests work. */
import { debianFiles } from '../../src/cli/images.ts';
import type { Guest } from '../../src/host/guest.ts';
import type { Host } from '../../src/host/host.ts';
import { figures, format } from '../report.ts';
import { type Experiment, MIB, type Surroundings } from './experiment.ts';
import { idleGuests } from './guests.ts';
import { execute, processorMs as spent } from './shell.ts';

const GUESTS = 2;
/** Configured memory of a guest, and machine memory, MiB. */
const MEMORY = 192;
const MACHINE_MEMORY = 1024;
/** Times that each guest does its work, with and without page sharing by turns. */
const ROUNDS = 3;
/** Writes files, reads them, and computes: new pages come and others change. */
const WORK =
  'i=0; while [ $i -lt 6 ]; do i=$((i+1)); seq $i 30000 >/tmp/numbers; sort -r /tmp/numbers | gzip -1 | md5sum; done; rm /tmp/numbers';

interface Side {
  readonly host: Host;
  readonly guests: readonly Guest[];
  readonly ms: number[];
}

async function side(surroundings: Surroundings, sharing: boolean): Promise<Side> {
  const host = await surroundings.host({ machineMemory: MACHINE_MEMORY * MIB, sharing });
  const names = Array.from({ length: GUESTS }, (_, i) => `${sharing ? 'shared' : 'apart'}-${i + 1}`);
  return { host, guests: await idleGuests(host, await debianFiles(), names, MEMORY), ms: [] };
}

export const scanCost: Experiment = {
  name: 'scan-cost',
  shows: 'pages hashed, the memory manager’s part of a core, and what the guests are slower by, while they work',
  published: [
    { figure: 'throughput within 0.5% of that without sharing', source: 'ESX, Waldspurger, OSDI 2002, section 4.4' },
  ],
  async run(surroundings) {
    const [on, off] = [await side(surroundings, true), await side(surroundings, false)];
    let [processorMs, scanned, wallMs] = [0, 0, 0];
    for (let round = 0; round <= ROUNDS; round++) {
      for (const { host, guests, ms } of round % 2 === 0 ? [on, off] : [off, on]) {
        surroundings.progress(`round ${round} of ${ROUNDS}, ${host === on.host ? 'with' : 'without'} page sharing`);
        const [before, start, cpu] = [await host.managerWork(), performance.now(), process.cpuUsage()];
        await Promise.all(guests.map((guest) => execute(guest, WORK)));
        const [taken, work] = [performance.now() - start, spent(cpu)];
        const after = await host.managerWork();
        // The first round has code translated.
        if (round === 0) continue;
        ms.push(work);
        if (host !== on.host) continue;
        processorMs += after.processorMs - before.processorMs;
        scanned += after.scanned - before.scanned;
        wallMs += taken;
      }
    }
    const ratios = figures(on.ms.map((ms, i) => ms / off.ms[i]!));
    const merged = on.host.statistics().guests.reduce((sum, guest) => sum + guest.memory.shared, 0);
    const share = (100 * processorMs) / wallMs;
    const rate = (1000 * scanned) / wallMs;
    return {
      findings: [
        {
          what: 'processor time with page sharing by that without: median (smallest to largest)',
          measured: format(ratios, 3),
          beside: 'ESX: 1.005',
        },
        { what: "  memory manager's part of a core, %", measured: share.toFixed(1) },
        { what: '  pages hashed in a second', measured: rate.toFixed(0), beside: 'ESX: 200' },
        { what: '  shared at the end, MiB', measured: (merged / MIB).toFixed(0) },
      ],
      notes: [
        `${GUESTS} guests of ${MEMORY} MiB write, sort and compress files at the same time, ${ROUNDS} times on each of two hosts by turns;`,
        'Processor time is that of the whole process, both memory managers included.',
      ],
      data: {
        ratio: ratios,
        managerPercent: share,
        pagesPerSecond: rate,
        sharedMiB: merged / MIB,
        onMs: on.ms,
        offMs: off.ms,
      },
    };
  },
};
