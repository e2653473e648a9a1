import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GoldfishRtc } from '../../src/devices/goldfish-rtc.ts';
import { HostTarget } from '../../src/devices/htif.ts';
import { virtioSlot } from '../../src/devices/map.ts';
import { type Finish, TestFinisher } from '../../src/devices/test-finisher.ts';
import { ArrayRam } from './array-ram.ts';
import { RecordedLine } from './lines.ts';

test('test finisher: pass, fail with a code, reset, and nothing else', () => {
  const ends: Finish[] = [];
  const device = new TestFinisher((finish) => ends.push(finish));
  device.write(0, 4, 0x1234);
  device.write(4, 4, 0x5555);
  device.write(0, 1, 0x55);
  assert.deepEqual(ends, []);
  device.write(0, 4, 0x5555);
  device.write(0, 4, 0x002a_3333);
  device.write(0, 4, 0x7777);
  device.write(0, 2, 0x5555);
  assert.deepEqual(ends, [{ kind: 'pass' }, { kind: 'fail', code: 42 }, { kind: 'reset' }, { kind: 'pass' }]);
  assert.equal(device.read(0, 4), 0);
});

test('goldfish rtc: reading the low half latches the high one', () => {
  let now = 0x1_ffff_ffffn;
  const rtc = new GoldfishRtc(() => now, new RecordedLine());
  assert.equal(rtc.read(0, 4), 0xffff_ffff);
  now += 1n;
  assert.equal(rtc.read(4, 4), 1);
  assert.equal(rtc.read(0, 4), 0);
  assert.equal(rtc.read(4, 4), 2);
});

test('goldfish rtc: the guest sets its own time', () => {
  let now = 1000n;
  const rtc = new GoldfishRtc(() => now, new RecordedLine());
  rtc.write(4, 4, 3);
  rtc.write(0, 4, 7);
  now += 5n;
  assert.equal(rtc.read(0, 4), 12);
  assert.equal(rtc.read(4, 4), 3);
});

test('goldfish rtc: the alarm fires once, if interrupts are on', () => {
  let now = 1_000_000_000n;
  const irq = new RecordedLine();
  const rtc = new GoldfishRtc(() => now, irq);
  assert.equal(rtc.msToAlarm(), Infinity);
  rtc.write(0x10, 4, 1);
  rtc.write(0x0c, 4, 0);
  rtc.write(0x08, 4, 1_500_000_000);
  assert.equal(rtc.read(0x18, 4), 1);
  assert.equal(rtc.msToAlarm(), 500);
  rtc.update();
  assert.equal(irq.level, false);
  now = 1_500_000_000n;
  rtc.update();
  assert.equal(irq.level, true);
  assert.equal(rtc.read(0x18, 4), 0);
  rtc.write(0x1c, 4, 1);
  assert.equal(irq.level, false);
  rtc.write(0x08, 4, 1_600_000_000);
  rtc.write(0x14, 4, 1);
  now = 2_000_000_000n;
  rtc.update();
  assert.equal(irq.level, false);
  assert.equal(rtc.msToAlarm(), Infinity);
});

test('the map has 8 virtio slots', () => {
  assert.deepEqual(virtioSlot(7), { base: 0x1000_8000, size: 0x1000, irq: 8 });
  assert.throws(() => virtioSlot(8), /slot 8/);
});

function hostTarget(input: number[] = []) {
  const ram = new ArrayRam(0x4000);
  const out: number[] = [];
  const errors: Error[] = [];
  const tohost = ram.base + 0x1000;
  const fromhost = ram.base + 0x1040;
  const target = new HostTarget({
    ram,
    tohost,
    fromhost,
    output: (bytes) => out.push(...bytes),
    input: () => input.shift(),
    log: (error) => errors.push(error),
  });
  return { ram, out, errors, tohost, fromhost, target };
}

test('host-target interface: odd values end the program', () => {
  for (const [value, status] of [
    [1n, 0],
    [3n, 1],
    [(1337n << 1n) | 1n, 1337],
  ] as const) {
    const { ram, tohost, target } = hostTarget();
    assert.equal(target.poll(), undefined);
    ram.writeU64(tohost, value);
    assert.equal(target.poll(), status);
  }
});

test('host-target interface: characters out and in', () => {
  const { ram, out, tohost, fromhost, target } = hostTarget([0x41]);
  ram.writeU64(tohost, 0x0101_0000_0000_0058n);
  assert.equal(target.poll(), undefined);
  assert.deepEqual(out, [0x58]);
  assert.equal(ram.readU64(tohost), 0n);
  assert.equal(ram.readU64(fromhost), 0x0101_0000_0000_0000n);
  ram.writeU64(tohost, 0x0100_0000_0000_0000n);
  target.poll();
  assert.equal(ram.readU64(fromhost), 0x0100_0000_0000_0041n);
});

test('host-target interface: the write and exit calls; bad pointers are survived', () => {
  const { ram, out, errors, tohost, fromhost, target } = hostTarget();
  const block = ram.base + 0x2000;
  ram.write(ram.base + 0x3000, new TextEncoder().encode('hi'));
  for (const [i, word] of [64n, 1n, BigInt(ram.base + 0x3000), 2n].entries()) ram.writeU64(block + 8 * i, word);
  ram.writeU64(tohost, BigInt(block));
  assert.equal(target.poll(), undefined);
  assert.deepEqual(out, [0x68, 0x69]);
  assert.equal(ram.readU64(block), 2n);
  assert.equal(ram.readU64(fromhost), 1n);
  ram.writeU64(block, 64n);
  ram.writeU64(block + 16, 0xffff_ffff_ffff_0000n);
  ram.writeU64(tohost, BigInt(block));
  target.poll();
  assert.equal(BigInt.asIntN(64, ram.readU64(block)), -14n);
  ram.writeU64(tohost, 0x40n);
  target.poll();
  assert.match(errors[0]!.message, /not in the guest's memory/);
  ram.writeU64(block, 93n);
  ram.writeU64(block + 8, 5n);
  ram.writeU64(tohost, BigInt(block));
  assert.equal(target.poll(), 5);
});
