import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BalloonWatch } from '../../src/memory/balloon-watch.ts';
import { Guest } from '../../src/memory/guest.ts';
import {
  BALLOON_STAT_MAJOR_FAULTS,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_STATISTICS,
  GUEST_BALLOON_STATISTICS_COUNT,
  GUEST_BALLOON_TARGET,
} from '../../src/memory/layout-guest.ts';
import { TestGuest, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

const PAGES = 1024;

function watched() {
  const memory = smallMemory(1100, 64);
  const guest = new TestGuest(memory, 'a', PAGES, 1, new TestStore());
  const handle = Guest.attach(memory, guest.slot);
  return { guest, handle, watch: new BalloonWatch(handle, 0) };
}

test('a driver that says it gives pages, and keeps them, does not answer', () => {
  const { guest, handle, watch } = watched();
  for (let gfn = 0; gfn < PAGES; gfn++) guest.dmaWrite(0, gfn * 4096, pageOf(gfn));
  handle.set(GUEST_BALLOON_TARGET, 512);
  watch.observe(1000);
  handle.set(GUEST_BALLOON_ACTUAL, 512);
  for (let second = 2; second < 10; second++) {
    const { actual, stuckMs } = watch.observe(second * 1000);
    assert.equal(actual, 0);
    assert.equal(stuckMs, (second - 1) * 1000);
  }
});

test('a driver that gives pages comes to its target, and one whose guest uses them again leaves it', () => {
  const { guest, handle, watch } = watched();
  for (let gfn = 0; gfn < PAGES; gfn++) guest.dmaWrite(0, gfn * 4096, pageOf(gfn));
  handle.set(GUEST_BALLOON_TARGET, 512);
  watch.observe(1000);
  guest.discard(0, 0, 512);
  handle.set(GUEST_BALLOON_ACTUAL, 512);
  assert.deepEqual([watch.observe(2000).actual, watch.observe(9000).stuckMs], [512, 0]);
  for (let gfn = 0; gfn < 300; gfn++) guest.dmaWrite(0, gfn * 4096, pageOf(gfn));
  assert.equal(watch.observe(10_000).actual, 212);
  assert.ok(watch.observe(20_000).stuckMs >= 10_000);
});

test('a balloon whose guest begins to read its disks again and again is too large, and may soon try again a little', () => {
  const { guest, handle, watch } = watched();
  guest.discard(0, 0, PAGES);
  let faults = 0;
  /** A second in which the guest has a balloon and so many major faults. */
  const second = (now: number, actual: number, majorFaults: number): number => {
    faults += majorFaults;
    handle.set(GUEST_BALLOON_TARGET, actual);
    handle.set(GUEST_BALLOON_ACTUAL, actual);
    handle.set(GUEST_BALLOON_STATISTICS + BALLOON_STAT_MAJOR_FAULTS, faults);
    handle.add(GUEST_BALLOON_STATISTICS_COUNT, 1);
    return watch.observe(now * 1000).ease;
  };
  second(1, 0, 0);
  assert.equal(second(2, 512, 5), PAGES, 'a few faults are nothing');
  assert.equal(second(3, 512, 1000), 256);
  // The guest has not followed yet; then it has, and is calm.
  assert.equal(second(4, 512, 1000), 256);
  const calm = second(5, 256, 0);
  assert.ok(calm > 256 && calm < 270, `${calm}`);
  let ease = calm;
  for (let now = 6; now < 66; now++) ease = second(now, 256, 0);
  assert.ok(ease > 350 && ease < 512, `${ease} a minute later`);
});
