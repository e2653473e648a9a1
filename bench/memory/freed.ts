/** How soon memory that a guest frees is the host's again, without any target for its balloon. */
import { setTimeout as sleep } from 'node:timers/promises';
import { debianFiles } from '../../src/cli/images.ts';
import type { Guest } from '../../src/host/guest.ts';
import { figures, format } from '../report.ts';
import { atLeast, type Experiment, MIB } from './experiment.ts';
import { idleGuests } from './guests.ts';
import { execute } from './shell.ts';

/** Configured memory, and machine memory, MiB. */
const MEMORY = 512;
const MACHINE_MEMORY = 1024;
/** What the guest takes and frees, MiB. */
const TAKEN = 128;
const ROUNDS = 3;
/** Times after which it is looked how much is back, seconds; the goal is for the first. */
const TIMES = [2, 10, 30] as const;
/** Part of what was freed that has to be back by then, percent. */
const LEAST_BACK = 90;

export const freed: Experiment = {
  name: 'freed',
  shows:
    'how much of the memory that a guest frees is the host’s again after some seconds, without a target for its balloon',
  published: [
    { figure: 'nothing: without a target a balloon stays as it is', source: 'ESX, Waldspurger, OSDI 2002, section 3' },
  ],
  async run({ progress, host: makeHost }) {
    const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB });
    const [guest] = (await idleGuests(host, await debianFiles(), ['freeing'], MEMORY)) as [Guest];
    const resident = (): number => guest.statistics().memory.resident;
    const back = TIMES.map((): number[] => []);
    for (let round = 1; round <= ROUNDS; round++) {
      progress(`round ${round} of ${ROUNDS}`);
      // Random contents: pages of zeros and pages that are alike would take no memory.
      await execute(guest, `dd if=/dev/urandom of=/tmp/taken bs=1M count=${TAKEN} 2>/dev/null`);
      const before = resident();
      await execute(guest, 'rm /tmp/taken');
      const start = performance.now();
      for (const [i, seconds] of TIMES.entries()) {
        await sleep(Math.max(0, start + seconds * 1000 - performance.now()));
        back[i]!.push((100 * (before - resident())) / (TAKEN * MIB));
      }
    }
    const percent = back.map(figures);
    return {
      findings: TIMES.map((seconds, i) => ({
        what: `freed memory that is back after ${seconds} s, %: median (smallest to largest)`,
        measured: format(percent[i]!, 0),
        ...(i === 0 ? atLeast(percent[i]!.smallest, LEAST_BACK, '') : {}),
      })),
      notes: [
        `A guest of ${MEMORY} MiB writes a file of ${TAKEN} MiB in its memory and removes it, ${ROUNDS} times. Linux reports free pages`,
        'two seconds after the first of them was freed, those that lie together in blocks of 2 MiB and larger.',
      ],
      data: { percentBack: Object.fromEntries(TIMES.map((seconds, i) => [seconds, percent[i]])), takenMiB: TAKEN },
    };
  },
};
