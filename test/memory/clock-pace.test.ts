import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockPace } from '../../src/memory/clock-pace.ts';
import { Guest } from '../../src/memory/guest.ts';
import { GUEST_WORKING_SET } from '../../src/memory/layout-guest.ts';
import { TestGuest, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

const PAGES = 1000;

/** A guest that has all of its memory, and uses so many pages of it. */
function guestUsing(pages: number): Guest {
  const memory = smallMemory(1100, 64);
  const guest = new TestGuest(memory, 'a', PAGES, 1, new TestStore());
  for (let gfn = 0; gfn < PAGES; gfn++) guest.dmaWrite(0, gfn * 4096, pageOf(gfn));
  const handle = Guest.attach(memory, guest.slot);
  handle.set(GUEST_WORKING_SET, pages);
  return handle;
}

test('the clock goes round in a second where nothing is in use, and in half a minute where all is', () => {
  assert.equal(new ClockPace().steps(guestUsing(0), 1000, false), PAGES);
  assert.equal(new ClockPace().steps(guestUsing(PAGES), 30_000, false), PAGES);
});

test('a clock that has not found enough in time becomes faster, until it has', () => {
  const guest = guestUsing(PAGES);
  const clock = new ClockPace();
  const first = clock.steps(guest, 30_000, true);
  assert.equal(first, 4 * PAGES);
  for (let i = 0; i < 300; i++) clock.pass(20, true);
  // Six seconds later it goes round in less than half a second: what was not used in that time may be in use.
  const late = clock.steps(guest, 30_000, true);
  assert.ok(late > 16 * first && late <= 128 * PAGES, `${late}`);
  assert.equal(clock.steps(guest, 30_000, false), PAGES, 'but not for what can wait');
  for (let i = 0; i < 500; i++) clock.pass(20, false);
  assert.equal(clock.steps(guest, 30_000, true), first);
});
