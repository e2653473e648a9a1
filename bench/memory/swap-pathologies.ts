/** What swapping below a guest goes wrong with (VSwapper's five), each with our answer turned off and on. */
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { debianFiles } from '../../src/cli/images.ts';
import type { Guest } from '../../src/host/guest.ts';
import type { Host } from '../../src/host/host.ts';
import type { SwapHabit } from '../../src/host/options.ts';
import { atMost, type Experiment, type Finding, MIB, type Surroundings } from './experiment.ts';
import { idleGuests } from './guests.ts';

/** Configured memory of the guest, size of its disk, MiB; the host has enough for all. */
const MEMORY = 128;
const DISK = 64;
const MACHINE_MEMORY = 448;
/** What is to be read, written or kept by the guest, MiB. */
const WORK = 32;
/** Times fewer operations that our answer is to come to. */
const FACTOR = 10;
/** Longest time that a command in the guest may take, milliseconds. */
const COMMAND_MS = 120_000;

/** What a host and its guest have had to do with the swap file, and with the disk to bring pages back. */
interface Work {
  readonly pagesRead: number;
  readonly pagesWritten: number;
  readonly reads: number;
  /** Pages read because the guest stored to them. */
  readonly storeReads: number;
}

/** A guest at its shell, and the host that it is alone on. */
class Bench {
  readonly host: Host;
  readonly #guest: Guest;
  #commands = 0;

  constructor(host: Host, guest: Guest) {
    this.host = host;
    this.#guest = guest;
  }

  /** Runs a command line in the guest. */
  async run(command: string): Promise<void> {
    const number = ++this.#commands;
    this.#guest.console.write(`${command} > /dev/null 2>&1; echo done-$((${number}))\n`);
    await this.#guest.console.until(new RegExp(`done-${number}\\r?\\n`), COMMAND_MS);
  }

