/** The memory manager's thread. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { vectorContents } from '../memory/hash-simd.ts';
import { LOCK_OWNER_MANAGER } from '../memory/layout.ts';
import { MachineMemory } from '../memory/machine-memory.ts';
import { MemoryManager } from '../memory/manager.ts';
import { createPolicy } from '../policy/policy.ts';
import { messageOf } from './errors.ts';
import { guestExplanation } from './explanation.ts';
import type { FromManager, ManagerAnswers, ManagerQuestion, ManagerWorkerData, ToManager } from './messages.ts';
import { Recorder } from './recorder.ts';
import { SwapFile } from './swap-file.ts';

/** Longest time between two steps of the manager, milliseconds; whoever needs memory wakes it earlier. */
const PERIOD_MS = 20;
/** The same while there is nothing to do for it. */
const QUIET_MS = 500;

/**
 * Parts of a core for page sharing. Guests that have just booted have most of their pages in common, and finding these early
 * saves taking others away later.
 */
const SHARING_LOAD = { idle: 0.01, finding: 0.2, pressed: 0.2 };

const { memory, swap, sharing, policy, sampledPages, record, port } = workerData as ManagerWorkerData;
const say = (message: FromManager): void => parentPort!.postMessage(message);

const machine = MachineMemory.attach(memory.buffer as unknown as SharedArrayBuffer, LOCK_OWNER_MANAGER);
const recorder =
  record &&
  new Recorder(
    record.descriptor,
    record.limit,
    { machine: machine.machineFrames, frames: machine.guestFrames },
    (message) => say({ kind: 'log', message }),
  );

const manager = new MemoryManager(machine, {
  policy: createPolicy(policy),
  ...(swap === undefined ? {} : { store: new SwapFile(swap) }),
  now: () => performance.now(),
  onError: (error) => say({ kind: 'log', message: error.message }),
  sharing,
  contents: vectorContents(memory),
  sharingLoad: SHARING_LOAD,
  workingSet: { samples: sampledPages, ...(recorder && { onLook: (look) => recorder.look(look) }) },
  ...(recorder && {
    onGone: (slot, now) => recorder.guestEnded(slot, now),
  }),
});

function answer(question: ManagerQuestion): ManagerAnswers[keyof ManagerAnswers] {
  switch (question.kind) {
    case 'check':
      manager.check();
      return undefined;
    case 'page-out':
      return manager.pageOut(question.slot, question.pages, question.force);
    case 'explain': {
      const explanation = manager.explain(question.slot);
      return explanation && guestExplanation(explanation);
    }
    case 'policy':
      manager.policy = createPolicy(question.policy);
      return undefined;
    case 'withhold':
      manager.withhold(question.frames);
      return undefined;
    case 'work': {
      const { user, system } = process.threadCpuUsage();
      return { processorMs: (user + system) / 1000, scanned: manager.work.scanned };
    }
  }
}

/** Serves all messages that have come. Returns false for the last one. */
function receive(): boolean {
  for (;;) {
    const message = (receiveMessageOnPort(port) as { message: ToManager } | undefined)?.message;
    if (message === undefined) return true;
    if (message.kind === 'stop') return false;
    try {
      say({ kind: 'answer', id: message.id, answer: answer(message.question) });
    } catch (error) {
      say({ kind: 'answer', id: message.id, error: messageOf(error) });
    }
  }
}

manager.tick();
// Looked for behind the tick, which has noted the word that `wait` sleeps on: a message that comes later raises it.
while (receive()) {
  manager.wait(PERIOD_MS, QUIET_MS);
  manager.tick();
}
// Guests that ended last are given back too, so that the account is complete.
manager.tick();
recorder?.end();
port.close();
