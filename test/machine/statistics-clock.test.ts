import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatisticsClock } from '../../src/machine/statistics-clock.ts';
import { createGuest } from '../../src/memory/guest.ts';
import { HEADER_STATE, PAGE_SIZE, STATE_HIGH, STATE_SOFT } from '../../src/memory/layout.ts';
import { smallMemory } from '../memory/small.ts';

test('an idle guest is seldom asked for statistics, a busy one every second, and each of them when memory is short', () => {
  const memory = smallMemory(64);
  const guest = createGuest(memory, { name: 'a', memoryBytes: 16 * PAGE_SIZE });
  let now = 0;
  let instructions = 0;
  const clock = new StatisticsClock(guest, () => now);
  /** How often it is time within a while, if the guest runs ten times a second. */
  const requests = (seconds: number, executed: number): number => {
    let count = 0;
    for (let i = 0; i < seconds * 10; i++) {
      now += 100;
      instructions += executed;
      if (clock.take(instructions)) count++;
    }
    return count;
  };
  assert.ok(clock.msUntil <= 0);
  assert.equal(requests(1, 0), 1);
  assert.equal(requests(100, 10_000), 10);
  assert.equal(requests(100, 1e7), 100);
  // Nothing is missed by sleeping as long as it says.
  requests(20, 0);
  now += clock.msUntil - 1;
  assert.ok(!clock.take(instructions));
  now += 1;
  assert.ok(clock.take(instructions));
  now += 3000;
  assert.ok(clock.msUntil > 1000);
  Atomics.store(memory.i32, HEADER_STATE, STATE_SOFT);
  assert.ok(clock.msUntil <= 0);
  assert.equal(requests(100, 0), 100);
  Atomics.store(memory.i32, HEADER_STATE, STATE_HIGH);
  assert.equal(requests(100, 0), 10);
});