  /** Takes pages from the guest: all that it has without an amount in bytes, else such as are not in use. */
  async pageOut(bytes?: number): Promise<void> {
    await this.host.pageOut(this.#guest, bytes ?? MEMORY * MIB, bytes === undefined);
  }

  work(): Work {
    const { reads, pagesRead, pagesWritten, diskReads, diskPagesRead } = this.host.statistics().memory.swapIo;
    const { storeReads } = this.#guest.statistics().memory.counts;
    return { reads: reads + diskReads, pagesRead: pagesRead + diskPagesRead, pagesWritten, storeReads };
  }
}

interface Pathology {
  readonly name: string;
  /** What is counted. */
  readonly counted: string;
  /** Our answer, which the naive build is without. */
  readonly answer: readonly SwapHabit[];
  /** What is naive on both sides. */
  readonly both?: readonly SwapHabit[];
  /** Of the kernel. */
  readonly append?: string;
  /** Has the guest do its work; what is counted begins with a call of `begin`. */
  run(bench: Bench, begin: () => void): Promise<void>;
  count(before: Work, after: Work): number;
  /** What our answer may come to; a tenth of naive by default. */
  readonly most?: number;
}

const read = (megabytes: number, skip = 0): string => `dd if=/dev/vda bs=64k count=${megabytes * 16} skip=${skip * 16}`;
const writtenBy = (before: Work, after: Work): number => after.pagesWritten - before.pagesWritten;
const readBy = (before: Work, after: Work): number => after.pagesRead - before.pagesRead;

const PATHOLOGIES: readonly Pathology[] = [
  {
    name: 'silent writes',
    counted: 'pages written to swap when what the guest has read from its disk goes',
    answer: ['disks'],
    async run(bench, begin) {
      // What else the guest has is in swap before, and stays there as long as it is not written to.
      await bench.run(read(1));
      await bench.pageOut();
      await bench.run(read(WORK));
      begin();
      await bench.pageOut();
    },
    count: writtenBy,
  },
  {
    name: 'stale reads',
    counted: 'pages read that the guest then overwrites from its disk',
    answer: ['dma'],
    // Otherwise the guest's processor fills pages with zeros before the disk does, and it is a false read.
    append: 'init_on_alloc=0',
    async run(bench, begin) {
      await bench.run(`dd if=/dev/vda of=/dev/shm/data bs=64k count=${WORK * 16}; rm /dev/shm/data`);
      await bench.run(`echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M count=${WORK}`);
      await bench.pageOut();
      // A buffer and a page cache that are used again, for other blocks.
      await bench.run(`cat /proc/meminfo; ${read(1, WORK)}`);
      begin();
      await bench.run(
        `for i in 1 2 3 4; do ${read(DISK - WORK, WORK)}; ${read(WORK)}; echo 1 > /proc/sys/vm/drop_caches; done`,
      );
    },
    count: readBy,
  },
  {
    name: 'false reads',
    // No more are false: those that are overwritten whole before anything of them is needed are among them.
    counted: 'pages read because the guest stores to them, most of which it overwrites whole',
    answer: ['stores'],
    // What is read ahead is not read because of a store.
    both: ['read-ahead'],
    async run(bench, begin) {
      await bench.run(read(DISK));
      await bench.pageOut();
      await bench.run('true');
      begin();
      await bench.run(`dd if=/dev/zero of=/dev/shm/data bs=64k count=${WORK * 16}`);
    },
    count: (before, after) => after.storeReads - before.storeReads,
    most: 0,
  },
  {
    name: 'decayed sequentiality',
    counted: 'operations to read back in order what was used out of order',
    answer: ['read-ahead', 'clusters'],
    async run(bench, begin) {
      await bench.run(`dd if=/dev/vda of=/dev/shm/data bs=64k count=${WORK * 16}; echo 1 > /proc/sys/vm/drop_caches`);
      for (let turn = 0; turn < 3; turn++) {
        await bench.pageOut();
        // Writes to some pages here and there give them other places.
        await bench.run(
          `for i in 3 1 6 2 5 7 4; do dd if=/dev/vda of=/dev/shm/data bs=4k count=8 seek=$((i*997+${turn}*131)) conv=notrunc; done`,
        );
      }
      await bench.pageOut();
      // What it takes to read the file, and the first of it.
      await bench.run('dd if=/dev/shm/data bs=4k count=1 | md5sum');
      begin();
      // Not cat: it has the kernel move the pages without a look at them.
      await bench.run('md5sum /dev/shm/data');
    },
    count: (before, after) => after.reads - before.reads,
  },
  {
    name: 'false anonymity',
    counted: 'pages written to swap when half of what is not in use goes',
    answer: ['victims'],
    async run(bench, begin) {
      await bench.run(`dd if=/dev/vda of=/dev/shm/data bs=64k count=${(WORK / 2) * 16}`);
      await bench.run(`echo 1 > /proc/sys/vm/drop_caches; ${read(WORK, WORK / 2)}`);
      begin();
      await bench.pageOut((WORK / 2) * MIB);
    },
    count: writtenBy,
  },
];

/** @returns what a build with some habits came to */
async function measure(
  pathology: Pathology,
  naiveSwap: readonly SwapHabit[],
  disk: string,
  { host: makeHost, done }: Surroundings,
): Promise<number> {
  const host = await makeHost({ machineMemory: MACHINE_MEMORY * MIB, sharing: false, compressed: 0, naiveSwap });
  const [guest] = await idleGuests(host, await debianFiles(), ['swapped'], MEMORY, {
    disks: [{ path: disk, readOnly: true }],
    append: `console=ttyS0 panic=-1 quiet ${pathology.append ?? ''}`,
  });
  const bench = new Bench(host, guest!);
  let before = bench.work();
  await pathology.run(bench, () => {
    before = bench.work();
  });
  const counted = pathology.count(before, bench.work());
  await done(host);
  return counted;
}

export const swapPathologies: Experiment = {
  name: 'swap-pathologies',
  shows: 'what the five pathologies of swapping below a guest cost, and what is left of them',
  published: [
    { figure: 'up to 10 times faster without a balloon, up to 2 times with one', source: 'VSwapper, ASPLOS 2014' },
  ],
  async run(surroundings) {
    const folder = mkdtempSync(join(tmpdir(), 'ballonet-swap-pathologies-'));
    try {
      const disk = join(folder, 'disk');
      writeFileSync(disk, randomFillSync(Buffer.alloc(DISK * MIB)));
      const findings: Finding[] = [];
      const data: Record<string, unknown> = {};
      for (const pathology of PATHOLOGIES) {
        surroundings.progress(pathology.name);
        const naive = await measure(pathology, [...pathology.answer, ...(pathology.both ?? [])], disk, surroundings);
        const ours = await measure(pathology, pathology.both ?? [], disk, surroundings);
        data[pathology.name] = { counted: pathology.counted, naive, ours };
        findings.push({
          what: `${pathology.name}: ${pathology.counted}`,
          measured: String(ours),
          beside: `naive: ${naive}`,
          ...(pathology.most === undefined
            ? { goal: `naive / ${FACTOR}`, reached: ours * FACTOR <= naive }
            : atMost(ours, pathology.most, '')),
        });
      }
      return {
        findings,
        notes: [
          `A guest of ${MEMORY} MiB with a disk of ${DISK} MiB whose contents do not compress; no page sharing, no compressed pool, and`,
          'pages are taken by command. Naive is the same build with the one answer turned off.',
        ],
        data,
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
