/** What a process holds that runs a guest: translations, heaps of its threads, memory beside that of the machine. */
import type { Worker } from 'node:worker_threads';
import { FIGURES } from '../../src/engine/counters.ts';
import type { Guest } from '../../src/index.ts';
import { residentMemory } from './resident.ts';

const MIB = 2 ** 20;

/** Notes the threads that the process starts, from the call on. */
export function collectWorkers(): ReadonlySet<Worker> {
  const workers = new Set<Worker>();
  process.on('worker', (worker) => {
    workers.add(worker);
    worker.on('exit', () => workers.delete(worker));
  });
  return workers;
}

/** Figures by name; memory in MiB. */
export async function takeSample(
  guest: Guest,
  workers: Iterable<Worker>,
  machineMemory: number,
): Promise<Record<string, number>> {
  const { engine } = guest.statistics();
  const heaps = await Promise.all([...workers].map((worker) => worker.getHeapStatistics()));
  const main = process.memoryUsage();
  const used = heaps.reduce((sum, heap) => sum + heap.used_heap_size, main.heapUsed);
  const external = heaps.reduce((sum, heap) => sum + heap.external_memory, main.external);
  const resident = residentMemory(machineMemory);
  return {
    translations: FIGURES.heldTranslations.of(engine),
    modules: FIGURES.heldModules.of(engine),
    'heap, MiB': used / MIB,
    'external, MiB': external / MIB,
    'code, MiB': resident.code / MIB,
    'resident, MiB': resident.all / MIB,
  };
}
