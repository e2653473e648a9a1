/** The thread of a hart behind a guest's first one. */
import { parentPort, workerData } from 'node:worker_threads';
import { Sibling } from '../machine/sibling.ts';
import { GuestStoppedError } from '../memory/errors.ts';
import { GUEST_RUNNING, GUEST_STATE } from '../memory/layout-guest.ts';
import { messageOf } from './errors.ts';
import { HartThread, processMs, SLICE_MS } from './hart-thread.ts';
import type { FromHart, HartThreadData } from './messages.ts';

const say = (message: FromHart): void => parentPort!.postMessage(message);

/** Runs the hart until its guest is stopped. */
function run(data: HartThreadData): void {
  const thread = new HartThread(data, say);
  try {
    execute(thread, new Sibling(thread.options, data.hart));
  } finally {
    thread.finish();
  }
}

function execute(thread: HartThread, sibling: Sibling): void {
  const { guest, translator } = thread;
  while (guest.get(GUEST_STATE) === GUEST_RUNNING) {
    const { wakeups } = thread;
    if (!sibling.mayRun()) {
      thread.sleep(wakeups);
      continue;
    }
    translator.receive((key, translation) => sibling.install(key, translation));
    const state = sibling.run(processMs() + SLICE_MS);
    if (state === 'wait') thread.sleep(wakeups, sibling.waitMs);
  }
}

const data = workerData as HartThreadData;
try {
  run(data);
} catch (error) {
  if (!(error instanceof GuestStoppedError)) {
    say({ kind: 'failed', message: `hart ${data.hart}: ${messageOf(error)}` });
  }
}
