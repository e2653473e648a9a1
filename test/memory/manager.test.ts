import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Policy } from '../../src/memory/decision.ts';
import { allocateFrame } from '../../src/memory/frames.ts';
import { Guest } from '../../src/memory/guest.ts';
import { LOCK_OWNER_MANAGER, PAGE_SIZE } from '../../src/memory/layout.ts';
import {
  BALLOON_DRIVER,
  DOMAIN_NONE,
  DOMAIN_ZERO_ONLY,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_FLAGS,
  GUEST_BALLOON_MANUAL,
  GUEST_BALLOON_TARGET,
} from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { MemoryManager } from '../../src/memory/manager.ts';
import type { ManagerOptions } from '../../src/memory/manager-options.ts';
import { abandonMutex } from '../../src/memory/repair.ts';
import { sentence } from '../../src/policy/explain.ts';
import { createPolicy } from '../../src/policy/policy.ts';
import { decided } from './decided.ts';
import { TestGuest, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

/** A policy that does nothing but what `page` says, by guest slot. */
function paging(page: Record<number, number> = {}): Policy {
  return ({ guests }) => ({
    state: 0,
    guests: guests.map(({ slot, configured }) =>
      decided(slot, { target: configured, page: page[slot] ?? 0, force: true }),
    ),
  });
}

/** A host whose clock is moved by hand. */
function host(frames: number, options: Partial<ManagerOptions> = {}, slots = 0, store = new TestStore()) {
  const memory = smallMemory(frames, 64, slots);
  const errors: Error[] = [];
  const clock = { now: 0 };
  const manager = new MemoryManager(MachineMemory.attach(memory.buffer, LOCK_OWNER_MANAGER), {
    policy: paging(),
    now: () => clock.now,
    random: Math.random,
    store: slots > 0 ? store : undefined,
    onError: (error) => errors.push(error),
    ...options,
  });
  const guest = (name: string, pages: number, domain = 0) => new TestGuest(memory, name, pages, 1, store, domain);
  /** Lets time pass, a tick at a time. */
  const run = (ticks: number, ms = 100) => {
    for (let i = 0; i < ticks; i++) {
      clock.now += ms;
      manager.tick();
    }
  };
  return { memory, manager, errors, clock, store, guest, run };
}

function fill(guest: TestGuest, gfn: number, byte: number): void {
  guest.dmaWrite(0, gfn * PAGE_SIZE, pageOf(byte));
}

test('identical pages of two guests and of one become one frame each, and zeros none', () => {
  const { memory, manager, guest, run } = host(100);
  const a = guest('a', 16);
  const b = guest('b', 16);
  for (let gfn = 0; gfn < 12; gfn++) {
    fill(a, gfn, gfn < 8 ? gfn + 1 : 1);
    fill(b, gfn, gfn < 8 ? gfn + 1 : 0);
  }
  assert.equal(memory.freeFrames, 76);
  run(60);
  // Eight contents, for all pages.
  assert.equal(memory.freeFrames, 92);
  const account = manager.snapshot();
  assert.deepEqual([account.saved, account.mapped, account.used], [12, 20, 8]);
  assert.equal(account.totals.zeroMerges, 4);
  assert.deepEqual(
    account.guests.map(({ name, merged, charged }) => [name, merged, Math.round(charged * 10) / 10]),
    [
      ['a', 12, 4.8],
      ['b', 8, 3.2],
    ],
  );
  manager.check();
  b.write(0, 3, 100, 0xff);
  a.write(0, 8, 5, 0xee);
  a.verify();
  b.verify();
  manager.check();
});

test('guests of different domains share nothing but the zero page', () => {
  const { memory, guest, run } = host(100);
  const guests = [guest('a', 8, 1), guest('b', 8, 2), guest('c', 8, DOMAIN_ZERO_ONLY), guest('d', 8, DOMAIN_NONE)];
  for (const each of guests) {
    for (let gfn = 0; gfn < 6; gfn++) {
      fill(each, gfn, gfn < 4 ? 7 : 0);
    }
  }
  run(60);
  // a and b keep one frame each, c does not even share with itself, d keeps its pages of zeros, too.
  assert.equal(memory.freeFrames, 100 - 1 - 1 - 4 - 6);
  for (const each of guests) {
    each.verify();
  }
});

test('paging takes what was not used first, and brings it back', () => {
  const wanted: Record<number, number> = {};
  const { manager, guest, run, store } = host(64, { policy: paging(wanted), sharing: false }, 64);
  const a = guest('a', 32);
  for (let gfn = 0; gfn < 32; gfn++) {
    fill(a, gfn, gfn + 1);
  }
  // The first pass of the clock finds all pages used; later, those that were used again are spared.
  wanted[a.slot] = 8;
  run(1);
  for (let round = 0; round < 2; round++) {
    for (let gfn = 0; gfn < 8; gfn++) {
      a.read(0, gfn);
    }
    run(1);
  }
  const before = store.reads;
  for (let gfn = 0; gfn < 8; gfn++) {
    a.read(0, gfn);
  }
  const { guests } = manager.snapshot();
  assert.ok(guests[0]!.swapped >= 16, `${guests[0]!.swapped} pages were swapped`);
  assert.ok(store.reads - before <= 2, `${store.reads - before} of the 8 used pages were swapped`);
  a.verify();
  manager.check();
});

test('a shared page is written once and read once', () => {
  const wanted: Record<number, number> = {};
  const { manager, guest, run, store } = host(64, { policy: paging(wanted) }, 64);
  const guests = [guest('a', 8), guest('b', 8), guest('c', 8)];
  for (const each of guests) {
    for (let gfn = 0; gfn < 8; gfn++) {
      fill(each, gfn, gfn + 1);
    }
  }
  run(60);
  assert.equal(manager.snapshot().used, 8);
  for (const { slot } of guests) {
    wanted[slot] = 100;
  }
  run(3);
  assert.deepEqual([manager.snapshot().used, store.writes, store.reads], [0, 8, 0]);
  for (const { slot } of guests) {
    wanted[slot] = 0;
  }
  for (const each of guests) {
    each.verify();
  }
  assert.deepEqual([manager.snapshot().used, store.reads], [8, 8]);
  manager.check();
});

test('a failed write loses no page, is reported by name, and paging goes on later', () => {
  const wanted: Record<number, number> = {};
  const { manager, guest, run, store, errors } = host(64, { policy: paging(wanted), sharing: false }, 64);
  const a = guest('a', 8);
  for (let gfn = 0; gfn < 8; gfn++) {
    fill(a, gfn, gfn + 1);
  }
  wanted[a.slot] = 8;
  store.failWrites.push(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
  run(1);
  assert.equal(errors.length, 1);
  assert.match(
    errors[0]!.message,
    /guest a: page \d could not be written to swap slot \d+ and stays in memory: ENOSPC/,
  );
  assert.equal(manager.snapshot().swap.bad, 0);
  a.verify();
  manager.check();
  run(5);
  assert.equal(store.writes, 0);
  // Of the whole cluster, then of its first page alone.
  store.failWrites.push(new Error('EIO: i/o error'), new Error('EIO: i/o error'));
  run(6);
  assert.equal(manager.snapshot().swap.bad, 1);
  run(12);
  assert.equal(manager.snapshot().guests[0]!.swapped, 8);
  a.verify();
  manager.check();
});

test('full swap is an error, not a loss', () => {
  const wanted: Record<number, number> = {};
  const { manager, guest, run, errors } = host(64, { policy: paging(wanted), sharing: false }, 3);
  const a = guest('a', 8);
  for (let gfn = 0; gfn < 8; gfn++) {
    fill(a, gfn, gfn + 1);
  }
  wanted[a.slot] = 8;
  run(1);
  assert.match(errors[0]!.message, /swap is full: all 3 slots are in use; give the host more swap/);
  assert.equal(manager.snapshot().guests[0]!.swapped, 3);
  a.verify();
  manager.check();
});

test('what a guest had is free when it is gone, and its events stay in the totals', () => {
  const wanted: Record<number, number> = {};
  const { memory, manager, guest, run } = host(64, { policy: paging(wanted) }, 64);
  const heapFree = manager.snapshot().heapFree;
  const a = guest('a', 8);
  const b = guest('b', 8);
  for (let gfn = 0; gfn < 8; gfn++) {
    fill(a, gfn, gfn + 1);
    fill(b, gfn, gfn + 1);
  }
  run(60);
  wanted[a.slot] = 3;
  run(2);
  const { merges } = manager.snapshot().totals;
  assert.equal(merges, 8);
  a.end();
  run(1);
  manager.check();
  b.verify();
  assert.equal(manager.snapshot().guests.length, 1);
  b.end();
  run(1);
  manager.check();
  const after = manager.snapshot();
  assert.deepEqual([after.free, after.heapFree, after.swap.free, after.totals.merges], [64, heapFree, 64, merges]);
  assert.equal(guest('again', 8).slot, a.slot);
  assert.equal(memory.freeFrames, 64);
});

test('the policy moves balloons, unless somebody has set one by hand', () => {
  const { memory, guest, run, manager } = host(3000, { policy: createPolicy({ guard: 0 }), sharing: false });
  const a = guest('a', 2560);
  const handle = Guest.attach(memory, a.slot);
  handle.set(GUEST_BALLOON_FLAGS, BALLOON_DRIVER);
  run(3);
  assert.equal(handle.get(GUEST_BALLOON_TARGET), 0);
  const b = guest('b', 500);
  for (let gfn = 0; gfn < 2500; gfn++) {
    a.write(0, gfn, 0, 1 + (gfn % 255));
  }
  for (let gfn = 0; gfn < 450; gfn++) {
    b.write(0, gfn, 0, 1 + (gfn % 255));
  }
  run(1);
  assert.equal(manager.snapshot().state, 'hard');
  run(3);
  const target = handle.get(GUEST_BALLOON_TARGET);
  assert.ok(target > 50 && target <= 0.65 * 2560, `the target is ${target}`);
  const explanation = manager.explain(handle.slot)!;
  assert.equal(explanation.decision.why.balloon, 'takes');
  assert.match(sentence(explanation), /^guest a has .*; its balloon takes what it can spare \(0 MiB of [\d.]+ MiB\)/);
  assert.equal(manager.explain(77), undefined);
  handle.set(GUEST_BALLOON_MANUAL, 77);
  run(1);
  assert.equal(handle.get(GUEST_BALLOON_TARGET), 77);
  handle.set(GUEST_BALLOON_ACTUAL, 77);
  a.verify();
  b.verify();
});

test('the working set rises at once and falls slowly', () => {
  const workingSet = { samples: 128, lookMs: 100, windowMs: 200, fallMs: 1000 };
  const { manager, guest, run } = host(400, { workingSet, sharing: false });
  const a = guest('a', 256);
  for (let gfn = 0; gfn < 256; gfn++) {
    fill(a, gfn, gfn);
  }
  const use = (pages: number, looks: number) => {
    for (let look = 0; look < looks; look++) {
      for (let gfn = 0; gfn < pages; gfn++) {
        a.read(0, gfn);
      }
      run(1, 100);
    }
  };
  const estimate = () => manager.snapshot().guests[0]!.workingSet;
  run(1);
  use(64, 60);
  assert.ok(Math.abs(estimate() - 64) < 24, `64 pages in use, estimated ${estimate()}`);
  use(256, 1);
  assert.ok(estimate() > 240, `256 pages in use, estimated ${estimate()}`);
  use(16, 5);
  const falling = estimate();
  assert.ok(falling > 120 && falling < 240, `it falls from 256, estimated ${falling}`);
  use(16, 60);
  assert.ok(estimate() < 48, `16 pages in use for long, estimated ${estimate()}`);
});

test('the miss-ratio curve of a loop has its edge where the loop fits', () => {
  let observed: readonly number[] = [];
  const policy: Policy = (observation) => {
    observed = observation.guests[0]?.misses ?? [];
    return paging()(observation);
  };
  const { guest, run } = host(400, { policy, workingSet: { samples: 256, lookMs: 100 }, sharing: false });
  const a = guest('a', 256);
  run(1);
  for (let look = 0; look < 40; look++) {
    for (let gfn = 0; gfn < 128; gfn++) {
      if (gfn % 4 === look % 4) a.write(0, gfn, 0, 1);
    }
    run(1, 100);
  }
  // Each of 128 pages comes back once all others have been used: with half of the 256 pages and more nothing is missed.
  assert.equal(observed.length, 65);
  assert.equal(observed[33], 0);
  assert.ok(observed[30]! > 250 && observed[0]! > 250 && observed[0]! < 400, `${observed[0]} misses a second`);
});

test('a guest that uses nothing is looked at less often, until it faults', () => {
  const looks: number[] = [];
  const workingSet = { samples: 256, lookMs: 100, onLook: ({ now }: { now: number }) => looks.push(now) };
  const { guest, run } = host(400, { workingSet, sharing: false });
  const a = guest('a', 256);
  fill(a, 0, 1);
  run(30, 100);
  assert.ok(looks.length >= 7 && looks.length <= 10, `${looks.length} looks in 3 s`);
  for (let gfn = 1; gfn < 200; gfn++) {
    fill(a, gfn, gfn);
  }
  const before = looks.length;
  run(1, 100);
  assert.equal(looks.length, before + 1);
});

test('sampling does not make a page in use look cold to the paging', () => {
  const wanted: Record<number, number> = {};
  const policy: Policy = (observation) => {
    const decision = paging(wanted)(observation);
    for (const each of decision.guests) each.force = false;
    return decision;
  };
  const workingSet = { samples: 256, lookMs: 1 };
  const { manager, guest, run, store } = host(300, { policy, sharing: false, workingSet }, 300);
  const a = guest('a', 256);
  for (let gfn = 0; gfn < 256; gfn++) {
    fill(a, gfn, gfn + 1);
  }
  for (let round = 0; round < 30; round++) {
    for (let gfn = 0; gfn < 256; gfn += 2) {
      a.read(0, gfn);
    }
    // The sampler looks, and has all bits cleared, before the clock comes by.
    run(1, 1000);
    wanted[a.slot] = round > 8 ? 4 : 0;
  }
  assert.ok(manager.snapshot().guests[0]!.swapped >= 60, `${manager.snapshot().guests[0]!.swapped} are swapped`);
  for (let gfn = 0; gfn < 256; gfn += 2) {
    a.read(0, gfn);
  }
  assert.ok(store.reads <= 4, `${store.reads} pages in use were taken`);
});

test('memory can be kept from guests and given back, and another policy be set', () => {
  const policy: Policy = (observation) => ({
    state: 0,
    guests: observation.guests.map(({ slot, charged }) =>
      decided(slot, { target: 0, page: observation.free < 40 ? charged : 0, force: true }),
    ),
  });
  const { memory, manager, guest, run } = host(100, { sharing: false }, 100);
  const a = guest('a', 80);
  for (let gfn = 0; gfn < 80; gfn++) fill(a, gfn, gfn + 1);
  manager.withhold(60);
  run(3);
  // What is free goes at once, but for a little; nobody takes anything from the guest yet.
  assert.deepEqual([manager.snapshot().frames, manager.snapshot().withheld], [82, 18]);
  manager.check();
  manager.policy = policy;
  run(30);
  const account = manager.snapshot();
  assert.deepEqual([account.frames, account.withheld], [40, 60]);
  assert.equal(account.used, account.mapped);
  manager.check();
  manager.withhold(0);
  run(1);
  assert.deepEqual([manager.snapshot().withheld, memory.freeFrames > 60 - 1], [0, true]);
  manager.check();
  a.verify();
});

test('what a thread that was killed with the mutex has left is counted again', () => {
  const { memory, manager, guest, run } = host(64, {}, 16);
  const a = guest('a', 8);
  const b = guest('b', 8);
  for (let gfn = 0; gfn < 8; gfn++) {
    fill(a, gfn, gfn + 1);
    fill(b, gfn, gfn + 1);
  }
  run(60);
  const killed = MachineMemory.attach(memory.buffer, b.slot + 1);
  assert.equal(abandonMutex(memory, killed.owner), false);
  killed.lock();
  allocateFrame(killed);
  assert.equal(abandonMutex(memory, killed.owner), true);
  b.end();
  assert.throws(() => manager.check());
  run(1);
  manager.check();
  a.verify();
  assert.equal(memory.freeFrames, 64 - 8);
});
