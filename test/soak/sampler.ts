/** What a process holds that runs guests: translations, heaps of its threads, memory beside that of the machine. */
import { readFileSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { FIGURES } from '../../src/engine/counters.ts';
import type { Guest } from '../../src/index.ts';

const MIB = 2 ** 20;

/** Threads that the process has started since `collectWorkers`. */
const workers = new Set<Worker>();

/** Notes the threads that are started from now on. */
export function collectWorkers(): void {
  process.on('worker', (worker) => {
    workers.add(worker);
    worker.on('exit', () => workers.delete(worker));
  });
}

/**
 * Resident memory of the process without that of the machine, bytes: how much of the machine's memory has ever been touched
 * is the guests' business.
 */
function residentBytes(machineMemory: number): number {
  let resident = 0;
  let isMachine = false;
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range !== null) isMachine = Number.parseInt(range[2]!, 16) - Number.parseInt(range[1]!, 16) === machineMemory;
    const size = /^Rss:\s+(\d+) kB/.exec(line);
    if (size !== null && !isMachine) resident += Number(size[1]) * 1024;
  }
  return resident;
}

/** Figures by name; memory in MiB. */
export async function takeSample(guest: Guest, machineMemory: number): Promise<Record<string, number>> {
  const { engine } = guest.statistics();
  const heaps = await Promise.all([...workers].map((worker) => worker.getHeapStatistics()));
  const main = process.memoryUsage();
  const used = heaps.reduce((sum, heap) => sum + heap.used_heap_size, main.heapUsed);
  const external = heaps.reduce((sum, heap) => sum + heap.external_memory, main.external);
  return {
    translations: FIGURES.heldTranslations.of(engine),
    modules: FIGURES.heldModules.of(engine),
    'heap, MiB': used / MIB,
    'external, MiB': external / MIB,
    'resident, MiB': residentBytes(machineMemory) / MIB,
  };
}
