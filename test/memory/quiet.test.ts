import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { BalloonReason, Policy } from '../../src/memory/decision.ts';
import { Guest } from '../../src/memory/guest.ts';
import {
  HART_REQUEST_BYTE,
  HART_REQUEST_CONTROL,
  HEADER_WATERMARK,
  LOCK_OWNER_MANAGER,
  STATE_HIGH,
  STATE_SOFT,
} from '../../src/memory/layout.ts';
import { GUEST_BALLOON_ACTUAL } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { MemoryManager } from '../../src/memory/manager.ts';
import { decided, WHY } from './decided.ts';
import { TestGuest, TestStore } from './model.ts';
import { smallMemory } from './small.ts';
import type { TakerOptions } from './taker.ts';

/** Longest quiet sleep in these tests, and one that nobody has slept to its end, milliseconds. */
const QUIET_MS = 4000;
const SOON_MS = 2000;
const FRAMES = 1000;

/** A manager of one guest; the policy says what the test wants. */
function manage() {
  const memory = smallMemory(FRAMES);
  const said: { state: number; balloonTarget: number; balloon: BalloonReason } = {
    state: STATE_HIGH,
    balloonTarget: 0,
    balloon: 'stays',
  };
  const policy: Policy = ({ guests }) => ({
    state: said.state,
    guests: guests.map(({ slot, configured }) =>
      decided(slot, { target: configured, balloonTarget: said.balloonTarget, why: { ...WHY, balloon: said.balloon } }),
    ),
  });
  const manager = new MemoryManager(MachineMemory.attach(memory.buffer, LOCK_OWNER_MANAGER), {
    policy,
    now: () => performance.now(),
    sharing: false,
  });
  const guest = Guest.attach(memory, new TestGuest(memory, 'a', 64, 1, new TestStore()).slot);
  manager.tick();
  /** Milliseconds that the manager sleeps behind a tick. */
  const sleep = (quietMs: number): number => {
    manager.tick();
    const start = performance.now();
    manager.wait(1, quietMs);
    return performance.now() - start;
  };
  return { memory, manager, guest, said, sleep };
}

/** A worker that takes frames; it has started when this resolves. */
async function taker(options: TakerOptions): Promise<Worker> {
  const worker = new Worker(new URL('./taker.ts', import.meta.url), { workerData: options });
  await once(worker, 'online');
  return worker;
}

test('with nothing to do the manager sleeps long, and is woken when memory is taken', async () => {
  const { memory, sleep } = manage();
  assert.ok(sleep(50) > 40);
  const worker = await taker({ buffer: memory.buffer, frames: FRAMES / 32, delayMs: 100 });
  const slept = sleep(QUIET_MS);
  assert.ok(slept < SOON_MS, `it slept ${slept} ms`);
  assert.equal(memory.i32[HEADER_WATERMARK], 0);
  await once(worker, 'exit');
});

test('memory that was taken between the look and the sleep is not slept over', async () => {
  const { memory, manager } = manage();
  manager.tick();
  await once(await taker({ buffer: memory.buffer, frames: FRAMES / 32, delayMs: 0 }), 'exit');
  const start = performance.now();
  manager.wait(1, QUIET_MS);
  assert.ok(performance.now() - start < SOON_MS);
});

test('a few frames wake nobody', async () => {
  const { memory, sleep } = manage();
  const free = memory.freeFrames;
  const worker = await taker({ buffer: memory.buffer, frames: 3, delayMs: 100 });
  const slept = sleep(1000);
  assert.equal(memory.freeFrames, free - 3);
  assert.ok(slept > 900, `it slept ${slept} ms`);
  await once(worker, 'exit');
});

test('while memory is short, or a balloon moves or holds memory, the manager looks often', () => {
  const { guest, said, sleep } = manage();
  said.state = STATE_SOFT;
  assert.ok(sleep(QUIET_MS) < SOON_MS);
  said.state = STATE_HIGH;
  said.balloonTarget = 10;
  assert.ok(sleep(QUIET_MS) < SOON_MS);
  guest.set(GUEST_BALLOON_ACTUAL, 10);
  said.balloon = 'gives-back';
  assert.ok(sleep(QUIET_MS) < SOON_MS, 'it is given back, as memory is free');
  said.balloon = 'stays';
  assert.ok(sleep(60) > 40, 'it is where it stays');
  said.balloonTarget = 0;
  assert.ok(sleep(QUIET_MS) < SOON_MS);
  guest.set(GUEST_BALLOON_ACTUAL, 0);
  assert.ok(sleep(60) > 40);
});

test('when memory becomes short, guests are woken', () => {
  const { guest, said, manager } = manage();
  const requested = (): number =>
    Atomics.exchange(guest.memory.i32, (guest.hartArea(0) + HART_REQUEST_BYTE) >>> 2, 0) & HART_REQUEST_CONTROL;
  requested();
  manager.tick();
  assert.equal(requested(), 0);
  said.state = STATE_SOFT;
  manager.tick();
  assert.equal(requested(), HART_REQUEST_CONTROL);
  manager.tick();
  assert.equal(requested(), 0, 'once');
});
