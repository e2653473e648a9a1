import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BalloonStatistics, VIRTIO_BALLOON_F, VirtioBalloon } from '../../../src/devices/virtio/balloon.ts';
import { REG, record, TestDriver } from './driver.ts';

const FIRST_PFN = 0x8_0000;
const PAGES = 256;

class RecordedBackend {
  targetPages = 0;
  resets = 0;
  readonly inflated: number[][] = [];
  readonly deflated: number[][] = [];
  readonly reported: [number, number][] = [];
  readonly said: BalloonStatistics[] = [];

  inflate(gfns: Uint32Array): void {
    this.inflated.push([...gfns]);
  }

  deflate(gfns: Uint32Array): void {
    this.deflated.push([...gfns]);
  }

  report(gfn: number, count: number): void {
    this.reported.push([gfn, count]);
  }

  statistics(statistics: BalloonStatistics): void {
    this.said.push(statistics);
  }

  reset(): void {
    this.resets++;
  }
}

const pfns = (...gfns: number[]) => record(...gfns.map((gfn) => [4, (FIRST_PFN + gfn) >>> 0] as const));

function started(features: number[] = [], queues = 2) {
  const backend = new RecordedBackend();
  const device = new VirtioBalloon(backend);
  const driver = new TestDriver(device, PAGES * 4096);
  driver.negotiate(...features);
  const made = Array.from({ length: queues }, (_, index) => driver.addQueue(index));
  driver.start();
  return { backend, device, driver, queues: made, inflateq: made[0]!, deflateq: made[1]! };
}

test('inflate and deflate, counted from the start of RAM', () => {
  const { backend, device, inflateq, deflateq, driver } = started();
  inflateq.exchange(pfns(3, 4, 200));
  assert.deepEqual(backend.inflated, [[3, 4, 200]]);
  assert.equal(device.pages, 3);
  assert.equal(device.contains(200), true);
  assert.equal(device.contains(5), false);
  deflateq.exchange(pfns(4));
  assert.deepEqual(backend.deflated, [[4]]);
  assert.equal(device.pages, 2);
  assert.deepEqual(driver.errors, []);
});

test('pages that the guest does not have, or gives twice, are ignored and named', () => {
  const { backend, device, inflateq, deflateq, driver } = started();
  inflateq.exchange(record([4, 0], [4, FIRST_PFN - 1], [4, FIRST_PFN + PAGES], [4, 0xffff_ffff], [4, FIRST_PFN + 1]));
  assert.deepEqual(backend.inflated, [[1]]);
  assert.match(driver.errors[0]!.message, /ignored 4 pages that the guest does not have/);
  inflateq.exchange(pfns(1, 2, 2));
  assert.deepEqual(backend.inflated, [[1], [2]]);
  assert.match(driver.errors[1]!.message, /2 that are already in the balloon/);
  deflateq.exchange(pfns(9));
  assert.deepEqual(backend.deflated, []);
  assert.match(driver.errors[2]!.message, /1 that are not in the balloon/);
  inflateq.exchange(new Uint8Array(3));
  assert.match(driver.errors[3]!.message, /3 odd bytes/);
  inflateq.exchange(new Uint8Array(0), 64);
  assert.equal(device.pages, 2);
  assert.equal(driver.needsReset, false);
});

test('a buffer of too many page numbers needs a reset', () => {
  const { driver, inflateq } = started();
  inflateq.add(new Uint8Array(4 * 16 * 1024 + 4));
  inflateq.kick();
  assert.equal(driver.needsReset, true);
});

test('the target is configuration space; a change is told', () => {
  const { backend, device, driver } = started();
  backend.targetPages = 100.7;
  device.targetChanged();
  assert.equal(driver.get('InterruptStatus'), 2);
  assert.equal(driver.mmio.read(REG.Config, 4), 100);
  backend.targetPages = -5;
  assert.equal(driver.mmio.read(REG.Config, 4), 0);
  driver.mmio.write(REG.Config + 4, 4, 77);
  assert.equal(driver.mmio.read(REG.Config + 4, 4), 77);
  assert.equal(device.actual, 77);
});

