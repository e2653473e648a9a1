import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { takeAccount } from '../../src/memory/account.ts';
import { checkMemory } from '../../src/memory/check.ts';
import { SwapReadError } from '../../src/memory/errors.ts';
import { HEADER_SWAP_NAIVE, LOCK_OWNER_MANAGER, PAGE_SIZE, SWAP_NAIVE_STORES } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { Reclaimer } from '../../src/memory/reclaim.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { Transit } from '../../src/memory/transit.ts';
import { TestGuest, TestStore } from './model.ts';
import type { StorerOptions } from './slow-storer.ts';
import { noise, smallMemory } from './small.ts';

/** A guest whose pages are all in the swap file. */
function swapped(pages: number, naive = 0, harts = 1) {
  const store = new TestStore();
  const memory = smallMemory(4 * pages + 40, 64, 4 * pages);
  memory.i32[HEADER_SWAP_NAIVE] = naive;
  const manager = MachineMemory.attach(memory.buffer, LOCK_OWNER_MANAGER);
  const transit = new Transit(manager, (error) => assert.fail(error));
  const sharing = new Sharing(manager, transit, Math.random, () => 0);
  const g = new TestGuest(memory, 'g', pages, harts, store);
  for (let i = 0; i < pages; i++) g.dmaWrite(0, i * PAGE_SIZE, noise(i));
  const takeAll = () =>
    assert.equal(
      new Reclaimer(manager, transit, sharing, store).take(g.harts[0]!.guest, pages, true, () => false).error,
      undefined,
    );
  takeAll();
  return { g, memory, store, takeAll, events: () => takeAccount(memory).guests[0]!.events };
}

test('a page that is stored to whole, in any order, is not read', () => {
  const { g, memory, store, events } = swapped(4);
  g.stores(0, 0, 0, noise(10));
  for (let at = PAGE_SIZE - 512; at >= 0; at -= 512) g.stores(0, 1, at, noise(11).subarray(at, at + 512));
  checkMemory(memory);
  assert.deepEqual([store.reads, events().overwrites, events().swapIns, events().storeReads], [0, 2, 0, 0]);
  g.verify();
});

test('a load of what was not stored reads the page, and takes only that from it', () => {
  const { g, memory, store, events } = swapped(4);
  g.stores(0, 2, 100, noise(12).subarray(0, 3000));
  checkMemory(memory);
  assert.equal(store.reads, 0);
  g.read(0, 2);
  assert.deepEqual([store.readTurns, events().storeReads], [1, 0]);
  g.verify();
  checkMemory(memory);
});

test('stores to the same bytes again need nothing of the page, but it does not stay slow for ever', () => {
  const { g, store, memory, events } = swapped(4);
  for (let i = 0; i < 6; i++) g.stores(0, 1, 8, noise(13).subarray(0, 64));
  assert.deepEqual([store.reads, events().storeReads], [0, 0]);
  // What is stored in the end is all of it: no byte of the page was ever needed.
  for (let i = 0; i < 6; i++) g.stores(0, 2, 8, noise(i).subarray(0, 64));
  g.stores(0, 2, 0, noise(14));
  assert.deepEqual([store.reads, events().overwrites], [0, 1]);
  // A page of which always the same is stored is read in the end.
  for (let i = 0; i < 20; i++) g.stores(0, 3, 100, noise(i).subarray(0, 64));
  assert.deepEqual([store.reads, events().storeReads], [1, 1]);
  g.verify();
  checkMemory(memory);
});

test('a device that writes a page in parts does not have it read', () => {
  const { g, store, memory, events } = swapped(4);
  for (let at = 0; at < PAGE_SIZE; at += 512) g.dmaWrite(0, PAGE_SIZE + at, noise(9).subarray(at, at + 512));
  g.dmaWrite(0, 2 * PAGE_SIZE - 100, noise(8).subarray(0, 200));
  assert.deepEqual([store.reads, events().overwrites], [0, 1]);
  checkMemory(memory);
  g.verify();
  assert.ok(store.reads > 0);
});

test('several harts store to one page, one after the other, and any of them may want the rest', () => {
  const { g, store, memory, events } = swapped(6, 0, 2);
  g.stores(0, 1, 0, noise(20).subarray(0, 2000));
  g.stores(1, 1, 2000, noise(20).subarray(2000));
  assert.deepEqual([store.reads, events().overwrites], [0, 1]);
  g.stores(1, 2, 10, noise(21).subarray(0, 100));
  g.read(0, 2);
  assert.equal(store.readTurns, 1);
  g.stores(1, 3, 10, noise(22).subarray(0, 100));
  g.write(0, 3, 4000, 7);
  g.stores(0, 4, 10, noise(23).subarray(0, 100));
  g.dmaWrite(1, 4 * PAGE_SIZE, noise(24));
  g.stores(1, 5, 10, noise(25).subarray(0, 100));
  checkMemory(memory);
  g.discard(0, 5, 1);
  checkMemory(memory);
  g.verify();
  g.end();
});

test('a hart that wants a page waits for a store that another one is just making', async () => {
  for (const want of ['read', 'stores', 'dmaRead'] as const) {
    const { g, memory } = swapped(2, 0, 2);
    const begun = new Int32Array(new SharedArrayBuffer(4));
    const workerData: StorerOptions = {
      buffer: memory.buffer as SharedArrayBuffer,
      slot: g.slot,
      hart: 1,
      gfn: 1,
      offset: 700,
      value: 0x5a,
      delayMs: 50,
      begun,
    };
    const worker = new Worker(new URL('./slow-storer.ts', import.meta.url), { workerData });
    const exit = once(worker, 'exit');
    await once(worker, 'online');
    Atomics.wait(begun, 0, 0, 5000);
    g.contents[PAGE_SIZE + 700] = 0x5a;
    if (want === 'stores') g.stores(0, 1, 0, noise(30).subarray(0, 700));
    else g[want](0, 1);
    g.verify();
    assert.deepEqual(await exit, [0]);
    checkMemory(memory);
  }
});

test('many pages at once, a device, a discard and an end in the middle of it', () => {
  const { g, memory } = swapped(20);
  for (let gfn = 0; gfn < 20; gfn++) g.stores(0, gfn, gfn * 7, noise(gfn + 30).subarray(0, 200));
  checkMemory(memory);
  g.dmaWrite(0, 19 * PAGE_SIZE, noise(50));
  g.dmaWrite(0, 18 * PAGE_SIZE + 10, noise(51).subarray(0, 100));
  g.dmaRead(0, 17);
  g.discard(0, 15, 2);
  checkMemory(memory);
  g.verify();
  g.end();
});

test('if the page can not be read, what was stored is not lost', () => {
  const { g, memory, store } = swapped(4);
  g.stores(0, 3, 0, noise(15).subarray(0, 1000));
  store.failReads.push(new Error('EIO: i/o error'));
  assert.throws(() => g.read(0, 3), SwapReadError);
  checkMemory(memory);
  g.stores(0, 3, 1000, noise(16).subarray(0, 100));
  g.verify();
  checkMemory(memory);
});

test('the naive way it is read', () => {
  const { g, store } = swapped(2, SWAP_NAIVE_STORES);
  g.stores(0, 0, 0, noise(17));
  assert.ok(store.reads > 0);
  g.verify();
});
