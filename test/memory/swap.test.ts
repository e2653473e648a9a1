import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeAccount } from '../../src/memory/account.ts';
import { checkMemory } from '../../src/memory/check.ts';
import { SwapReadError } from '../../src/memory/errors.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import {
  HEADER_SWAP_NAIVE,
  LOCK_OWNER_MANAGER,
  PAGE_SIZE,
  SWAP_NAIVE_CLUSTERS,
  SWAP_NAIVE_READ_AHEAD,
} from '../../src/memory/layout.ts';
import { GUEST_STATE, GUEST_STOPPING } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { Reclaimer } from '../../src/memory/reclaim.ts';
import { removeGuest } from '../../src/memory/removal.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { Transit } from '../../src/memory/transit.ts';
import { TestGuest, TestStore } from './model.ts';
import { noise, smallMemory } from './small.ts';

/** A host with swap and no compressed pool. */
function host(frames: number, slots: number, naive = 0) {
  const store = new TestStore();
  const memory = smallMemory(frames, 64, slots);
  memory.i32[HEADER_SWAP_NAIVE] = naive;
  const manager = MachineMemory.attach(memory.buffer, LOCK_OWNER_MANAGER);
  const transit = new Transit(manager, (error) => assert.fail(error));
  const sharing = new Sharing(manager, transit, Math.random, () => 0);
  const reclaimer = new Reclaimer(manager, transit, sharing, store);
  const guest = (pages: number) => {
    const made = new TestGuest(memory, 'g', pages, 1, store);
    for (let i = 0; i < pages; i++) made.dmaWrite(0, i * PAGE_SIZE, noise(i));
    return made;
  };
  const take = (from: TestGuest, pages: number) => reclaimer.take(from.harts[0]!.guest, pages, true, () => false).error;
  return { memory, guest, take, store, account: () => takeAccount(memory) };
}

test('pages that lie beside each other are written and read by clusters', () => {
  const { memory, guest, take, store, account } = host(600, 600);
  const g = guest(512);
  assert.equal(take(g, 512), undefined);
  checkMemory(memory);
  assert.equal(account().swap.writtenPages, 512);
  assert.ok(account().swap.writes <= 16, `${account().swap.writes} writes`);
  for (let gfn = 0; gfn < 512; gfn++) g.read(0, gfn);
  checkMemory(memory);
  assert.equal(store.reads, 512);
  assert.ok(store.readTurns <= 512 / 16, `${store.readTurns} reads for 512 pages in order`);
  g.verify();
});

test('pages are read ahead downwards, too, and beside others', () => {
  const { guest, take, store } = host(1600, 1600);
  const g = guest(1500);
  take(g, 1500);
  // Two streams, and misses here and there.
  for (let i = 0; i < 400; i++) {
    g.read(0, 499 - i);
    g.read(0, 600 + i);
    if (i % 20 === 0) g.read(0, 1100 + ((i * 37) % 400));
  }
  assert.ok(store.readTurns <= 800 / 16 + 20, `${store.readTurns} reads for 800 pages in order and 20 others`);
  g.verify();
});

test('without clusters and read-ahead it is one operation for each page', () => {
  const { guest, take, store, account } = host(100, 100, SWAP_NAIVE_CLUSTERS | SWAP_NAIVE_READ_AHEAD);
  const g = guest(64);
  assert.equal(take(g, 64), undefined);
  g.verify();
  assert.deepEqual([account().swap.writes, store.readTurns], [64, 64]);
});

test('pages that are missed here and there are not read ahead for long', () => {
  const { guest, take, store } = host(4200, 4200);
  const g = guest(4096);
  take(g, 4096);
  for (let i = 0; i < 256; i++) g.read(0, (i * 1601) % 4096);
  assert.ok(store.reads < 256 + 64, `${store.reads} pages read for 256 that were missed`);
});

test('what is read ahead takes no frame that others may wait for, and is dropped without a write', () => {
  const { memory, guest, take, account } = host(100, 100);
  const g = guest(90);
  take(g, 90);
  const written = account().swap.writtenPages;
  g.read(0, 0);
  assert.equal(account().guests[0]!.resident, 8);
  take(g, 90);
  assert.equal(account().swap.writtenPages, written);
  const other = guest(90);
  assert.ok(memory.freeFrames <= 10);
  g.read(0, 40);
  assert.equal(account().guests[0]!.resident, 1);
  checkMemory(memory);
  other.end();
});

test('a cluster that can not be read whole is read without its neighbours', () => {
  const { memory, guest, take, store } = host(100, 100);
  const g = guest(32);
  take(g, 32);
  store.failReads.push(new Error('EIO: i/o error'));
  g.read(0, 0);
  checkMemory(memory);
  store.failReads.push(new Error('EIO: i/o error'), new Error('EIO: i/o error'));
  assert.throws(() => g.read(0, 9), SwapReadError);
  checkMemory(memory);
  g.verify();
});

test('a hart whose page can not be read stands still until it can, or is stopped', () => {
  const { memory, guest, take, store } = host(100, 100);
  const g = guest(4);
  take(g, 4);
  const { control } = g.harts[0]!;
  const errors: Error[] = [];
  const faults = new FaultHandler(control, { store, onReadError: (error) => errors.push(error) });
  control.unpark();
  store.failReads.push(...Array.from({ length: 5 }, () => new Error('EIO: i/o error')));
  faults.fault(2, false);
  assert.equal(errors.length, 2);
  assert.match(errors[0]!.message, /guest g: page 2 could not be read from swap slot 2: EIO/);
  control.park();
  g.verify();
  take(g, 4);
  store.failReads.push(...Array.from({ length: 9 }, () => new Error('EIO: i/o error')));
  control.unpark();
  g.harts[0]!.guest.set(GUEST_STATE, GUEST_STOPPING);
  assert.throws(() => faults.fault(2, false), /was stopped/);
  control.park();
  checkMemory(memory);
});

test('while pages are written the guest reads, writes, discards and overwrites them, or ends, whether the write fails or not', () => {
  const errors = [undefined, new Error('I/O error'), Object.assign(new Error('no space'), { code: 'ENOSPC' })];
  for (const error of errors) {
    for (const ends of [false, true]) {
      const { memory, guest, take, store, account } = host(100, 100);
      const frames = memory.freeFrames;
      const g = guest(32);
      let done = false;
      store.onWrite = () => {
        if (done) return;
        done = true;
        if (error !== undefined) store.failWrites.push(error);
        // What the store has seen of them so far is of before.
        g.read(0, 3);
        g.write(0, 4, 4000, 7);
        g.dmaWrite(0, 5 * PAGE_SIZE, noise(50));
        g.stores(0, 6, 10, noise(51).subarray(0, 4000));
        g.discard(0, 7, 1);
        if (ends) g.end();
      };
      take(g, 32);
      assert.ok(done);
      checkMemory(memory);
      if (!ends) {
        assert.ok(account().guests[0]!.events.rescues >= 4);
        g.verify();
        take(g, 32);
        g.verify();
        g.end();
      }
      removeGuest(g.harts[0]!.guest);
      checkMemory(memory);
      assert.deepEqual([memory.freeFrames, account().swap.free + account().swap.bad], [frames, 100]);
    }
  }
});
