import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtioRng } from '../../../src/devices/virtio/rng.ts';
import { TestDriver } from './driver.ts';

test('each buffer is filled with fresh bytes, at most 64 KiB of it', () => {
  let calls = 0;
  const driver = new TestDriver(new VirtioRng((target) => target.fill(++calls)));
  driver.negotiate();
  const queue = driver.addQueue(0);
  driver.start();
  assert.deepEqual([...queue.exchange(4, 2).bytes], [1, 1, 1, 1, 1, 1]);
  assert.deepEqual([...queue.exchange(3).bytes], [2, 2, 2]);
  const { length, bytes } = queue.exchange(100_000);
  assert.equal(length, 65_536);
  assert.equal(bytes[65_535], 3);
  assert.equal(bytes[65_536], 0);
  assert.equal(queue.exchange(new Uint8Array(8)).length, 0, 'nothing to write to');
});
