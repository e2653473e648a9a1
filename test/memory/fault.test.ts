import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkMemory } from '../../src/memory/check.ts';
import { GuestAddressError, GuestStoppedError, MemoryError, SwapReadError } from '../../src/memory/errors.ts';
import { setFrameFlag } from '../../src/memory/frames.ts';
import { createGuest, Guest } from '../../src/memory/guest.ts';
import {
  GUEST_RAM_BASE as BASE,
  FRAME_CODE,
  HART_FLUSH_PARTS,
  HART_FLUSH_PARTS_BYTE,
  HART_FLUSH_WRITING,
  HART_REQUEST_CONTROL,
  HART_REQUEST_INTERRUPT,
  PAGE_SIZE,
} from '../../src/memory/layout.ts';
import {
  COUNT_RESIDENT,
  COUNT_SWAP_INS,
  COUNT_SWAPPED,
  COUNT_ZERO_FILLS,
  GUEST_BLOCKED,
} from '../../src/memory/layout-guest.ts';
import type { MachineMemory } from '../../src/memory/machine-memory.ts';
import { loadEntry, payloadOf } from '../../src/memory/npt.ts';
import { Reclaimer } from '../../src/memory/reclaim.ts';
import { removeGuest } from '../../src/memory/removal.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { awaitShootdown, type FlushPart, HartControl, lateHart, requestShootdown } from '../../src/memory/shootdown.ts';
import { Transit } from '../../src/memory/transit.ts';
import { TestHart, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

/** A guest with one hart that runs. */
function start(memory: MachineMemory, pages: number, store = new TestStore()): TestHart {
  const { slot } = createGuest(memory, { name: 'g', memoryBytes: pages * PAGE_SIZE, minimumBytes: 0 });
  const hart = new TestHart(memory, slot, 0, store);
  hart.control.unpark();
  return hart;
}

/** Pages everything of a guest out. */
function pageOut(memory: MachineMemory, hart: TestHart, store: TestStore): void {
  const transit = new Transit(memory, (error) => assert.fail(error));
  const sharing = new Sharing(memory, transit, Math.random, () => 0);
  hart.control.park();
  new Reclaimer(memory, transit, sharing, store).take(hart.guest, 1000, true, () => false);
  hart.control.unpark();
}

test('an untouched page costs nothing, and gets a frame when it is written', () => {
  const memory = smallMemory(4);
  const hart = start(memory, 4);
  assert.equal(hart.memory.readU32(BASE), 0);
  assert.equal(hart.translate(1, false), memory.zeroFrame * PAGE_SIZE);
  assert.equal(memory.freeFrames, 4);
  hart.memory.writeU32(BASE + 4, 0x12345678);
  assert.equal(hart.memory.readU32(BASE + 4), 0x12345678);
  assert.equal(memory.freeFrames, 3);
  assert.equal(hart.guest.get(COUNT_ZERO_FILLS), 1);
  assert.equal(hart.guest.get(COUNT_RESIDENT), 1);
});

test('a frame is cleared before another guest gets it', () => {
  const memory = smallMemory(1);
  const first = start(memory, 1);
  first.memory.write(BASE, pageOf(0x5a));
  first.control.park();
  first.guest.end();
  removeGuest(first.guest);
  const second = start(memory, 1);
  second.memory.writeU16(BASE, 1);
  const page = new Uint8Array(PAGE_SIZE);
  second.memory.read(BASE, page);
  assert.ok(page.subarray(2).every((byte) => byte === 0));
});

test('every width, aligned and not, within a page and across two', () => {
  const { memory } = start(smallMemory(4), 3);
  const edge = BASE + PAGE_SIZE;
  for (const gpa of [BASE + 8, edge - 1, edge - 2, edge - 3, edge - 4, edge - 7]) {
    memory.writeU16(gpa, 0xbeef);
    assert.equal(memory.readU16(gpa), 0xbeef);
    memory.writeU32(gpa, 0xfedcba98);
    assert.equal(memory.readU32(gpa), 0xfedcba98);
    memory.writeU64(gpa, 0x8000_0001_ffff_fffen);
    assert.equal(memory.readU64(gpa), 0x8000_0001_ffff_fffen);
    const bytes = new Uint8Array(8);
    memory.read(gpa, bytes);
    assert.deepEqual([...bytes], [0xfe, 0xff, 0xff, 0xff, 1, 0, 0, 0x80]);
  }
  memory.fill(edge - 5, 10, 7);
  const around = new Uint8Array(12);
  memory.read(edge - 6, around);
  assert.deepEqual([...around.subarray(1, 11)], Array(10).fill(7));
  assert.notEqual(around[11], 7);
});

test('nothing outside of the RAM is touched, and the error says what was asked for', () => {
  const { memory, faults } = start(smallMemory(4), 2);
  const end = BASE + 2 * PAGE_SIZE;
  assert.ok(memory.contains(end - 4, 4) && !memory.contains(end - 4, 5) && !memory.contains(BASE - 1, 1));
  memory.write(end - 4, new Uint8Array(4).fill(1));
  assert.throws(() => memory.write(end - 4, new Uint8Array(8).fill(9)), {
    name: 'GuestAddressError',
    gpa: end - 4,
    length: 8,
    message: /guest g: 8 bytes at guest-physical 0x80001ffc are not in its RAM/,
  });
  assert.equal(memory.readU32(end - 4), 0x01010101);
  for (const access of [
    () => memory.readU64(end - 4),
    () => memory.readU32(BASE - 4),
    () => memory.read(0, new Uint8Array(1)),
    () => memory.fill(end, 1, 0),
    () => memory.discard(1, 2),
    () => memory.discard(-1, 1),
    () => memory.discard(0.5, 1),
    () => faults.fault(2, true),
    () => faults.fault(-1, false),
  ]) {
    assert.throws(access, GuestAddressError);
  }
});

test('a parked hart has no memory', () => {
  const { memory, control } = start(smallMemory(4), 2);
  control.park();
  assert.throws(() => memory.readU16(BASE), MemoryError);
  control.unpark();
  assert.equal(memory.readU16(BASE), 0);
});

test('writes to frames with decoded code are announced', () => {
  const machine = smallMemory(4);
  const { memory, guest } = start(machine, 2);
  const seen: number[][] = [];
  memory.onWrite = (mfn, offset, length) => seen.push([mfn, offset, length]);
  memory.writeU32(BASE, 1);
  assert.deepEqual(seen, []);
  const mfn = payloadOf(loadEntry(guest, 0));
  setFrameFlag(machine, mfn, FRAME_CODE);
  memory.writeU32(BASE + 12, 1);
  memory.write(BASE + PAGE_SIZE - 3, new Uint8Array(6));
  assert.deepEqual(seen, [
    [mfn, 12, 4],
    [mfn, PAGE_SIZE - 3, 3],
  ]);
});

test('pages come back from swap, written whole they are not read', () => {
  const machine = smallMemory(4, 32, 8);
  const store = new TestStore();
  const hart = start(machine, 3, store);
  hart.memory.write(BASE, pageOf(1));
  hart.memory.write(BASE + PAGE_SIZE, pageOf(2));
  pageOut(machine, hart, store);
  assert.deepEqual([machine.freeFrames, hart.guest.get(COUNT_SWAPPED), store.writes], [4, 2, 2]);
  assert.equal(hart.memory.readU16(BASE), 0x0101);
  assert.deepEqual([store.reads, hart.guest.get(COUNT_SWAP_INS)], [1, 1]);
  hart.memory.write(BASE + PAGE_SIZE, pageOf(3));
  assert.equal(store.reads, 1);
  assert.equal(hart.memory.readU16(BASE + PAGE_SIZE), 0x0303);
  // What was only read has its slot still, and goes back without a write.
  pageOut(machine, hart, store);
  assert.equal(store.writes, 3);
  checkMemory(machine);
});

test('a read error loses nothing: the access can be tried again', () => {
  const machine = smallMemory(4, 32, 8);
  const store = new TestStore();
  const hart = start(machine, 3, store);
  hart.memory.write(BASE, pageOf(1));
  pageOut(machine, hart, store);
  store.failReads.push(new Error('EIO: i/o error'));
  assert.throws(
    () => hart.memory.readU16(BASE),
    (error: Error) => {
      assert.ok(error instanceof SwapReadError);
      assert.match(error.message, /guest g: page 0 could not be read from swap slot 0: EIO/);
      return true;
    },
  );
  checkMemory(machine);
  assert.equal(hart.memory.readU16(BASE), 0x0101);
});

test('a hart that waits for memory ends with its guest', () => {
  const machine = smallMemory(1);
  const hart = start(machine, 2);
  hart.memory.writeU16(BASE, 1);
  hart.guest.stop();
  assert.throws(() => hart.memory.writeU16(BASE + PAGE_SIZE, 1), GuestStoppedError);
  hart.guest.set(GUEST_BLOCKED, 1);
  assert.equal(hart.memory.readU16(BASE), 1);
  checkMemory(machine);
});

test('a hart that does not answer is named; a parked one has answered', () => {
  const machine = smallMemory(4);
  const { slot } = createGuest(machine, { name: 'deaf', memoryBytes: PAGE_SIZE, harts: 2, minimumBytes: 0 });
  const harts = [0, 1].map((hart) => new TestHart(machine, slot, hart, new TestStore()));
  const guest = Guest.attach(machine, slot);
  const numbers = new Int32Array(64);
  requestShootdown(guest, numbers);
  awaitShootdown(guest, numbers);
  harts[1]!.control.unpark();
  requestShootdown(guest, numbers);
  assert.throws(() => awaitShootdown(guest, numbers, guest.allHarts, 5), {
    name: 'ShootdownTimeoutError',
    hart: 1,
    message: /hart 1 of guest deaf has not acknowledged/,
  });
  assert.equal(lateHart(guest, numbers, [0]), -1);
  harts[1]!.control.poll();
  awaitShootdown(guest, numbers, guest.allHarts, 5);
  guest.request(HART_REQUEST_CONTROL);
  guest.request(HART_REQUEST_INTERRUPT);
  requestShootdown(guest, numbers);
  assert.equal(harts[1]!.control.takeRequests(), HART_REQUEST_CONTROL | HART_REQUEST_INTERRUPT);
  assert.equal(lateHart(guest, numbers), -1);
  assert.equal(harts[1]!.control.takeRequests(), 0);
});

test('a shootdown of a part takes away that part; what is not known to be a part takes everything', () => {
  const machine = smallMemory(4);
  const { slot } = createGuest(machine, { name: 'parts', memoryBytes: PAGE_SIZE, harts: 2, minimumBytes: 0 });
  const guest = Guest.attach(machine, slot);
  const seen: unknown[] = [];
  const control = new HartControl(guest, 1, {
    flush: () => seen.push('all'),
    forgetFrames: (frames) => seen.push({ frames }),
    forgetPart: (part) => seen.push(part),
  });
  control.unpark();
  const numbers = new Int32Array(64);
  const served = (): unknown[] => {
    control.poll();
    assert.equal(lateHart(guest, numbers, [1]), -1);
    return seen.splice(0);
  };
  const part = (i: number): FlushPart => [i + 1, ~i, i << 20];
  requestShootdown(guest, numbers, [1], part(1));
  requestShootdown(guest, numbers, [1], part(2));
  assert.deepEqual(served(), [part(1), part(2)]);
  requestShootdown(guest, numbers, [1], part(3));
  requestShootdown(guest, numbers, [1]);
  requestShootdown(guest, numbers, [1], [0, 5, 0]);
  assert.deepEqual(served(), [part(3), { frames: undefined }, { frames: [5] }]);
  for (let i = 0; i < HART_FLUSH_PARTS; i++) requestShootdown(guest, numbers, [1], part(i));
  assert.deepEqual(
    served(),
    Array.from({ length: HART_FLUSH_PARTS }, (_, i) => part(i)),
  );
  for (let i = 0; i <= HART_FLUSH_PARTS; i++) requestShootdown(guest, numbers, [1], part(i));
  assert.deepEqual(served(), ['all']);
  // Somebody has begun to write to the entry and was not executed since.
  const next = (numbers[1]! + 1) & (HART_FLUSH_PARTS - 1);
  const entry = (guest.hartArea(1) + HART_FLUSH_PARTS_BYTE) / 4 + next * 4;
  Atomics.store(machine.i32, entry, HART_FLUSH_WRITING);
  requestShootdown(guest, numbers, [1], part(5));
  assert.deepEqual(served(), ['all']);
  control.park();
  requestShootdown(guest, numbers, [1], part(6));
  assert.equal(lateHart(guest, numbers, [1]), -1);
  control.unpark();
  assert.deepEqual(seen, [part(6)]);
});

test('a flush happens when a sleeping hart wakes, and only if it was asked for', () => {
  const machine = smallMemory(4);
  const hart = start(machine, 1);
  const before = hart.translate(0, false);
  hart.control.park();
  hart.control.park();
  hart.control.unpark();
  assert.ok(hart.control.parked);
  hart.control.unpark();
  assert.equal(hart.translate(0, false), before);
  hart.control.park();
  const numbers = new Int32Array(64);
  requestShootdown(hart.guest, numbers);
  awaitShootdown(hart.guest, numbers, hart.guest.allHarts, 5);
  // The entry changes while the hart sleeps; what it has cached must not be used afterwards.
  hart.control.unpark();
  hart.memory.writeU16(BASE, 1);
  assert.notEqual(hart.translate(0, false), before);
});

test('guests are made within limits, and their names are kept', () => {
  const machine = smallMemory(4, 16);
  const options = { name: 'zwölf', memoryBytes: 4 * PAGE_SIZE };
  assert.equal(createGuest(machine, options).name, 'zwölf');
  assert.throws(() => createGuest(machine, { ...options, memoryBytes: 0 }), /memory of 0 bytes/);
  assert.throws(() => createGuest(machine, { ...options, memoryBytes: 5000 }), /multiple of 4096/);
  assert.throws(() => createGuest(machine, { ...options, harts: 0 }), /0 harts; give 1 to 64/);
  assert.throws(() => createGuest(machine, { ...options, shares: -1 }), /-1 shares/);
  assert.throws(() => createGuest(machine, { ...options, minimumBytes: 1 << 20 }), /minimum of 1048576/);
  assert.throws(() => createGuest(machine, { ...options, hartBytes: 1 << 20 }), /zwölf: the area of hart 0 needs/);
  checkMemory(machine);
  assert.throws(() => Guest.attach(machine, 3), /no guest in slot 3/);
  assert.equal(createGuest(machine, { ...options, name: 'x'.repeat(500) }).name.length, 128);
});
