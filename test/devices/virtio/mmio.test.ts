import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATUS, VIRTIO_F } from '../../../src/devices/virtio/device.ts';
import { VirtioRng } from '../../../src/devices/virtio/rng.ts';
import { TestDriver } from './driver.ts';

const rng = () =>
  new VirtioRng((target) => {
    for (let i = 0; i < target.length; i++) target[i] = (i + 1) & 0xff;
  });

function started(options: { indirect?: boolean; eventIndex?: boolean } = {}, size = 8) {
  const driver = new TestDriver(rng());
  driver.negotiate(
    ...(options.indirect ? [VIRTIO_F.RING_INDIRECT_DESC] : []),
    ...(options.eventIndex ? [VIRTIO_F.RING_EVENT_IDX] : []),
  );
  const queue = driver.addQueue(0, size, options);
  driver.start();
  return { driver, queue };
}

test('identity registers, of a device and of an empty slot', () => {
  const driver = new TestDriver(rng());
  assert.equal(driver.get('MagicValue'), 0x7472_6976);
  assert.equal(driver.get('Version'), 2);
  assert.equal(driver.get('DeviceID'), 4);
  const empty = new TestDriver(undefined);
  assert.equal(empty.get('MagicValue'), 0x7472_6976);
  assert.equal(empty.get('Version'), 2);
  assert.equal(empty.get('DeviceID'), 0);
  empty.set('Status', 0xff);
  empty.set('QueueNotify', 0);
  assert.equal(empty.mmio.read(0x100, 4), 0);
});

test('features: the offer has VERSION_1, selectors beyond 1 read 0', () => {
  const driver = new TestDriver(rng());
  assert.equal(driver.offered, (1n << 32n) | (1n << 28n) | (1n << 29n));
  driver.set('DeviceFeaturesSel', 2);
  assert.equal(driver.get('DeviceFeatures'), 0);
});

