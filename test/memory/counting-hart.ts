/** A worker with a guest's second hart, which raises a word of a page again and again and sees that nothing of it is lost. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Mailbox } from '../../src/machine/mailbox.ts';
import { PAGE_SIZE } from '../../src/memory/layout.ts';
import { GUEST_RUNNING, GUEST_STATE } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { TestHart } from './model.ts';
import { SharedStore } from './shared-store.ts';

export interface CountingOptions {
  readonly buffer: SharedArrayBuffer;
  readonly swap: SharedArrayBuffer;
  readonly slot: number;
  readonly gfn: number;
}

/** Stores between two polls. */
const UNSEEN = 200;

const { buffer, swap, slot, gfn } = workerData as CountingOptions;
const memory = MachineMemory.attach(buffer, slot + 1);
const hart: TestHart = new TestHart(memory, slot, 1, new SharedStore(swap), (page) => mailbox.bringIn(page));
const { control } = hart;
const mailbox = new Mailbox(control);
const { i32 } = memory;
let count = 0;
let rounds = 0;
let failure = '';
control.unpark();
parentPort!.postMessage('begun');
try {
  while (hart.guest.get(GUEST_STATE) === GUEST_RUNNING) {
    // The last word, so that it is read late.
    const word = PAGE_SIZE / 4 - 1;
    assert.equal(i32[hart.translate(gfn, false) / 4 + word], count);
    for (let i = 0; i < UNSEEN; i++) {
      i32[hart.storeAddress(gfn, word * 4) / 4] = ++count;
      hart.storeMade(4);
    }
    control.takeRequests();
    // Now and then the page stands still, so that it can be tied.
    if (++rounds % 20 === 0) control.doze(control.wakeups, 2);
  }
} catch (error) {
  if ((error as Error).name !== 'GuestStoppedError') failure = (error as Error).stack ?? String(error);
}
control.park();
parentPort!.postMessage({ count, failure });
