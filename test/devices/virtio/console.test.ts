import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VIRTIO_CONSOLE_F, VirtioConsole } from '../../../src/devices/virtio/console.ts';
import { REG, TestDriver } from './driver.ts';

const text = (string: string) => new TextEncoder().encode(string);
const [RECEIVEQ, TRANSMITQ] = [0, 1];

function setUp() {
  let out = '';
  let drained = 0;
  const device = new VirtioConsole({
    output: (bytes) => {
      out += new TextDecoder().decode(bytes);
    },
    drained: () => drained++,
    columns: 100,
    rows: 40,
  });
  const driver = new TestDriver(device);
  return { device, driver, out: () => out, drained: () => drained };
}

function started() {
  const set = setUp();
  set.driver.negotiate(VIRTIO_CONSOLE_F.SIZE);
  const receiveq = set.driver.addQueue(RECEIVEQ);
  const transmitq = set.driver.addQueue(TRANSMITQ);
  set.driver.start();
  return { ...set, receiveq, transmitq };
}

test('output in one and in several pieces', () => {
  const { transmitq, out } = started();
  assert.equal(transmitq.exchange(text('hello ')).length, 0);
  transmitq.exchange(text('wor'), text('ld'));
  assert.equal(out(), 'hello world');
});

test('input fills buffers in order, and waits where there is none', () => {
  const { device, receiveq, drained } = started();
  assert.equal(device.receive(text('abc')), 3);
  receiveq.add(2);
  receiveq.add(1, 10);
  receiveq.kick();
  const [first, second] = receiveq.take();
  assert.equal(new TextDecoder().decode(first!.bytes), 'ab');
  assert.deepEqual([second!.length, second!.bytes[0]], [1, 99]);
  receiveq.add(4);
  receiveq.kick();
  assert.equal(receiveq.take().length, 0, 'an empty buffer is kept for later input');
  device.receive(text('xy'));
  assert.deepEqual(
    receiveq.take().map(({ length }) => length),
    [2],
  );
  assert.equal(drained(), 0);
});

test('input given before the driver comes is delivered with DRIVER_OK', () => {
  const { device, driver } = setUp();
  device.receive(text('early'));
  driver.negotiate();
  const receiveq = driver.addQueue(RECEIVEQ);
  driver.addQueue(TRANSMITQ);
  receiveq.add(64);
  driver.start();
  assert.equal(new TextDecoder().decode(receiveq.take()[0]!.bytes.subarray(0, 5)), 'early');
});

test('backpressure', () => {
  const { device, receiveq, drained } = started();
  assert.equal(device.receive(new Uint8Array(5000)), 4096);
  assert.equal(device.receive(text('x')), 0);
  receiveq.add(1000);
  receiveq.kick();
  assert.equal(drained(), 0);
  receiveq.add(2000);
  receiveq.kick();
  assert.equal(drained(), 1);
  assert.equal(device.receive(new Uint8Array(5000)), 3000);
});

test('resize: a configuration interrupt, a new generation, the new size', () => {
  const { device, driver } = started();
  const size = () => [driver.mmio.read(REG.Config, 2), driver.mmio.read(REG.Config + 2, 2)];
  assert.deepEqual(size(), [100, 40]);
  const generation = driver.get('ConfigGeneration');
  device.resize(100, 40);
  assert.equal(driver.irq.level, false, 'nothing changed');
  device.resize(132, 50);
  assert.deepEqual(size(), [132, 50]);
  assert.equal(driver.get('InterruptStatus'), 2);
  assert.notEqual(driver.get('ConfigGeneration'), generation);
});

test('emergency write works without a driver', () => {
  const { driver, out } = setUp();
  driver.mmio.write(REG.Config + 8, 4, 0x41);
  assert.equal(out(), 'A');
});

test('a buffer of absurd length is refused', () => {
  const { driver, transmitq, out } = started();
  for (let i = 0; i < 3; i++) {
    transmitq.writeDescriptor(i, driver.ram.base, driver.ram.size, i < 2 ? 1 : 0, i + 1);
  }
  transmitq.makeAvailable(0);
  transmitq.kick();
  assert.equal(driver.needsReset, true);
  assert.equal(out(), '');
});
