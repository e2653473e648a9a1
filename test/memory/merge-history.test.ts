import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Guest } from '../../src/memory/guest.ts';
import { HEADER_ARRIVALS_WANTED, HEADER_MANAGER_WAKE, PAGE_SIZE, STATE_HIGH } from '../../src/memory/layout.ts';
import { ARRIVALS, COUNT_MERGES } from '../../src/memory/layout-guest.ts';
import { MemoryManager } from '../../src/memory/manager.ts';
import { MergeHistory } from '../../src/memory/merge-history.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { Transit } from '../../src/memory/transit.ts';
import { decided } from './decided.ts';
import { TestGuest, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

/** Two guests, and page sharing with a clock that is set by hand. */
function host(frames: number, pages: number) {
  const memory = smallMemory(frames, 64);
  const guests = ['a', 'b'].map((name) => new TestGuest(memory, name, pages, 1, new TestStore()));
  const handles = guests.map(({ slot }) => Guest.attach(memory, slot));
  const transit = new Transit(memory, (error) => assert.fail(error), 100);
  const clock = { ms: 0 };
  const sharing = new Sharing(memory, transit, Math.random, () => clock.ms);
  const merges = (): number => handles.reduce((sum, guest) => sum + guest.get(COUNT_MERGES), 0);
  return { memory, guests: guests as [TestGuest, TestGuest], handles, clock, sharing, merges };
}

test('a page that is written again soon after each merge is looked at more and more seldom', () => {
  const { guests, handles, clock, sharing, merges } = host(16, 1);
  for (const guest of guests) guest.dmaWrite(0, 0, pageOf(7));
  const first = guests[0];
  // Ten minutes: each second it is scanned, and what was merged is broken and made the same again.
  let seen = 0;
  for (let second = 0; second < 600; second++) {
    clock.ms = second * 1000;
    sharing.scan(handles, 20, Number.POSITIVE_INFINITY);
    if (merges() === seen) continue;
    seen = merges();
    first.dmaWrite(0, 5, Uint8Array.of(1));
    first.dmaWrite(0, 0, pageOf(7));
  }
  assert.ok(seen >= 4 && seen <= 8, `merged ${seen} times`);
  for (const guest of guests) guest.verify();
});

test('a page that stays merged for a while is as good as new', () => {
  const { handles, clock } = host(16, 4);
  const guest = handles[0]!;
  const history = new MergeHistory(() => clock.ms);
  for (let i = 0; i < 5; i++) {
    history.merged(guest, 2);
    clock.ms += 60_000;
    assert.equal(history.rests(guest, 2), false);
  }
  history.merged(guest, 2);
  clock.ms += 1000;
  assert.equal(history.rests(guest, 2), true);
  clock.ms += 15_000;
  assert.equal(history.rests(guest, 2), false);
  // Others are none of its concern.
  assert.equal(history.rests(guest, 1), false);
  assert.equal(history.rests(handles[1]!, 2), false);
});

test('pages that devices write are looked at first, each once', () => {
  const { memory, guests, handles, sharing } = host(4 * ARRIVALS, ARRIVALS);
  const [a, b] = guests;
  const free = memory.freeFrames;
  // One page of many: a scan of two pages at random would hardly find it.
  for (const guest of guests) {
    sharing.scan(handles, ARRIVALS, Number.POSITIVE_INFINITY);
    guest.dmaWrite(0, 77 * PAGE_SIZE, pageOf(9));
  }
  assert.equal(memory.freeFrames, free - 2);
  sharing.scan(handles, 2, Number.POSITIVE_INFINITY, false);
  assert.equal(memory.freeFrames, free - 1);
  assert.equal(sharing.arrived(handles), 0);
  // Parts of pages are no arrivals; of more than the ring holds the last ones are known.
  a.dmaWrite(0, 5 * PAGE_SIZE + 16, Uint8Array.of(1, 2, 3));
  assert.equal(sharing.arrived(handles), 0);
  for (let i = 0; i < ARRIVALS + 10; i++) b.dmaWrite(0, (i % 7) * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(i));
  assert.equal(sharing.arrived(handles), ARRIVALS);
  for (const guest of guests) guest.verify();
});

test('for pages that devices write the memory manager is woken if page sharing wants them', () => {
  const { memory, guests } = host(4 * ARRIVALS, ARRIVALS);
  const wakes = (): number => memory.i32[HEADER_MANAGER_WAKE]!;
  const write = (): void => {
    for (let page = 0; page < ARRIVALS; page++) guests[0].dmaWrite(0, page * PAGE_SIZE, pageOf(page));
  };
  const before = wakes();
  write();
  assert.equal(wakes(), before);
  memory.i32[HEADER_ARRIVALS_WANTED] = 1;
  write();
  assert.ok(wakes() > before);
});

test('page sharing wants what devices write unless there is one guest, with room', () => {
  const wantedBy = (pages: number, guests: number): boolean => {
    const memory = smallMemory(64, 64);
    const manager = new MemoryManager(memory, {
      policy: ({ guests }) => ({
        state: STATE_HIGH,
        guests: guests.map(({ slot, configured }) => decided(slot, { target: configured })),
      }),
      now: () => performance.now(),
    });
    for (let i = 0; i < guests; i++) new TestGuest(memory, `guest ${i}`, pages, 1, new TestStore());
    manager.tick();
    return memory.i32[HEADER_ARRIVALS_WANTED] !== 0;
  };
  assert.equal(wantedBy(32, 1), false);
  assert.equal(wantedBy(32, 2), true);
  assert.equal(wantedBy(65, 1), true);
});
