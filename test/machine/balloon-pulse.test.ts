import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BalloonPulse } from '../../src/machine/balloon-pulse.ts';

const PAGES = 65_536;
const FREED = 20_000;
/** A guest after its start: some of its memory has been used, the rest is free and takes no memory. */
const START = { held: 10_000, free: 50_000, balloon: 0 };

function pulse(): { pulse: BalloonPulse; sleep: (ms: number) => void } {
  let now = 0;
  const made = new BalloonPulse(PAGES, () => now);
  made.observe(START);
  return {
    pulse: made,
    sleep: (ms) => {
      now += ms;
    },
  };
}

test('memory that was never used is not asked for, whatever the guest does with it', () => {
  const { pulse: p } = pulse();
  assert.ok(!p.begin(0));
  p.observe({ held: 10_000 + FREED, free: 50_000 - FREED, balloon: 0 });
  assert.ok(!p.begin(0));
  assert.equal(p.pages, 0);
  assert.equal(p.msUntil, Infinity);
});

test('what was freed goes through the balloon once, until it is there', () => {
  const { pulse: p } = pulse();
  p.observe({ held: 10_000 + FREED, free: 50_000, balloon: 0 });
  assert.ok(p.begin(0));
  assert.ok(!p.begin(0));
  assert.equal(p.pages, FREED);
  assert.ok(p.msUntil <= 10);
  assert.ok(!p.over(FREED / 2));
  assert.ok(p.over(FREED));
  assert.equal(p.pages, 0);
  p.observe({ held: 10_000, free: 50_000 - FREED, balloon: FREED });
  assert.ok(!p.begin(0));
  p.observe(START);
  assert.ok(!p.begin(0));
});

test('beside a balloon that is there already', () => {
  const { pulse: p } = pulse();
  p.observe({ held: 10_000 + FREED, free: 40_000, balloon: 10_000 });
  assert.ok(p.begin(10_000));
  assert.ok(!p.over(10_000));
  assert.ok(p.over(10_000 + FREED));
});

test('a driver that does not answer is not waited for, and what a pulse did not get is not tried again', () => {
  const { pulse: p, sleep } = pulse();
  const stays = { held: 10_000 + FREED, free: 50_000, balloon: 0 };
  p.observe(stays);
  assert.ok(p.begin(0));
  sleep(500);
  assert.ok(!p.over(100));
  sleep(600);
  assert.ok(p.over(100));
  p.observe(stays);
  p.observe(stays);
  assert.ok(!p.begin(0));
  p.observe({ ...stays, held: stays.held + FREED });
  assert.ok(p.begin(0));
});

test('a guest keeps a part of what is free, and little is left to free page reporting', () => {
  const { pulse: p } = pulse();
  p.observe({ held: 50_000, free: 15_000, balloon: 0 });
  assert.ok(p.begin(0));
  assert.ok(p.pages < 15_000 - PAGES / 64 && p.pages > 0, `${p.pages} pages`);
  const { pulse: other } = pulse();
  other.observe({ ...START, held: START.held + 1000 });
  assert.ok(!other.begin(0));
  // The guest uses the memory again before it has nothing to do.
  other.observe({ ...START, held: START.held + FREED });
  other.observe({ ...START, held: START.held + FREED, free: START.free - FREED });
  assert.ok(!other.begin(0));
});
