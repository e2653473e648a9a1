import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BalloonWatch } from '../../src/memory/balloon-watch.ts';
import { Guest } from '../../src/memory/guest.ts';
import { GUEST_BALLOON_ACTUAL, GUEST_BALLOON_TARGET } from '../../src/memory/layout-guest.ts';
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
