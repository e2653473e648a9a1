import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { MailboxServer, type Services } from '../../src/machine/mailbox.ts';
import { takeAccount } from '../../src/memory/account.ts';
import { checkMemory } from '../../src/memory/check.ts';
import {
  HEADER_REPAIR,
  HEADER_SWAP_NAIVE,
  LOCK_OWNER_MANAGER,
  PAGE_SIZE,
  SWAP_NAIVE_DISKS,
  SWAP_NAIVE_DMA,
  SWAP_NAIVE_VICTIMS,
} from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { Reclaimer } from '../../src/memory/reclaim.ts';
import { repairMemory } from '../../src/memory/repair.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import type { SlotStore } from '../../src/memory/swap.ts';
import { Transit } from '../../src/memory/transit.ts';
import type { CountingOptions } from './counting-hart.ts';
import { DISK_BLOCKS, TestGuest, TestStore } from './model.ts';
import { SharedStore } from './shared-store.ts';
import { noise, smallMemory } from './small.ts';

const SLOTS = 100;

function host<Store extends SlotStore = TestStore>(
  naive = 0,
  diskSlots = 100,
  store: Store = new TestStore() as SlotStore as Store,
) {
  const memory = smallMemory(200, 64, SLOTS, 0, diskSlots);
  memory.i32[HEADER_SWAP_NAIVE] = naive;
  const manager = MachineMemory.attach(memory.buffer, LOCK_OWNER_MANAGER);
  const transit = new Transit(manager, (error) => assert.fail(error));
  const sharing = new Sharing(manager, transit, Math.random, () => 0);
  const reclaimer = new Reclaimer(manager, transit, sharing, store);
  const guest = (pages: number, harts = 1) => new TestGuest(memory, 'g', pages, harts, store);
  const take = (from: TestGuest, pages: number, force = true) =>
    reclaimer.take(from.harts[0]!.guest, pages, force, () => false);
  const share = (...guests: TestGuest[]) => {
    const handles = guests.map(({ harts }) => harts[0]!.guest);
    for (let i = 0; i < 20; i++) sharing.scan(handles, 10_000, 1);
  };
  return { memory, guest, take, share, store, account: () => takeAccount(memory) };
}

test('what was read from a disk is dropped and read from there again', () => {
  const { memory, guest, take, store, account } = host();
  const g = guest(16);
  g.diskRead(2, 0, 10);
  assert.equal(take(g, 10).freed, 10);
  checkMemory(memory);
  assert.deepEqual([store.writes, account().guests[0]!.events.diskDrops, account().used], [0, 10, 0]);
  g.verify();
  checkMemory(memory);
  assert.equal(store.reads, 0);
  assert.ok(g.disk.reads <= 2, `${g.disk.reads} reads of the disk for ten pages in order`);
});

test('a page or a block that was written since is not the same any more', () => {
  const { memory, guest, take, store } = host();
  const g = guest(16);
  g.diskRead(0, 0, 10);
  g.write(0, 3, 100, 1);
  g.dmaWrite(0, 4 * PAGE_SIZE + 8, Uint8Array.of(1, 2, 3));
  g.dmaWrite(0, 12 * PAGE_SIZE, noise(5));
  g.diskWrite(12, 6 * PAGE_SIZE + 512, 512);
  g.diskWrite(12, 7 * PAGE_SIZE, PAGE_SIZE);
  take(g, 16);
  checkMemory(memory);
  // Pages 3 and 4, and pages 6 and 7, whose blocks have changed; page 12 is what block 7 has.
  assert.equal(store.writes, 4);
  g.verify();
  checkMemory(memory);
});

test('a block that changes while its page is out is read before', () => {
  const { memory, guest, take, store } = host();
  const g = guest(16);
  g.diskRead(0, 0, 10);
  g.dmaWrite(0, 12 * PAGE_SIZE, noise(5));
  take(g, 10);
  g.diskWrite(12, 2 * PAGE_SIZE + 1024, 2 * PAGE_SIZE);
  checkMemory(memory);
  take(g, 16);
  assert.ok(store.writes >= 3);
  g.verify();
  checkMemory(memory);
});

test('what a page has written is on the disk, too', () => {
  const { guest, take, store } = host();
  const g = guest(16);
  for (let i = 0; i < 8; i++) g.dmaWrite(0, i * PAGE_SIZE, noise(i));
  g.diskWrite(0, 2 * PAGE_SIZE, 8 * PAGE_SIZE);
  take(g, 8);
  assert.equal(store.writes, 0);
  g.verify();
});

test('a page that others share is not dropped, and nobody reads the disk of another guest', () => {
  const { memory, guest, take, share } = host();
  const guests = [guest(12), guest(12)];
  for (const g of guests) g.diskRead(0, 0, 10);
  guests[1]!.disk.bytes.fill(0xee);
  share(...guests);
  checkMemory(memory);
  for (const g of guests) take(g, 12);
  checkMemory(memory);
  guests[0]!.verify();
  guests[0]!.end();
  guests[1]!.verify();
});

