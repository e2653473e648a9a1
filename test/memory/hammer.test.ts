import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { EventCounts } from '../../src/memory/account.ts';
import type { Policy } from '../../src/memory/decision.ts';
import { createGuest, type Guest } from '../../src/memory/guest.ts';
import { HART_REQUEST_CONTROL, LOCK_OWNER_MANAGER, PAGE_SIZE } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { MemoryManager } from '../../src/memory/manager.ts';
import { createSwap } from '../../src/memory/swap.ts';
import { createPolicy } from '../../src/policy/policy.ts';
import type { HammerOptions } from './hammer-hart.ts';
import { SharedStore } from './shared-store.ts';

/** Milliseconds that the harts are hammered; more finds more. */
const DURATION_MS = Number(process.env.BALLONET_HAMMER_MS ?? 4000);
const GUEST_PAGES = 1024;
const FRAMES = 900;
const HEAP_PAGES = 128;
const SLOTS = 4096;
/** Pages that all harts of a guest write to. */
const SHARED = 64;

/** Techniques that must have been at work, and how often at least in the default time. */
const AT_WORK: Partial<Record<keyof EventCounts, number>> = {
  merges: 100,
  zeroMerges: 50,
  copies: 20,
  swapOuts: 100,
  swapIns: 100,
  balloonFrames: 50,
  reportedFrames: 50,
  overwrites: 20,
  diskDrops: 20,
  diskIns: 20,
};

/** A policy with balloons that grow and shrink all the time: guests that use all they have would be left without. */
function breathing(policy: Policy): Policy {
  let steps = 0;
  return (observation) => {
    const { guests, ...rest } = policy(observation);
    const balloonTarget = Math.round(GUEST_PAGES * 0.1 * (1 + Math.sin(steps++ / 20)));
    return { ...rest, guests: guests.map((guest) => ({ ...guest, balloonTarget })) };
  };
}

test('harts see no lost and no foreign byte while pages are shared, paged and ballooned', async () => {
  const buffer = new SharedArrayBuffer((2 + Math.ceil((FRAMES + HEAP_PAGES) / 256) + HEAP_PAGES + FRAMES) * PAGE_SIZE);
  const host = MachineMemory.format(buffer, { heapBytes: HEAP_PAGES * PAGE_SIZE, reserveFrames: 8 });
  createSwap(host, SLOTS, 2 * 256);
  const swap = new SharedArrayBuffer(SLOTS * PAGE_SIZE);
  const frames = host.freeFrames;
  const memoryBytes = GUEST_PAGES * PAGE_SIZE;
  const harts = [1, 2].map((count, i) => ({
    guest: createGuest(host, { name: `guest ${i}`, memoryBytes, harts: count, minimumBytes: 0 }),
    count,
  }));
  const errors: Error[] = [];
  const manager = new MemoryManager(MachineMemory.attach(buffer, LOCK_OWNER_MANAGER), {
    policy: breathing(createPolicy()),
    now: () => performance.now(),
    store: new SharedStore(swap, 1999),
    sharingLoad: { idle: 0.3, finding: 0.3, pressed: 0.3 },
    workingSet: { lookMs: 3 },
    pagingMs: 5,
    onError: (error) => errors.push(error),
  });
  const workers: Promise<{ operations: number; failure: string }>[] = [];
  for (const { guest, count } of harts) {
    for (let hart = 0; hart < count; hart++) {
      workers.push(startHart(buffer, swap, guest, hart, count));
    }
  }
  const results = Promise.all(workers);
  let ended = false;
  void results.finally(() => {
    ended = true;
  });
  const end = performance.now() + DURATION_MS;
  for (let stopped = false; !ended; ) {
    manager.tick();
    await setImmediate();
    manager.wait(2);
    if (!stopped && performance.now() > end) {
      stopped = true;
      manager.check();
      for (const { guest } of harts) {
        guest.stop();
        guest.request(HART_REQUEST_CONTROL);
      }
    }
  }
  for (const { failure, operations } of await results) {
    assert.equal(failure, '');
    assert.ok(operations > 100, `only ${operations} operations`);
  }
  for (const error of errors) {
    assert.equal(error.name, 'SwapWriteError', String(error.stack));
  }
  manager.check();
  const { totals } = manager.snapshot();
  for (const [name, least] of Object.entries(AT_WORK)) {
    const times = totals[name as keyof EventCounts];
    assert.ok(times >= least, `${name} happened ${times} times only: ${JSON.stringify(totals)}`);
  }
  for (const { guest } of harts) {
    guest.end();
  }
  manager.tick();
  manager.check();
  assert.equal(host.freeFrames, frames);
  assert.equal(manager.snapshot().totals.merges, totals.merges);
});

async function startHart(
  buffer: SharedArrayBuffer,
  swap: SharedArrayBuffer,
  guest: Guest,
  hart: number,
  count: number,
): Promise<{ operations: number; failure: string }> {
  const shared = count > 1 ? SHARED : 0;
  const part = Math.floor((GUEST_PAGES - SHARED) / count);
  const workerData: HammerOptions = {
    buffer,
    swap,
    slot: guest.slot,
    hart,
    first: SHARED + hart * part,
    count: part,
    shared,
    harts: count,
    seed: guest.slot * 97 + hart * 31 + 5,
  };
  const worker = new Worker(new URL('./hammer-hart.ts', import.meta.url), { workerData });
  const exit = once(worker, 'exit');
  const [message] = await once(worker, 'message');
  await exit;
  return message as { operations: number; failure: string };
}