test('statistics: the buffer is held until the host asks', () => {
  const { backend, device, driver, queues } = started([VIRTIO_BALLOON_F.STATS_VQ], 3);
  const statsq = queues[2]!;
  assert.equal(device.requestStatistics(), false, 'no buffer yet');
  statsq.add(record([2, 4], [8, 1234], [2, 5], [8, 2n ** 40n], [2, 99], [8, 1], [2, 10], [8, 3]));
  statsq.kick();
  assert.deepEqual(backend.said, [{ freeMemory: 1234, totalMemory: 2 ** 40, oomKills: 3 }]);
  assert.equal(statsq.take().length, 0);
  assert.equal(device.requestStatistics(), true);
  assert.equal(statsq.take().length, 1);
  assert.equal(driver.irq.level, true);
  assert.equal(device.requestStatistics(), false, 'the driver has not answered');
  statsq.add(record([2, 0], [8, 5], [2, 1]));
  statsq.kick();
  assert.deepEqual(backend.said[1], { swapIn: 5 });
});

test('a driver with two statistics buffers gets the older one back', () => {
  const { queues } = started([VIRTIO_BALLOON_F.STATS_VQ], 3);
  const first = queues[2]!.add(record([2, 4], [8, 1]));
  queues[2]!.add(record([2, 4], [8, 2]));
  queues[2]!.kick();
  assert.deepEqual(
    queues[2]!.take().map(({ head }) => head),
    [first],
  );
});

for (const [name, features, queues, index] of [
  ['Linux, reporting alone: queue 2', [VIRTIO_BALLOON_F.REPORTING], 3, 2],
  ['Linux, statistics and reporting: queue 3', [VIRTIO_BALLOON_F.STATS_VQ, VIRTIO_BALLOON_F.REPORTING], 4, 3],
  ['numbers of the specification: queue 4', [VIRTIO_BALLOON_F.STATS_VQ, VIRTIO_BALLOON_F.REPORTING], 5, 4],
] as const) {
  test(`free page reporting, ${name}`, () => {
    const { backend, driver, queues: made } = started([...features], queues);
    const queue = made[index]!;
    const { ram } = driver;
    queue.writeDescriptor(0, ram.base + 8 * 4096, 4 * 4096, 3, 1);
    queue.writeDescriptor(1, ram.base + 100 * 4096 - 10, 2 * 4096, 3, 2);
    queue.writeDescriptor(2, ram.base + 50 * 4096 + 1, 4096, 2, 0);
    queue.makeAvailable(0);
    queue.kick();
    assert.deepEqual(backend.reported, [
      [8, 4],
      [100, 1],
    ]);
    assert.deepEqual(
      queue.take().map(({ length }) => length),
      [0],
    );
    assert.deepEqual(driver.errors, []);
  });
}

test('reported pages stay if the guest wants them to keep a poison value', () => {
  const { backend, driver, queues } = started([VIRTIO_BALLOON_F.REPORTING, VIRTIO_BALLOON_F.PAGE_POISON], 3);
  driver.mmio.write(REG.Config + 12, 4, 0xaaaa_aaaa);
  assert.equal(driver.mmio.read(REG.Config + 12, 4), 0xaaaa_aaaa);
  const report = () => {
    queues[2]!.writeDescriptor(0, driver.ram.base, 4096, 2, 0);
    queues[2]!.makeAvailable(0);
    queues[2]!.kick();
  };
  report();
  assert.deepEqual(backend.reported, []);
  driver.mmio.write(REG.Config + 12, 4, 0);
  report();
  assert.deepEqual(backend.reported, [[0, 1]]);
});

test('reporting is offered only if the backend can use it; a reset empties the balloon', () => {
  const quiet = new TestDriver(new VirtioBalloon({ targetPages: 0, inflate() {}, deflate() {} }));
  assert.equal((quiet.offered >> BigInt(VIRTIO_BALLOON_F.REPORTING)) & 1n, 0n);
  const { backend, device, driver, inflateq } = started();
  inflateq.exchange(pfns(3));
  driver.set('Status', 0);
  assert.deepEqual([device.pages, device.actual, device.attached, backend.resets], [0, 0, false, 1]);
  device.targetChanged();
  assert.equal(driver.irq.level, false);
});
