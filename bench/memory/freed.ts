/** How soon memory that a guest frees is the host's again, without any target for its balloon. */
import { setTimeout as sleep } from 'node:timers/promises';
import { debianFiles } from '../../src/cli/images.ts';
import type { Guest } from '../../src/host/guest.ts';
import { figures, format } from '../report.ts';
import { atMost, type Experiment, MIB } from './experiment.ts';
import { idleGuests } from './guests.ts';
import { execute } from './shell.ts';

/** Configured memory, and machine memory, MiB. */
const MEMORY = 512;
const MACHINE_MEMORY = 1024;
/** What the guest takes and frees, and the part of it that has to be back, MiB. */
const TAKEN = 128;
const BACK = 0.9;
const MOST_SECONDS = 2;
const ROUNDS = 5;
const LOOK_MS = 10;
const GIVE_UP_MS = 30_000;

export const freed: Experiment = {
  name: 'freed',
  shows: `time until ${BACK * 100}% of ${TAKEN} MiB that a guest frees are the host's again`,
  published: [
    { figure: 'never: without a target a balloon does nothing', source: 'ESX, Waldspurger, OSDI 2002, section 3' },
  ],
  async run({ progress, host: makeHost }) {
    const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB });
    const [guest] = (await idleGuests(host, await debianFiles(), ['freeing'], MEMORY)) as [Guest];
    const resident = (): number => guest.statistics().memory.resident;
    const seconds: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      progress(`round ${round} of ${ROUNDS}`);
      // Random contents: pages of zeros and pages that are alike would take no memory.
      await execute(guest, `dd if=/dev/urandom of=/tmp/taken bs=1M count=${TAKEN} 2>/dev/null`);
      const before = resident();
      await execute(guest, 'rm /tmp/taken');
      const start = performance.now();
      while (before - resident() < BACK * TAKEN * MIB) {
        if (performance.now() - start > GIVE_UP_MS) throw new Error(`not back after ${GIVE_UP_MS / 1000} s`);
        await sleep(LOOK_MS);
      }
      seconds.push((performance.now() - start) / 1000);
    }
    const time = figures(seconds);
    return {
      findings: [
        {
          what: 'time until freed memory is back, s: median (smallest to largest)',
          measured: format(time, 2),
          ...atMost(time.largest, MOST_SECONDS, ''),
        },
      ],
      notes: [`A guest of ${MEMORY} MiB writes a file of ${TAKEN} MiB in its memory and removes it, ${ROUNDS} times.`],
      data: { seconds: time, takenMiB: TAKEN },
    };
  },
};
