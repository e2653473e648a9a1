/** What guests cost that wait at their shells: processor time of the whole process, all of its threads included. */
import { setTimeout } from 'node:timers/promises';
import { debianFiles } from '../src/cli/images.ts';
import type { Guest } from '../src/host/guest.ts';
import { Host } from '../src/host/host.ts';
import { DEFAULT_APPEND } from '../src/host/options.ts';
import { type Bench, figures, format } from './report.ts';

const GUESTS = 6;
/** Configured memory of a guest, and machine memory, MiB. */
const MEMORY = 256;
const MACHINE_MEMORY = 1536;
/** Longest time until all guests are at their shells, milliseconds. */
const BOOT_MS = 300_000;
/** Time for what comes behind the boot: pages that are alike are shared, and the kernel puts off its last work. */
const SETTLE_MS = 60_000;
/** Length of a measurement, milliseconds. */
const WINDOW_MS = 20_000;
/** What the shell prints before it waits. */
const PROMPT = /~ # /;

/** Processor time of the process in `ms` milliseconds, as a part of a core in percent. */
async function busy(ms: number): Promise<number> {
  const before = process.cpuUsage();
  const start = performance.now();
  await setTimeout(ms);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 10 / (performance.now() - start);
}

/** Time from a typed line to its answer, milliseconds. */
async function answer(guest: Guest, number: number): Promise<number> {
  const start = performance.now();
  guest.console.write(`echo $((${number}+1))nd\n`);
  await guest.console.until(new RegExp(`${number + 1}nd`));
  return performance.now() - start;
}

export const idle: Bench = {
  description: 'processor time of six guests that wait at their shells',
  async run({ runs, progress }) {
    const { kernel, initrd } = await debianFiles();
    await using host = await Host.create({ machineMemory: `${MACHINE_MEMORY}M` });
    progress(`${GUESTS} guests boot`);
    const guests = await Promise.all(
      Array.from({ length: GUESTS }, (_, i) =>
        host.start({ name: `idle-${i + 1}`, memory: `${MEMORY}M`, kernel, initrd, append: `${DEFAULT_APPEND} quiet` }),
      ),
    );
    await Promise.all(guests.map((guest) => guest.console.until(PROMPT, BOOT_MS)));
    progress('they wait');
    await setTimeout(SETTLE_MS);
    const shares: number[] = [];
    const answers: number[] = [];
    for (let i = 0; i < runs; i++) {
      progress(`measurement ${i + 1} of ${runs}`);
      shares.push(await busy(WINDOW_MS));
      // Not all at once: each of them has been asleep.
      for (const guest of guests) answers.push(await answer(guest, i));
    }
    const [share, latency] = [figures(shares), figures(answers)];
    return {
      columns: [{ heading: '' }, { heading: 'median (smallest to largest)', right: true }],
      rows: [
        ['processor time, % of a core', format(share, 2)],
        ['answer of a shell, ms', format(latency, 0)],
      ],
      notes: [
        `${GUESTS} guests of ${MEMORY} MiB with Debian's kernel wait at the shell of busybox, on ${MACHINE_MEMORY} MiB of machine memory.`,
        `All threads of the process, ${WINDOW_MS / 1000} s at a time, ${SETTLE_MS / 1000} s after the last guest has booted; ${runs} times.`,
      ],
      data: { percentOfACore: share, answerMs: latency, guests: GUESTS, memoryMiB: MEMORY },
    };
  },
};
