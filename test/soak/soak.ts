/** One guest that works for a long time, and what its process holds meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from '../../src/index.ts';
import { ShellGuest } from '../host/linux-guests.ts';
import { collectWorkers, takeSample } from './sampler.ts';
import { type Allowance, type Growth, judge, type Sample } from './verdict.ts';
import { workOfRound } from './work.ts';

const MIB = 2 ** 20;
const MACHINE_MEMORY = 192 * MIB;
const GUEST_MEMORY = 128 * MIB;
/** What the kernel has to say, as that its clock has jumped, is not among what the work prints. */
const APPEND = 'console=ttyS0 loglevel=1 panic=-1';
/** Longest time of a piece of work in milliseconds, if the process is stopped meanwhile. */
const WORK_MS = 15 * 60_000;

/** What may grow by how much in the last quarter; a hart gives up all translations when it has a certain number. Caches go up and down by more than a leak of an hour. */
export const ALLOWANCES: Readonly<Record<string, Allowance>> = {
  translations: { absolute: 500, share: 0.05, by: 'greatest' },
  modules: { absolute: 500, share: 0.05, by: 'greatest' },
  'heap, MiB': { absolute: 12, share: 0.05 },
  'external, MiB': { absolute: 12, share: 0.05 },
  'code, MiB': { absolute: 12, share: 0.05 },
  'resident, MiB': { absolute: 24, share: 0.05 },
};

export interface SoakResult {
  readonly rounds: number;
  /** Pieces of work that were done. */
  readonly works: number;
  readonly instructions: number;
  /** Share of the instructions that were translated, 0 to 1. */
  readonly translated: number;
  readonly samples: readonly Sample[];
  readonly growths: readonly Growth[];
}

export interface SoakOptions {
  readonly ms: number;
  /** Time between two samples. */
  readonly sampleMs: number;
  /** Takes each sample as it comes, and the number of the round. */
  readonly onSample?: (sample: Sample, round: number) => void;
}

/** @throws Error if a piece of work has another result than it should */
export async function soak({ ms, sampleMs, onSample }: SoakOptions): Promise<SoakResult> {
  const workers = collectWorkers();
  await using host = await Host.create({ machineMemory: MACHINE_MEMORY });
  const shell = await ShellGuest.start(host, { name: 'soak', memory: GUEST_MEMORY, append: APPEND });
  const samples: Sample[] = [];
  const start = performance.now();
  const end = start + ms;
  let round = 0;
  let works = 0;
  let working = true;
  const work = async (): Promise<void> => {
    try {
      for (; performance.now() < end; round++) {
        for (const { name, command, result } of workOfRound(round)) {
          const printed = (await shell.run(command, WORK_MS)).trim();
          if (printed !== result) throw new Error(`round ${round}, ${name}: ${printed} where ${result} is right`);
          works++;
          if (performance.now() >= end) break;
        }
      }
    } finally {
      working = false;
    }
  };
  const watch = async (): Promise<void> => {
    while (working) {
      const values = await takeSample(shell.guest, workers, MACHINE_MEMORY);
      const sample = { ms: performance.now() - start, values };
      samples.push(sample);
      onSample?.(sample, round);
      await sleep(sampleMs);
    }
  };
  await Promise.all([work(), watch()]);
  const { instructions, counters } = shell.guest.statistics().engine;
  return {
    rounds: round,
    works,
    instructions,
    translated: counters.translatedInstructions / instructions,
    samples,
    growths: Object.entries(ALLOWANCES).map(([name, allowance]) => judge(samples, name, allowance)),
  };
}
