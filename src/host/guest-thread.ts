/** Threads for guests' harts. */
import { type MessagePort, Worker } from 'node:worker_threads';
import type { GuestWorkerData, HartThreadData } from './messages.ts';
import { workerUrl } from './worker-url.ts';

/**
 * V8 would let what a thread has allocated lately grow to 48 MB, which stay resident while the thread sleeps. A guest's thread
 * allocates little, and little of that lives long.
 */
const resourceLimits = { maxYoungGenerationSizeMb: 3 };

/** A thread that loads its modules, or has, and does not know its guest yet. */
let prepared: Worker | undefined;

const newGuestThread = (name: string): Worker => new Worker(workerUrl('guest-worker'), { name, resourceLimits });

/** Begins with the thread of the next guest, before anything else is known of that. It does not keep the process going. */
export function prepareGuestThread(): void {
  if (prepared !== undefined) return;
  prepared = newGuestThread('ballonet guest');
  prepared.unref();
}

/** Starts the thread of a guest's first hart, which has the devices, too. */
export function startGuestThread(data: GuestWorkerData): Worker {
  const worker = prepared ?? newGuestThread(`ballonet ${data.config.name}`);
  prepared = undefined;
  worker.ref();
  worker.postMessage(data, [data.translator, data.port]);
  return worker;
}

/** Starts the thread of another hart of a guest. */
export function startHartThread(guest: string, workerData: HartThreadData): Worker {
  const transferList: MessagePort[] = [workerData.translator];
  const name = `ballonet ${guest}/${workerData.hart}`;
  return new Worker(workerUrl('hart-worker'), { workerData, transferList, name, resourceLimits });
}
