/** How many idle guests a machine memory of 4 GiB holds, with a shell that answers in each. */
import { setTimeout as sleep } from 'node:timers/promises';
import { debianFiles } from '../../src/cli/images.ts';
import { figures, format } from '../report.ts';
import { atLeast, type Experiment, MIB } from './experiment.ts';
import { answer, idleGuests } from './guests.ts';
import { processorMs } from './shell.ts';

/** Configured memory of a guest, and machine memory, MiB. */
const MEMORY = 128;
const MACHINE_MEMORY = 4096;
/** The goal, and what it tries for without --guests. */
export const LEAST_GUESTS = 100;
/** Guests started one after the other, before it is looked whether there is time for more. */
const BATCH = 4;
/** No more are started after this, milliseconds, so that all is over in time. */
const START_MS = 262_000;
const SETTLE_MS = 5000;

export const density: Experiment = {
  name: 'density',
  shows: `idle guests of ${MEMORY} MiB on ${MACHINE_MEMORY / 1024} GiB of machine memory, a shell answering in each`,
  published: [],
  async run({ progress, host: makeHost, guests: wanted }) {
    const files = await debianFiles();
    // Admission wants swap for all that the guests may come to use.
    const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB, swapSize: wanted * MEMORY * MIB });
    const start = performance.now();
    const before = process.cpuUsage();
    while (host.guests.length < wanted && performance.now() - start < START_MS) {
      const from = host.guests.length;
      await idleGuests(
        host,
        files,
        Array.from({ length: Math.min(BATCH, wanted - from) }, (_, i) => `dense-${from + i + 1}`),
        MEMORY,
      );
      progress(`${host.guests.length} guests after ${((performance.now() - start) / 1000).toFixed(0)} s`);
    }
    const bootSeconds = (performance.now() - start) / 1000;
    const cpuSeconds = processorMs(before) / 1000;
    await sleep(SETTLE_MS);
    const answers: number[] = [];
    for (const guest of host.guests) answers.push(await answer(guest, answers.length));
    const latency = figures(answers);
    const { memory, guests } = host.statistics();
    const used = memory.machineMemory - memory.free - memory.overheadFree;
    const swapped = guests.reduce((sum, guest) => sum + guest.memory.swapped, 0);
    return {
      findings: [
        {
          what: 'guests whose shells answer',
          measured: `${answers.length}`,
          ...atLeast(answers.length, LEAST_GUESTS, ''),
        },
        { what: '  machine memory that they take, MiB', measured: (used / MIB).toFixed(0) },
        { what: '  of that swapped, MiB', measured: (swapped / MIB).toFixed(0) },
        { what: '  answer of a shell, ms: median (smallest to largest)', measured: format(latency, 0) },
        { what: '  resident memory of the process, MB', measured: (process.memoryUsage.rss() / 1e6).toFixed(0) },
      ],
      notes: [
        `It ends at ${wanted} guests (--guests), or when no more can be started within ${START_MS / 1000} s; they took ${bootSeconds.toFixed(0)} s,`,
        `with ${(cpuSeconds / answers.length).toFixed(1)} s of processor time each.`,
      ],
      data: {
        guests: answers.length,
        usedMiB: used / MIB,
        swappedMiB: swapped / MIB,
        answerMs: latency,
        rssMB: process.memoryUsage.rss() / 1e6,
        bootSeconds,
        cpuSeconds,
      },
    };
  },
};
