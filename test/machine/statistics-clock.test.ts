import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HartBlock } from '../../src/machine/hart-block.ts';
import { StatisticsClock } from '../../src/machine/statistics-clock.ts';
import { createGuest } from '../../src/memory/guest.ts';
import { HEADER_STATE, PAGE_SIZE, STATE_HIGH, STATE_SOFT } from '../../src/memory/layout.ts';
import { smallMemory } from '../memory/small.ts';

test('an idle guest is seldom asked for statistics, a busy one every second, and each of them when memory is short', () => {
  const memory = smallMemory(64);
  const guest = createGuest(memory, { name: 'a', memoryBytes: 16 * PAGE_SIZE, harts: 2 });
  const harts = guest.allHarts.map((hart) => new HartBlock(guest, hart));
  let now = 0;
  const clock = new StatisticsClock(guest, () => now);
  /** How often it is time within a while, if the guest runs ten times a second. */
  const requests = (seconds: number, executed: number, hart = 0): number => {
    const block = harts[hart]!;
    let count = 0;
    for (let i = 0; i < seconds * 10; i++) {
      now += 100;
      block.counts = { instructions: block.counts.instructions + executed, busyMs: 0, processorMs: 0 };
      if (clock.take()) count++;
    }
    return count;
  };
  assert.ok(clock.msUntil <= 0);
  assert.equal(requests(1, 0), 1);
  assert.equal(requests(100, 10_000), 10);
  assert.equal(requests(100, 1e7), 100);
  assert.equal(requests(100, 1e7, 1), 100);
  // Nothing is missed by sleeping as long as it says.
  requests(20, 0);
  now += clock.msUntil - 1;
  assert.ok(!clock.take());
  now += 1;
  assert.ok(clock.take());
  now += 3000;
  assert.ok(clock.msUntil > 1000);
  Atomics.store(memory.i32, HEADER_STATE, STATE_SOFT);
  assert.ok(clock.msUntil <= 0);
  assert.equal(requests(100, 0), 100);
  Atomics.store(memory.i32, HEADER_STATE, STATE_HIGH);
  // One that works and then sleeps is woken for it a second later.
  requests(20, 0);
  harts[0]!.counts = { instructions: harts[0]!.counts.instructions + 1e7, busyMs: 0, processorMs: 0 };
  assert.ok(clock.msUntil <= 1000);
  assert.equal(requests(1, 0), 1);
  assert.equal(requests(100, 0), 10);
});
