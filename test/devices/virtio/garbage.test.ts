import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VirtioBalloon } from '../../../src/devices/virtio/balloon.ts';
import { VirtioBlk } from '../../../src/devices/virtio/blk.ts';
import { VirtioConsole } from '../../../src/devices/virtio/console.ts';
import type { VirtioDevice } from '../../../src/devices/virtio/device.ts';
import { VirtioRng } from '../../../src/devices/virtio/rng.ts';
import { type Piece, REG, TestDriver, type TestQueue } from './driver.ts';

// RAM here throws on every access outside of it, so an address that a device did not check fails the property, as any
// other exception does.

const RAM_SIZE = 64 * 1024;
const DISK_SIZE = 16 * 1024;

interface Subject {
  readonly device: VirtioDevice;
  /** Something that the host does of its own accord. */
  readonly poke: () => void;
  /** What the device asked of its backend and must not have: noted, because errors of a backend are caught. */
  readonly wrongs: string[];
}

const SUBJECTS: Readonly<Record<string, () => Subject>> = {
  console: () => {
    const device = new VirtioConsole({ output() {} });
    let columns = 80;
    return {
      device,
      poke: () => {
        device.receive(new Uint8Array(700));
        device.resize(columns++, 25);
      },
      wrongs: [],
    };
  },
  blk: () => {
    const disk = new Uint8Array(DISK_SIZE);
    const wrongs: string[] = [];
    const inside = (offset: number, bytes: number) => {
      if (!(offset >= 0 && offset + bytes <= DISK_SIZE)) wrongs.push(`disk ${offset}+${bytes}`);
    };
    const backend = {
      sizeBytes: DISK_SIZE,
      read: (offset: number, target: Uint8Array) => {
        inside(offset, target.length);
        target.set(disk.subarray(offset, offset + target.length));
      },
      write: (offset: number, source: Uint8Array) => {
        inside(offset, source.length);
        disk.set(source, offset);
      },
      flush() {},
      discard: inside,
      writeZeroes: inside,
    };
    return { device: new VirtioBlk({ backend }), poke() {}, wrongs };
  },
  rng: () => ({ device: new VirtioRng((target) => target.fill(0xee)), poke() {}, wrongs: [] }),
  balloon: () => {
    const inside = new Set<number>();
    const wrongs: string[] = [];
    const device = new VirtioBalloon({
      targetPages: 5,
      inflate: (gfns) => {
        for (const gfn of gfns) {
          if (gfn >= RAM_SIZE / 4096 || inside.has(gfn)) wrongs.push(`inflate ${gfn}`);
          inside.add(gfn);
        }
      },
      deflate: (gfns) => {
        for (const gfn of gfns) if (!inside.delete(gfn)) wrongs.push(`deflate ${gfn}`);
      },
      report: (gfn, count) => {
        if (count < 1 || gfn < 0 || gfn + count > RAM_SIZE / 4096) wrongs.push(`report ${gfn}+${count}`);
      },
      statistics() {},
      reset: () => inside.clear(),
    });
    return {
      device,
      poke: () => {
        device.targetChanged();
        device.requestStatistics();
      },
      wrongs,
    };
  },
};

/** Mostly in or just around RAM, sometimes anything. */
const address = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0x8000_0000, max: 0x8000_0000 + RAM_SIZE - 1 }).map(BigInt) },
  { weight: 1, arbitrary: fc.integer({ min: 0x8000_0000 - 64, max: 0x8000_0000 + RAM_SIZE + 64 }).map(BigInt) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);