test('slots that have run out, and the naive way, only cost writes', () => {
  for (const [naive, slots, writes] of [
    [0, 4, 6],
    [SWAP_NAIVE_DISKS, 100, 10],
  ] as const) {
    const { memory, guest, take, store } = host(naive, slots);
    const g = guest(16);
    g.diskRead(0, 0, 10);
    take(g, 16);
    assert.equal(store.writes, writes);
    checkMemory(memory);
    g.verify();
  }
});

test('pages of disks go first, as they cost no write', () => {
  for (const [naive, most, least] of [
    [0, 0, 0],
    [SWAP_NAIVE_VICTIMS, 16, 4],
  ] as const) {
    const { guest, take, store } = host(naive);
    const g = guest(32);
    for (let i = 0; i < 10; i++) g.diskRead(2 * i, i, 1);
    for (let i = 0; i < 10; i++) g.dmaWrite(0, (2 * i + 1) * PAGE_SIZE, noise(i));
    // Once around, so that none of them is in use.
    take(g, 0);
    take(g, 10, false);
    assert.ok(store.writes <= most && store.writes >= least, `${store.writes} writes`);
    g.verify();
  }
});

test('a device that overwrites a page in swap does not have it read, unless it is done the naive way', () => {
  for (const [naive, reads] of [
    [0, 0],
    [SWAP_NAIVE_DMA, 8],
  ] as const) {
    const { guest, take, store, account } = host(naive);
    const g = guest(8);
    for (let i = 0; i < 8; i++) g.dmaWrite(0, i * PAGE_SIZE, noise(i));
    take(g, 8);
    g.diskRead(0, 1, 8);
    assert.equal(store.reads, reads);
    assert.equal(account().guests[0]!.events.overwrites, 8 - reads);
    g.verify();
  }
});

test('slots of disks are counted again after a thread has died with the mutex', () => {
  const { memory, guest, take, account } = host();
  const g = guest(DISK_BLOCKS);
  g.diskRead(0, 0, 10);
  take(g, 5);
  const before = account();
  memory.i32[HEADER_REPAIR] = 1;
  repairMemory(memory);
  checkMemory(memory);
  assert.deepEqual(account(), before);
  g.verify();
});

test('several harts: what the first one reads from its disks comes back for all, as long as nobody writes to it', () => {
  const { memory, guest, take, store, account } = host();
  const g = guest(16, 2);
  g.diskRead(2, 0, 10);
  g.write(1, 4, 100, 1);
  assert.equal(take(g, 10).freed, 10);
  checkMemory(memory);
  assert.deepEqual([store.writes, account().guests[0]!.events.diskDrops], [1, 9]);
  g.read(1, 2);
  g.stores(1, 6, 0, noise(3).subarray(0, 500));
  checkMemory(memory);
  g.read(1, 6);
  g.stores(1, 7, 0, noise(3).subarray(0, 500));
  g.dmaWrite(0, 12 * PAGE_SIZE, noise(5));
  // The block of the page that is being overwritten changes.
  g.diskWrite(12, 5 * PAGE_SIZE, PAGE_SIZE);
  g.verify();
  checkMemory(memory);
});

test('a hart that does not answer keeps no disk waiting: pages are written to swap then', () => {
  const { memory, guest, take, store } = host();
  const g = guest(16, 2);
  const { control } = g.harts[1]!;
  control.unpark();
  const start = performance.now();
  for (let i = 0; i < 10; i++) g.diskRead(i, i, 1);
  const ms = performance.now() - start;
  control.park();
  assert.ok(ms < 1000, `${ms} ms`);
  assert.equal(take(g, 10).freed, 10);
  assert.equal(store.writes, 10);
  checkMemory(memory);
  g.verify();
});

test('a page that another hart is writing to is not tied to what it had before', async () => {
  const swap = new SharedArrayBuffer(SLOTS * PAGE_SIZE);
  const { memory, guest, take, account } = host(0, 100, new SharedStore(swap));
  const g = guest(4, 2);
  for (let i = 0; i < 4; i++) g.dmaWrite(0, i * PAGE_SIZE, noise(i).fill(0, PAGE_SIZE - 4));
  const workerData: CountingOptions = { buffer: memory.buffer as SharedArrayBuffer, swap, slot: g.slot, gfn: 1 };
  const worker = new Worker(new URL('./counting-hart.ts', import.meta.url), { workerData });
  await once(worker, 'message');
  const ended = once(worker, 'message');
  const server = new MailboxServer(g.harts[0]!.guest, {
    bringIn: (gfn: number) => g.harts[0]!.faults.fault(gfn, false),
  } as Services);
  for (let round = 0; round < 300; round++) {
    g.diskWrite(1, (round % DISK_BLOCKS) * PAGE_SIZE, PAGE_SIZE);
    if (round % 3 !== 0) take(g, 1);
    g.run(0, () => server.serve());
    await setImmediate();
  }
  g.harts[0]!.guest.stop();
  const [{ count, failure }] = (await ended) as [{ count: number; failure: string }];
  assert.equal(failure, '');
  assert.ok(count > 1000, `only ${count} stores`);
  checkMemory(memory);
  assert.ok(account().guests[0]!.events.diskDrops > 0, 'never tied');
});
