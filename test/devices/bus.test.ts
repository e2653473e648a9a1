import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bus, BusError, type MmioDevice, type Width } from '../../src/devices/bus.ts';
import { RegisterTable } from '../../src/devices/registers.ts';

/** Eight bytes of storage that note each access. */
class Scratch implements MmioDevice {
  readonly name = 'scratch';
  readonly words = [0, 0];
  readonly accesses: string[] = [];

  read(offset: number, width: Width): number {
    this.accesses.push(`r${width}@${offset}`);
    return this.words[offset >>> 2]!;
  }

  write(offset: number, width: Width, value: number): void {
    this.accesses.push(`w${width}@${offset}`);
    this.words[offset >>> 2] = value;
  }
}

test('8-byte accesses are two of 4 bytes, low half first', () => {
  const bus = new Bus();
  const device = new Scratch();
  bus.map(0x1000, 8, device);
  bus.write(0x1000, 8, 0xfedc_ba98_7654_3210n);
  assert.deepEqual(device.words, [0x7654_3210, 0xfedc_ba98]);
  assert.equal(bus.read(0x1000, 8), 0xfedc_ba98_7654_3210n);
  assert.deepEqual(device.accesses, ['w4@0', 'w4@4', 'r4@0', 'r4@4']);
});

test('values are cut to the width and zero-extended', () => {
  const bus = new Bus();
  const device = new Scratch();
  bus.map(0x1000, 8, device);
  bus.write(0x1000, 2, -1n);
  assert.equal(device.words[0], 0xffff);
  bus.store(0x1004, 4, -1);
  assert.equal(bus.load(0x1004, 4), 0xffff_ffff);
});

test('holes, ends of regions and misaligned accesses are bus errors', () => {
  const bus = new Bus();
  const device = new Scratch();
  bus.map(0x1000, 8, device);
  const bad: [number, 1 | 2 | 4 | 8][] = [
    [0xfff, 1],
    [0x1008, 1],
    [0x1004, 8],
    [0x1002, 4],
    [0x1001, 2],
    [0, 8],
  ];
  for (const [address, width] of bad) {
    assert.throws(
      () => bus.read(address, width),
      (error) => error instanceof BusError && error.address === address,
    );
    assert.throws(() => bus.write(address, width, 0n), BusError);
  }
  assert.deepEqual(device.accesses, [], 'no half of a bad access reached the device');
});

test('regions may touch but not overlap', () => {
  const bus = new Bus();
  bus.map(0x1000, 8, new Scratch());
  bus.map(0x1008, 8, new Scratch());
  assert.throws(() => bus.map(0x1004, 8, new Scratch()), /overlaps/);
  assert.equal(bus.isMapped(0x100f), true);
  assert.equal(bus.isMapped(0x1010), false);
});

test('register table: arrays, narrow and wide accesses, access rights', () => {
  const state = { a: 0x1122_3344, bytes: [1, 2, 3, 4], read: 7 };
  type State = typeof state;
  const table = new RegisterTable<State>([
    {
      offset: 0,
      name: 'a',
      width: 4,
      access: 'rw',
      read: (d) => d.a,
      write: (d, value) => {
        d.a = value;
      },
    },
    {
      offset: 4,
      name: 'bytes',
      width: 1,
      access: 'rw',
      count: 4,
      read: (d, i) => d.bytes[i]!,
      write: (d, value, i) => {
        d.bytes[i] = value;
      },
    },
    {
      offset: 8,
      name: 'fixed',
      width: 4,
      access: 'r',
      read: (d) => d.read,
      write: (d, value) => {
        d.read = value;
      },
    },
  ]);
  assert.equal(table.read(state, 1, 1), 0x33);
  assert.equal(table.read(state, 2, 2), 0x1122);
  assert.equal(table.read(state, 4, 4), 0x0403_0201);
  assert.equal(table.read(state, 12, 4), 0);
  table.write(state, 4, 4, 0xddcc_bbaa);
  assert.deepEqual(state.bytes, [0xaa, 0xbb, 0xcc, 0xdd]);
  table.write(state, 0, 2, 0xffff);
  assert.equal(state.a, 0x1122_3344, 'a narrow store is dropped');
  table.write(state, 0, 4, 0xffff_fffe);
  assert.equal(table.read(state, 0, 4), 0xffff_fffe);
  table.write(state, 8, 4, 9);
  assert.equal(state.read, 7, 'read-only');
  assert.equal(table.nameAt(6), 'bytes');
});

test('register table: two registers on one byte are refused', () => {
  const row = { name: 'x', width: 4, access: 'r' } as const;
  assert.throws(
    () =>
      new RegisterTable([
        { ...row, offset: 0 },
        { ...row, offset: 2 },
      ]),
    /overlaps/,
  );
});
