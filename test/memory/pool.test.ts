import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeAccount } from '../../src/memory/account.ts';
import { checkMemory } from '../../src/memory/check.ts';
import { HEADER_REPAIR, LOCK_OWNER_MANAGER, PAGE_SIZE } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { createPool } from '../../src/memory/pool.ts';
import { Reclaimer } from '../../src/memory/reclaim.ts';
import { repairMemory } from '../../src/memory/repair.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { Transit } from '../../src/memory/transit.ts';
import { TestGuest, TestStore } from './model.ts';
import { noise, smallMemory } from './small.ts';

/** A host with swap and a compressed pool. */
function host(frames: number, pool: number, slots: number, store = new TestStore()) {
  const memory = smallMemory(frames, 64, slots);
  createPool(memory, pool);
  const manager = MachineMemory.attach(memory.buffer, LOCK_OWNER_MANAGER);
  const transit = new Transit(manager, (error) => assert.fail(error));
  const sharing = new Sharing(manager, transit, Math.random, () => 0);
  const reclaimer = new Reclaimer(manager, transit, sharing, store);
  const guest = (pages: number) => new TestGuest(memory, 'g', pages, 1, store);
  const take = (from: TestGuest, pages: number) => reclaimer.take(from.harts[0]!.guest, pages, true, () => false).error;
  const share = (...guests: TestGuest[]) =>
    sharing.scan(
      guests.map(({ harts }) => harts[0]!.guest),
      10_000,
      1,
    );
  return { memory, guest, take, share, store, account: () => takeAccount(memory) };
}

/** A page of text with a number in it. */
function text(number: number): Uint8Array {
  const line = new TextEncoder().encode(`line of page ${number}, which is like the others. `);
  return new Uint8Array(PAGE_SIZE).map((_, i) => line[i % line.length]! ^ (i % 512 === 0 ? i >> 9 : 0));
}

test('pages that compress to half go to the pool, others to the file, and all come back', () => {
  const { memory, guest, take, store, account } = host(80, 16, 100);
  const g = guest(40);
  for (let i = 0; i < 40; i++) g.dmaWrite(0, i * PAGE_SIZE, i % 4 === 0 ? noise(i) : text(i));
  assert.equal(take(g, 40), undefined);
  checkMemory(memory);
  const { pool, swap, guests } = account();
  assert.equal(pool.pages, 30);
  assert.equal(swap.writtenPages, 10);
  assert.equal(guests[0]!.swapped, 40);
  assert.ok(pool.frames < 8, `${pool.frames} frames for 30 pages of text`);
  assert.equal(store.reads, 0);
  g.verify();
  checkMemory(memory);
  assert.equal(account().pool.frames, 0);
  assert.equal(account().guests[0]!.events.poolIns, 30);
  assert.equal(account().swap.readPages, 10);
});

test('a page of one value takes the smallest object', () => {
  const { guest, take, account } = host(20, 4, 20);
  const g = guest(8);
  for (let i = 0; i < 8; i++) g.dmaWrite(0, i * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(i + 1));
  take(g, 8);
  assert.deepEqual({ ...account().pool, limit: 0 }, { limit: 0, frames: 1, pages: 8, bytes: 512 });
  g.verify();
});

test('when the pool is full its oldest pages go to the file, several at once', () => {
  const { memory, guest, take, account } = host(200, 4, 200);
  const g = guest(120);
  for (let i = 0; i < 120; i++) {
    const page = text(i);
    page.set(noise(i).subarray(0, 1200), 64);
    g.dmaWrite(0, i * PAGE_SIZE, page);
    g.write(0, i, 0, i);
    if (i % 10 === 9) {
      assert.equal(take(g, 10), undefined);
      checkMemory(memory);
    }
  }
  const { pool, swap } = account();
  assert.ok(pool.frames <= 4);
  assert.equal(pool.pages + swap.writtenPages, 120);
  assert.ok(swap.writes * 4 <= swap.writtenPages, `${swap.writes} writes for ${swap.writtenPages} pages`);
  g.verify();
  checkMemory(memory);
});

test('if the file fails, pages stay in the pool or in memory, and the error is named', () => {
  const store = new TestStore();
  const { memory, guest, take } = host(200, 2, 200, store);
  const g = guest(60);
  for (let i = 0; i < 60; i++) g.dmaWrite(0, i * PAGE_SIZE, i % 2 === 0 ? noise(i) : text(i));
  const errors: unknown[] = [];
  for (let i = 0; i < 12; i++) {
    store.failWrites = new Array(200).fill(
      i % 2 === 0 ? new Error('I/O error') : Object.assign(new Error('no space'), { code: 'ENOSPC' }),
    );
    errors.push(take(g, 10));
    checkMemory(memory);
  }
  assert.match(
    String(errors[0]),
    /guest g: page \d+ could not be written to swap slot \d+ and stays in memory: I\/O error/,
  );
  store.failWrites = [];
  g.verify();
  assert.equal(take(g, 30), undefined);
  checkMemory(memory);
  g.verify();
});