test('FEATURES_OK is refused without VERSION_1 or with a feature that was not offered', () => {
  for (const [low, high] of [
    [0, 0],
    [1, 1],
    [0, 2],
  ] as const) {
    const driver = new TestDriver(rng());
    driver.set('Status', STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    driver.set('DriverFeaturesSel', 0);
    driver.set('DriverFeatures', low);
    driver.set('DriverFeaturesSel', 1);
    driver.set('DriverFeatures', high);
    driver.set('Status', STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
    assert.equal(driver.get('Status'), STATUS.ACKNOWLEDGE | STATUS.DRIVER);
  }
});

test('DRIVER_OK without FEATURES_OK needs a reset', () => {
  const driver = new TestDriver(rng());
  driver.set('Status', STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK);
  assert.equal(driver.needsReset, true);
  driver.set('Status', 0);
  assert.equal(driver.get('Status'), 0);
});

for (const options of [{}, { indirect: true }, { eventIndex: true }, { indirect: true, eventIndex: true }]) {
  test(`buffers go round and round, ${JSON.stringify(options)}`, () => {
    const { driver, queue } = started(options, 4);
    let rises = 0;
    for (let round = 0; round < 300; round++) {
      if (options.eventIndex) queue.armInterrupt();
      const { length, bytes } = queue.exchange(3, 5);
      assert.equal(length, 8);
      assert.deepEqual([...bytes], [1, 2, 3, 4, 5, 6, 7, 8]);
      assert.equal(driver.irq.rises, ++rises);
      assert.equal(driver.get('InterruptStatus'), 1);
      driver.set('InterruptACK', 1);
      assert.equal(driver.irq.level, false);
      if (options.eventIndex) assert.equal(queue.availableEvent, round + 1);
    }
    assert.deepEqual(driver.errors, []);
  });
}

test('indices run over 2^16', () => {
  const { driver, queue } = started({ eventIndex: true }, 2);
  const piece = driver.allocate(1);
  queue.writeDescriptor(0, piece, 1, 2, 0);
  for (let i = 0; i < 66_000; i++) {
    queue.makeAvailable(0);
    queue.kick();
  }
  assert.equal(driver.ram.readU16(queue.used + 2), 66_000 & 0xffff);
  assert.equal(queue.availableEvent, 66_000 & 0xffff);
  assert.equal(driver.needsReset, false);
});

test('NO_INTERRUPT suppresses interrupts', () => {
  const { driver, queue } = started();
  queue.suppressInterrupts(true);
  queue.exchange(4);
  assert.equal(driver.irq.rises, 0);
  queue.suppressInterrupts(false);
  queue.exchange(4);
  assert.equal(driver.irq.rises, 1);
});

test('used_event asks for an interrupt at one entry only', () => {
  const { driver, queue } = started({ eventIndex: true });
  queue.armInterrupt(1);
  queue.exchange(4);
  assert.equal(driver.irq.rises, 0);
  queue.exchange(4);
  assert.equal(driver.irq.rises, 1);
});

test('buffers that are there before DRIVER_OK are served with it', () => {
  const driver = new TestDriver(rng());
  driver.negotiate();
  const queue = driver.addQueue(0);
  queue.add(2);
  queue.kick();
  assert.equal(queue.take().length, 0);
  driver.start();
  assert.equal(queue.take().length, 1);
});

test('a queue in use keeps its addresses; one that is made unready is not served', () => {
  const { driver, queue } = started();
  driver.set('QueueSel', 0);
  driver.set('QueueDescLow', 0);
  driver.set('QueueNum', 2);
  queue.exchange(4);
  driver.set('QueueReady', 0);
  assert.equal(driver.get('QueueReady'), 0);
  queue.add(4);
  queue.kick();
  assert.equal(queue.take().length, 0);
  assert.equal(driver.needsReset, false);
});

test('reset forgets queues, features and interrupts', () => {
  const { driver, queue } = started();
  queue.exchange(4);
  assert.equal(driver.irq.level, true);
  driver.set('Status', 0);
  assert.equal(driver.irq.level, false);
  assert.equal(driver.get('InterruptStatus'), 0);
  driver.set('QueueSel', 0);
  assert.equal(driver.get('QueueReady'), 0);
  queue.add(4);
  queue.kick();
  assert.equal(queue.take().length, 0);
});

test('queue numbers that do not exist do nothing', () => {
  const { driver } = started();
  driver.set('QueueSel', 0xffff_ffff);
  assert.equal(driver.get('QueueNumMax'), 0);
  driver.set('QueueReady', 1);
  assert.equal(driver.get('QueueReady'), 0);
  driver.set('QueueNotify', 0xffff_ffff);
  assert.equal(driver.needsReset, false);
});

interface Broken {
  readonly what: string;
  readonly error: RegExp;
  readonly options?: { indirect?: boolean };
  readonly make: (set: ReturnType<typeof started>) => void;
}

const BROKEN: readonly Broken[] = [
  {
    what: 'a descriptor below RAM',
    error: /not in the guest's memory/,
    make: ({ queue }) => queue.writeDescriptor(0, 0x1000, 16, 2, 0),
  },
  {
    what: 'a descriptor over the end of RAM',
    error: /not in the guest's memory/,
    make: ({ driver, queue }) => queue.writeDescriptor(0, driver.ram.base + driver.ram.size - 8, 16, 2, 0),
  },
  {
    what: 'a descriptor far away',
    error: /not in the guest's memory/,
    make: ({ queue }) => queue.writeDescriptor(0, 0xffff_ffff_ffff_fff0n, 0xffff_ffff, 2, 0),
  },
  {
    what: 'a chain that loops',
    error: /loops/,
    make: ({ driver, queue }) => {
      queue.writeDescriptor(0, driver.ram.base, 1, 3, 1);
      queue.writeDescriptor(1, driver.ram.base, 1, 3, 0);
    },
  },
  {
    what: 'a next descriptor beyond the table',
    error: /descriptor 8 of/,
    make: ({ driver, queue }) => queue.writeDescriptor(0, driver.ram.base, 1, 3, 8),
  },
  { what: 'a head beyond the table', error: /descriptor 9 of/, make: ({ queue }) => queue.makeAvailable(9) },
  {
    what: 'readable after writable',
    error: /device-readable descriptor after/,
    make: ({ driver, queue }) => {
      queue.writeDescriptor(0, driver.ram.base, 1, 3, 1);
      queue.writeDescriptor(1, driver.ram.base, 1, 0, 0);
    },
  },
  {
    what: 'an available index too far ahead',
    error: /made 9 buffers available/,
    make: ({ queue }) => queue.setAvailableIndex(9),
  },
  {
    what: 'an indirect descriptor that was not negotiated',
    error: /not negotiated/,
    make: ({ driver, queue }) => queue.writeDescriptor(0, driver.ram.base, 16, 4, 0),
  },
  {
    what: 'an indirect table of an odd length',
    error: /no multiple/,
    options: { indirect: true },
    make: ({ driver, queue }) => queue.writeDescriptor(0, driver.ram.base, 24, 4, 0),
  },
  {
    what: 'an indirect table of no length',
    error: /no multiple/,
    options: { indirect: true },
    make: ({ driver, queue }) => queue.writeDescriptor(0, driver.ram.base, 0, 4, 0),
  },
  {
    what: 'an indirect table outside of RAM',
    error: /not in the guest's memory/,
    options: { indirect: true },
    make: ({ queue }) => queue.writeDescriptor(0, 0x1000, 16, 4, 0),
  },
  {
    what: 'an indirect table in an indirect table',
    error: /in an indirect table/,
    options: { indirect: true },
    make: ({ driver, queue }) => {
      const table = driver.allocate(16);
      queue.writeDescriptor(0, table, 16, 4, 0, table);
      queue.writeDescriptor(0, table, 16, 4, 0);
    },
  },
  {
    what: 'an indirect chain that loops',
    error: /loops/,
    options: { indirect: true },
    make: ({ driver, queue }) => {
      const table = driver.allocate(16 * 4096);
      queue.writeDescriptor(0, driver.ram.base, 1, 3, 0, table);
      queue.writeDescriptor(0, table, 16 * 4096, 4, 0);
    },
  },
];

for (const { what, error, options = {}, make } of BROKEN) {
  test(`${what}: DEVICE_NEEDS_RESET and a named error, until the reset`, () => {
    const set = started(options);
    const { driver, queue } = set;
    make(set);
    if (driver.ram.readU16(queue.available + 2) === 0) queue.makeAvailable(0);
    queue.kick();
    assert.equal(driver.needsReset, true);
    assert.equal(driver.errors.length, 1);
    assert.equal(driver.errors[0]!.name, 'VirtioError');
    assert.match(driver.errors[0]!.message, error);
    assert.match(driver.errors[0]!.message, /virtio-rng queue 0/);
    assert.equal(driver.get('InterruptStatus') & 2, 2, 'a configuration interrupt tells the driver');
    queue.kick();
    driver.start();
    assert.equal(driver.needsReset, true);
    assert.equal(driver.errors.length, 1, 'a broken device is left alone');
    driver.negotiate();
    const again = driver.addQueue(0);
    driver.start();
    again.exchange(4);
    assert.equal(driver.needsReset, false);
  });
}

test('queue areas that are misaligned or outside of RAM, sizes that are no power of two or too large', () => {
  const cases: [(driver: TestDriver) => void, RegExp][] = [
    [(d) => d.set('QueueDescLow', d.ram.base + 8), /not 16-byte aligned/],
    [(d) => d.set('QueueDescLow', 0), /not in the guest's memory/],
    [(d) => d.set('QueueDescHigh', 1), /not in the guest's memory/],
    [(d) => d.set('QueueDriverLow', d.ram.base + 1), /driver area.*not 2-byte/],
    [(d) => d.set('QueueDeviceLow', d.ram.base + d.ram.size - 8), /device area.*not in the guest's memory/],
    [(d) => d.set('QueueNum', 3), /not a power of two/],
    [(d) => d.set('QueueNum', 0), /not a power of two/],
    [(d) => d.set('QueueNum', 128), /at most 64/],
  ];
  for (const [spoil, error] of cases) {
    const driver = new TestDriver(rng());
    driver.negotiate();
    driver.set('QueueSel', 0);
    driver.set('QueueNum', 8);
    for (const register of ['QueueDescLow', 'QueueDriverLow', 'QueueDeviceLow'] as const)
      driver.set(register, driver.allocate(256));
    spoil(driver);
    driver.set('QueueReady', 1);
    assert.equal(driver.needsReset, true);
    assert.match(driver.errors[0]!.message, error);
    driver.start();
    driver.set('QueueNotify', 0);
  }
});
