import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Guest } from '../../src/memory/guest.ts';
import { COUNT_LOST_US, COUNT_POOL_INS, COUNT_READ_AHEAD, COUNT_SWAP_INS } from '../../src/memory/layout-guest.ts';
import { ReturnWatch } from '../../src/memory/return-watch.ts';
import { WorkingSetSampler } from '../../src/memory/working-set.ts';
import { TestGuest, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

const PAGES = 512;

function sampled() {
  const memory = smallMemory(600, 64);
  const guest = new TestGuest(memory, 'a', PAGES, 1, new TestStore());
  const handle = Guest.attach(memory, guest.slot);
  const sampler = new WorkingSetSampler();
  sampler.observe(handle, 0);
  let now = 0;
  /** A second, in which the guest uses its first pages and loses some milliseconds. Gives the working set. */
  const second = (used: number, lostMs = 0): number => {
    for (let gfn = 0; gfn < used; gfn++) guest.dmaWrite(0, gfn * 4096, pageOf(gfn));
    handle.add(COUNT_LOST_US, lostMs * 1000);
    now += 1000;
    return sampler.observe(handle, now).workingSet;
  };
  return { handle, second };
}

test('a guest that waits for memory or for a processor keeps its working set', () => {
  const { second } = sampled();
  for (let i = 0; i < 5; i++) second(400);
  assert.equal(second(400), 400);
  for (let i = 0; i < 60; i++) second(0, 1000);
  assert.equal(second(0, 1000), 400);
  // With a tenth of the time it uses its pages ten times more slowly, and needs them all the same.
  for (let i = 0; i < 40; i++) second(i % 40 === 0 ? 400 : 0, 900);
  assert.equal(second(0, 900), 400);
});

test('what a guest has ceased to use shows within ten seconds, though it does nothing', () => {
  const { second } = sampled();
  for (let i = 0; i < 6; i++) assert.equal(second(400), 400);
  let seconds = 1;
  while (second(0) > 50) seconds++;
  assert.ok(seconds > 5 && seconds <= 10, `${seconds} s`);
});

test('pages that come back are counted as they are missed, and soon forgotten', () => {
  const { handle } = sampled();
  const watch = new ReturnWatch(handle, 0);
  let rate = 0;
  for (let i = 1; i <= 50; i++) {
    handle.add(COUNT_SWAP_INS, 20);
    handle.add(COUNT_POOL_INS, 10);
    handle.add(COUNT_READ_AHEAD, 500);
    rate = watch.observe(i * 100);
  }
  assert.ok(rate > 290 && rate <= 300, `${rate} pages/s`);
  assert.ok(watch.observe(10_000) < 3);
});
