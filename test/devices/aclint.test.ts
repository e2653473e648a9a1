import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Aclint } from '../../src/devices/aclint.ts';
import { Bus } from '../../src/devices/bus.ts';
import { HostClock } from '../../src/devices/clock.ts';
import { MIP } from '../../src/devices/hart-lines.ts';
import { RecordedHart } from './lines.ts';

function setUp(harts = 2) {
  const clock = {
    now: 1000,
    ticks: () => clock.now,
    setTicks: (ticks: number) => {
      clock.now = ticks;
    },
  };
  const lines = Array.from({ length: harts }, () => new RecordedHart());
  const deadlines: [number, number][] = [];
  const aclint = new Aclint({ clock, harts: lines, deadlineChanged: (hart, ticks) => deadlines.push([hart, ticks]) });
  const bus = new Bus();
  bus.map(0x200_0000, 0x1_0000, aclint);
  return { clock, lines, deadlines, aclint, bus };
}

test('MSIP drives the machine software interrupt of its hart', () => {
  const { lines, bus } = setUp();
  bus.write(0x200_0004, 4, 0xffff_ffffn);
  assert.equal(bus.read(0x200_0004, 4), 1n);
  assert.equal(lines[0]!.mip, 0);
  assert.equal(lines[1]!.mip, 1 << MIP.MSIP);
  bus.write(0x200_0004, 4, 0n);
  assert.equal(lines[1]!.mip, 0);
  bus.write(0x200_0008, 4, 1n);
  assert.equal(bus.read(0x200_0008, 4), 0n, 'there is no hart 2');
});

test('MTIMECMP: the deadline is told, the interrupt comes with update() and goes with a later deadline', () => {
  const { clock, lines, deadlines, aclint, bus } = setUp();
  assert.equal(aclint.nextDeadline(), Infinity);
  bus.write(0x200_4008, 8, 1500n);
  assert.equal(aclint.nextDeadline(), 1500);
  assert.equal(aclint.deadline(1), 1500);
  assert.deepEqual(deadlines.at(-1), [1, 1500]);
  clock.now = 1499;
  aclint.update();
  assert.equal(lines[1]!.mip, 0);
  clock.now = 1500;
  aclint.update();
  assert.equal(lines[1]!.mip, 1 << MIP.MTIP);
  assert.equal(aclint.nextDeadline(), Infinity, 'has fired');
  bus.write(0x200_4008, 8, 2000n);
  assert.equal(lines[1]!.mip, 0);
  assert.equal(aclint.nextDeadline(), 2000);
  bus.write(0x200_4008, 8, 3n);
  assert.equal(lines[1]!.mip, 1 << MIP.MTIP, 'a past deadline fires at once');
});

test('MTIMECMP keeps 64 bits; far deadlines are never', () => {
  const { deadlines, aclint, bus } = setUp();
  bus.write(0x200_4000, 8, 2n ** 64n - 1n);
  assert.equal(bus.read(0x200_4000, 8), 2n ** 64n - 1n);
  assert.equal(aclint.deadline(0), Infinity);
  assert.deepEqual(deadlines.at(-1), [0, Infinity]);
  bus.write(0x200_4000, 8, 2n ** 40n + 5n);
  assert.equal(aclint.deadline(0), 2 ** 40 + 5);
});

test('MTIME reads and sets the clock in both halves', () => {
  const { clock, lines, aclint, bus } = setUp();
  clock.now = 5 * 2 ** 32 + 7;
  assert.equal(bus.read(0x200_bff8, 8), 0x5_0000_0007n);
  bus.write(0x200_4000, 8, 0x9_0000_0000n);
  bus.write(0x200_bff8, 8, 0x9_0000_0001n);
  assert.equal(clock.now, 9 * 2 ** 32 + 1);
  assert.equal(lines[0]!.isPending(MIP.MTIP), true);
  assert.equal(aclint.nextDeadline(), Infinity);
});

test('host clock: 10 MHz from a millisecond clock, without the time it was halted', () => {
  let ms = 50;
  const clock = HostClock.start(() => ms);
  assert.equal(clock.ticks(), 0);
  ms = 51.00015;
  assert.equal(clock.ticks(), 10_001);
  clock.halt();
  ms = 1000;
  assert.equal(clock.ticks(), 10_001);
  clock.resume();
  ms = 1001;
  assert.equal(clock.ticks(), 20_001);
  assert.equal(clock.msUntil(30_001), 1);
  assert.equal(clock.msUntil(5), 0);
  assert.equal(clock.msUntil(Infinity), Infinity);
});