test('a pool in pieces is moved together', () => {
  const { memory, guest, take, account } = host(400, 8, 400);
  const g = guest(300);
  for (let i = 0; i < 300; i++) g.dmaWrite(0, i * PAGE_SIZE, text(i));
  take(g, 200);
  const full = account().pool;
  // Three of four come back, so that nearly all frames stay with holes.
  for (let gfn = 0; gfn < 300; gfn++) if (gfn % 4 !== 0) g.read(0, gfn);
  const holes = account().pool;
  assert.ok(holes.pages < full.pages / 2 && holes.frames > full.frames / 2);
  // Pages of another size need frames, which only the holes can give.
  for (let gfn = 0; gfn < 300; gfn++) {
    if (gfn % 4 === 1)
      g.dmaWrite(
        0,
        gfn * PAGE_SIZE,
        new Uint8Array(PAGE_SIZE).map((_, i) => (i % 1024 < 256 ? i * gfn : 0)),
      );
  }
  take(g, 280);
  checkMemory(memory);
  assert.ok(account().pool.frames <= 8);
  g.verify();
  checkMemory(memory);
});

for (const kind of ['file', 'pool'] as const) {
  test(`a shared page is written once and read once (${kind})`, () => {
    const { memory, guest, take, share, store, account } = host(60, 8, 60);
    const guests = [guest(8), guest(8), guest(8)];
    const page = (i: number) => (kind === 'file' ? noise(i) : text(i));
    for (const g of guests) for (let i = 0; i < 8; i++) g.dmaWrite(0, i * PAGE_SIZE, page(i));
    for (let i = 0; i < 20; i++) share(...guests);
    assert.equal(account().used, 8);
    for (const g of guests) assert.equal(take(g, 8), undefined);
    checkMemory(memory);
    assert.equal(account().used - account().pool.frames, 0);
    assert.equal(account().swap.writtenPages, kind === 'file' ? 8 : 0);
    assert.equal(
      account().guests.reduce((sum, { events }) => sum + events.poolOuts, 0),
      kind === 'file' ? 0 : 8,
    );
    // The first one writes to each of its pages at once, which must not cost the others a read.
    for (let i = 0; i < 8; i++) guests[0]!.write(0, i, 100, i);
    checkMemory(memory);
    assert.equal(account().kept, kind === 'file' ? 8 : 0);
    guests[1]!.verify();
    guests[1]!.write(0, 3, 5, 5);
    guests[2]!.verify();
    guests[0]!.verify();
    assert.equal(store.reads, kind === 'file' ? 8 : 0);
    assert.equal(account().kept, 0);
    checkMemory(memory);
  });
}

test('frames that are kept for others go when memory is short, or nobody wants them', () => {
  const { memory, guest, take, share, account } = host(40, 0, 40);
  const guests = [guest(8), guest(8)];
  for (const g of guests) for (let i = 0; i < 8; i++) g.dmaWrite(0, i * PAGE_SIZE, noise(i));
  for (let i = 0; i < 20; i++) share(...guests);
  for (const g of guests) take(g, 8);
  for (let i = 0; i < 8; i++) guests[0]!.write(0, i, 100, i);
  assert.equal(account().kept, 8);
  guests[1]!.discard(0, 0, 4);
  checkMemory(memory);
  assert.equal(account().kept, 4);
  take(guests[0]!, 1);
  assert.equal(account().kept, 0);
  checkMemory(memory);
  for (const g of guests) g.verify();
});

test('the pool is counted again after a thread has died with the mutex', () => {
  const { memory, guest, take, account } = host(60, 8, 60);
  const g = guest(30);
  for (let i = 0; i < 30; i++) g.dmaWrite(0, i * PAGE_SIZE, i % 5 === 0 ? noise(i) : text(i));
  take(g, 30);
  for (let i = 0; i < 9; i++) g.read(0, i);
  const before = account();
  memory.i32[HEADER_REPAIR] = 1;
  repairMemory(memory);
  checkMemory(memory);
  assert.deepEqual(account(), before);
  g.verify();
  checkMemory(memory);
});
