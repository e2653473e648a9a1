import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { buildEngine } from '../../src/engine/build.ts';
import { hartAreaBytes } from '../../src/engine/state.ts';
import { MEMORY_CONSTANTS } from '../../src/machine/engine.ts';
import type { EventCounts } from '../../src/memory/account.ts';
import type { Policy } from '../../src/memory/decision.ts';
import { createGuest } from '../../src/memory/guest.ts';
import {
  HART_CONTROL_BYTES,
  HART_REQUEST_CONTROL,
  LOCK_OWNER_MANAGER,
  PAGE_SIZE,
  STATE_HARD,
} from '../../src/memory/layout.ts';
import { GUEST_BALLOON_MANUAL } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { MemoryManager } from '../../src/memory/manager.ts';
import { createSwap } from '../../src/memory/swap.ts';
import { decided } from '../memory/decided.ts';
import { SharedStore } from '../memory/shared-store.ts';
import type { HammerHartOptions, HammerResult } from './hammer-hart.ts';
import { TIERS, type Tier } from './tiers.ts';

/** Milliseconds that the harts are hammered; more finds more. */
const DURATION_MS = Number(process.env.BALLONET_HAMMER_MS ?? 4000);
/** Milliseconds by which it goes on at most until all techniques have been at work: on a machine with other work. */
const EXTENSION_MS = 40_000;
/** Milliseconds after which a hart that was told to stop has to have done so. */
const PATIENCE_MS = 15_000;
/** The two guests use about 180 pages of data, code and tables, beside those for the balloon. */
const GUEST_PAGES = 160;
const FRAMES = 150;
const SLOTS = 1024;
/** Few, so that decoded code is pushed out all the time. */
const DECODED_BLOCKS = 16;
const HART_BYTES = hartAreaBytes(DECODED_BLOCKS) - HART_CONTROL_BYTES;
const HEAP_PAGES = 2 * Math.ceil(HART_BYTES / PAGE_SIZE) + 32;
const WASM_PAGES = Math.ceil((FRAMES + HEAP_PAGES + 4) / 16);

const LEAST_TRANSLATED: Record<Tier, number> = { interpreter: 0, mixed: 0.5, translator: 0.5 };

/** Techniques that must have been at work, and how often at least. */
const AT_WORK: Partial<Record<keyof EventCounts, number>> = {
  merges: 100,
  zeroMerges: 20,
  copies: 20,
  swapOuts: 100,
  swapIns: 100,
  balloonFrames: 1,
};

/** Takes a few pages from each guest in every tick, whether they are in use or not, and more when frames are scarce. */
const hammering: Policy = ({ free, guests }) => ({
  state: STATE_HARD,
  guests: guests.map(({ slot, balloon }) =>
    decided(slot, { balloonTarget: Math.max(0, balloon.manual), page: free < 20 ? 16 : 2, force: true }),
  ),
});

for (const tier of TIERS) {
  test(`the real engine sees no lost and no foreign byte while pages are shared, paged and ballooned (${tier})`, () =>
    hammer(tier));
}

async function hammer(tier: Tier): Promise<void> {
  const wasmMemory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
  const buffer = wasmMemory.buffer as unknown as SharedArrayBuffer;
  const engine = new WebAssembly.Module(buildEngine(MEMORY_CONSTANTS));
  const host = MachineMemory.format(buffer, { heapBytes: HEAP_PAGES * PAGE_SIZE, reserveFrames: 8 });
  createSwap(host, SLOTS);
  const swap = new SharedArrayBuffer(SLOTS * PAGE_SIZE);
  const frames = host.freeFrames;
  const guests = ['machine mode', 'paging'].map((name) =>
    createGuest(host, { name, memoryBytes: GUEST_PAGES * PAGE_SIZE, hartBytes: HART_BYTES, minimumBytes: 0 }),
  );
  const errors: Error[] = [];
  const manager = new MemoryManager(MachineMemory.attach(buffer, LOCK_OWNER_MANAGER), {
    policy: hammering,
    now: () => performance.now(),
    store: new SharedStore(swap, 997),
    sharingLoad: { idle: 0.3, finding: 0.3, pressed: 0.3 },
    workingSet: { lookMs: 3 },
    pagingMs: 5,
    onError: (error) => errors.push(error),
  });
  const workers: Worker[] = [];
  const harts = guests.map(({ slot }, index) =>
    startHart(workers, { wasmMemory, engine, swap, slot, decodedBlocks: DECODED_BLOCKS, paging: index === 1, tier }),
  );
  const results = Promise.all(harts);
  let ended = false;
  void results.finally(() => {
    ended = true;
  });
  const end = performance.now() + DURATION_MS;
  let ticks = 0;
  let stoppedAt = Number.POSITIVE_INFINITY;
  /** A technique that has not been at work as often as it must. */
  const lazy = (): string | undefined => {
    const { totals } = manager.snapshot();
    return Object.entries(AT_WORK).find(([name, least]) => totals[name as keyof EventCounts] < least)?.[0];
  };
  for (let stopped = false; !ended; ) {
    if (++ticks % 20 === 0) {
      for (const guest of guests) guest.set(GUEST_BALLOON_MANUAL, Math.floor(Math.random() * 32));
    }
    manager.tick();
    await setImmediate();
    manager.wait(2);
    if (!stopped && performance.now() > end && (lazy() === undefined || performance.now() > end + EXTENSION_MS)) {
      stopped = true;
      stoppedAt = performance.now();
      manager.check();
      for (const guest of guests) {
        guest.stop();
        guest.request(HART_REQUEST_CONTROL);
      }
    }
    if (performance.now() > stoppedAt + PATIENCE_MS) {
      await Promise.all(workers.map((worker) => worker.terminate()));
      assert.fail('a hart goes on for ever');
    }
  }
  for (const { failure, rounds, translated } of await results) {
    assert.equal(failure, '');
    assert.ok(rounds > 100, `only ${rounds} rounds`);
    assert.ok(
      translated >= LEAST_TRANSLATED[tier],
      `only ${translated.toFixed(2)} of the instructions were translated`,
    );
  }
  for (const error of errors) assert.equal(error.name, 'SwapWriteError', String(error.stack));
  manager.check();
  assert.equal(lazy(), undefined, `a technique was not at work: ${JSON.stringify(manager.snapshot().totals)}`);
  for (const guest of guests) guest.end();
  manager.tick();
  assert.equal(host.freeFrames, frames);
}

async function startHart(workers: Worker[], workerData: HammerHartOptions): Promise<HammerResult> {
  const worker = new Worker(new URL('./hammer-hart.ts', import.meta.url), { workerData });
  workers.push(worker);
  const exit = once(worker, 'exit');
  const [message] = await once(worker, 'message');
  await exit;
  return message as HammerResult;
}