const length = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 1, 4, 10, 16, 32, 48, 512, 513, 4096) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
);
const descriptor = fc.record({
  slot: fc.nat(7),
  gpa: address,
  length,
  flags: fc.oneof({ weight: 5, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
  next: fc.oneof({ weight: 6, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
});
/**
 * Contents that a device may take for a request: the words of a block request's header and ranges, page numbers,
 * statistics.
 */
const word = fc.oneof(
  { weight: 4, arbitrary: fc.nat(40) },
  { weight: 2, arbitrary: fc.integer({ min: 0x8_0000 - 2, max: 0x8_0000 + RAM_SIZE / 4096 + 1 }) },
  { weight: 1, arbitrary: fc.integer() },
);
const request = fc.record({
  kind: fc.constant('request' as const),
  queue: fc.nat(4),
  type: fc.constantFrom(0, 1, 4, 8, 11, 13, 0x8_0001),
  words: fc.array(word, { minLength: 3, maxLength: 11 }),
  output: fc.constantFrom(0, 512, 1024),
  input: fc.constantFrom(0, 1, 21, 513, 1025),
});
const action = fc.oneof(
  { weight: 8, arbitrary: request },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('descriptor' as const), queue: fc.nat(4), descriptor }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('offer' as const), queue: fc.nat(4), head: fc.nat(8) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('bytes' as const),
      at: fc.nat(RAM_SIZE - 64),
      bytes: fc.uint8Array({ maxLength: 64 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('index' as const), queue: fc.nat(4), value: fc.nat(0xffff) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('poke' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('register' as const),
      offset: fc.constantFrom(...Object.values(REG), REG.Config + 4, REG.Config + 8, REG.Config + 12, 0x200, 0xffc),
      value: fc.oneof(fc.nat(15), fc.integer()),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);

function start(driver: TestDriver, device: VirtioDevice): TestQueue[] {
  const features = Array.from({ length: 30 }, (_, bit) => bit).filter(
    (bit) => ((driver.offered >> BigInt(bit)) & 1n) === 1n,
  );
  driver.negotiate(...features);
  const queues = device.queueSizes.map((_, index) => driver.addQueue(index));
  driver.start();
  return queues;
}

for (const [name, make] of Object.entries(SUBJECTS)) {
  test(`property: ${name}: whatever the driver writes, nothing is thrown and nothing outside of RAM or disk is touched`, () => {
    fc.assert(
      fc.property(fc.array(action, { minLength: 5, maxLength: 60 }), (actions) => {
        const { device, poke, wrongs } = make();
        const driver = new TestDriver(device, RAM_SIZE);
        let queues = start(driver, device);
        const queueOf = (index: number) => queues[index % queues.length]!;
        let restarts = 0;
        for (const step of actions) {
          if (step.kind === 'request') {
            const words = Int32Array.of(step.type, 0, ...step.words);
            const pieces: Piece[] = [new Uint8Array(words.buffer)];
            if (step.output > 0) pieces.push(new Uint8Array(step.output));
            if (step.input > 0) pieces.push(step.input);
            if (driver.room > 4096) queueOf(step.queue).add(...pieces);
            queueOf(step.queue).kick();
          } else if (step.kind === 'descriptor') {
            const { slot, gpa, length: bytes, flags, next } = step.descriptor;
            queueOf(step.queue).writeDescriptor(slot, gpa, bytes, flags, next);
          } else if (step.kind === 'offer') {
            queueOf(step.queue).makeAvailable(step.head);
            queueOf(step.queue).kick();
          } else if (step.kind === 'bytes') driver.ram.write(driver.ram.base + step.at, step.bytes);
          else if (step.kind === 'index') {
            queueOf(step.queue).setAvailableIndex(step.value);
            queueOf(step.queue).kick();
          } else if (step.kind === 'poke') poke();
          else if (step.kind === 'register') {
            driver.mmio.write(step.offset, 4, step.value >>> 0);
            driver.mmio.read(step.offset, 4);
          } else if (restarts++ < 8) {
            queues = start(driver, device);
          }
        }
        assert.deepEqual(wrongs, []);
        for (const error of driver.errors)
          assert.ok(['VirtioError', 'BackendError'].includes(error.name), String(error));
      }),
      { numRuns: 400 },
    );
  });
}
