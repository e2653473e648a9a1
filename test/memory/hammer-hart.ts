/**
 * A hart for the shootdown hammer: a worker thread that reads and writes pages of its guest through a TLB of its own and
 * knows what each must hold. It acknowledges shootdowns only where a real hart does: between instructions.
 */

import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { Mailbox, MailboxServer, type Services } from '../../src/machine/mailbox.ts';
import { DiskMap } from '../../src/memory/disk-map.ts';
import {
  GUEST_RAM_BASE,
  HART_REQUEST_CONTROL,
  HART_REQUEST_SERVICE,
  PAGE_SIZE,
  PAGE_WORDS,
} from '../../src/memory/layout.ts';
import {
  BALLOON_DRIVER,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_FLAGS,
  GUEST_BALLOON_TARGET,
  GUEST_RUNNING,
  GUEST_STATE,
} from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { TestDisk, TestHart } from './model.ts';
import { SharedStore } from './shared-store.ts';

/** What a hart is started with. */
export interface HammerOptions {
  buffer: SharedArrayBuffer;
  swap: SharedArrayBuffer;
  slot: number;
  hart: number;
  /** Pages that this hart alone writes to: from `first`, `count` of them. */
  first: number;
  count: number;
  /** Pages from 0 on that all harts write to: each raises a word of its own, and sees that no other one ever falls. */
  shared: number;
  harts: number;
  seed: number;
}

/** Blocks of each guest's disk. */
const DISK_BLOCKS = 256;

const options = workerData as HammerOptions;
const memory = MachineMemory.attach(options.buffer, options.slot + 1);
const hart: TestHart = new TestHart(
  memory,
  options.slot,
  options.hart,
  new SharedStore(options.swap),
  options.hart === 0 ? undefined : (gfn) => mailbox.bringIn(gfn),
);
const { guest, control } = hart;
const mailbox = new Mailbox(control);
const { i32 } = memory;

/** The disk, which the first hart's thread has; what its blocks hold. */
const disk = new TestDisk(DISK_BLOCKS);
const blocks = Array.from({ length: DISK_BLOCKS }, () => ({ filling: 0, mark: 0 }));
disk.bytes.fill(0);
const watch = options.hart === 0 ? new DiskMap(hart.faults, [disk]).watch(0) : undefined;
const server = new MailboxServer(guest, {
  ...new Mailbox(control),
  bringIn: (gfn: number) => hart.faults.fault(gfn, false),
} as Services);

/** What each page holds: every word is `fillings`, but the first, which is `marks`. */
const fillings = new Int32Array(options.count);
const marks = new Int32Array(options.count);
/** Pages at the end of this hart's part that are in the balloon. */
let ballooned = 0;
/** By shared page and hart: what the word was when this hart last looked. */
const counters = Array.from({ length: options.shared }, () => new Int32Array(options.harts));
let operations = 0;
let seed = options.seed;

function random(n: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
  return (seed >>> 8) % n;
}

/** Word position of a page, for one "instruction". */
function page(index: number, write: boolean): number {
  return hart.translate(options.first + index, write, random(2)) / 4;
}

function check(index: number): void {
  const first = i32[page(index, false)];
  assert.equal(first, marks[index], `first word of page ${options.first + index} of guest ${guest.name}`);
  poll();
  for (let part = 0; part < 2; part++) {
    const start = page(index, false);
    for (let i = part === 0 ? 1 : PAGE_WORDS / 2; i < (part === 0 ? PAGE_WORDS / 2 : PAGE_WORDS); i++) {
      if (i32[start + i] !== fillings[index]) {
        assert.fail(
          `word ${i} of page ${options.first + index} of guest ${guest.name} is ${i32[start + i]}, not ${fillings[index]}`,
        );
      }
    }
    poll();
  }
}

function fill(index: number): void {
  // Few patterns, so that many pages of all guests are alike; zeros among them.
  const filling = random(4) * 0x01010101;
  if (random(2) === 0) {
    // Word by word, as the engine stores, from anywhere on.
    const start = random(PAGE_WORDS);
    for (let i = 0; i < PAGE_WORDS; i++) {
      store(options.first + index, (start + i) % PAGE_WORDS, filling);
      if (i % 100 === 0) poll();
    }
  } else {
    const half = PAGE_WORDS / 2;
    for (let part = 0; part < 2; part++) {
      const start = page(index, true) + part * half;
      i32.fill(filling, start, start + half);
      poll();
    }
  }
  fillings[index] = filling;
  marks[index] = filling;
}

/** A store that need not be to a page that is there. */
function store(gfn: number, word: number, value: number): void {
  i32[hart.storeAddress(gfn, word * 4) / 4] = value;
  hart.storeMade(4);
}

function mark(index: number): void {
  marks[index] = random(1 << 30);
  i32[page(index, true)] = marks[index]!;
}

function dma(index: number): void {
  const gpa = GUEST_RAM_BASE + (options.first + index) * PAGE_SIZE;
  if (random(2) === 0) {
    const target = new Int32Array(PAGE_WORDS);
    hart.memory.read(gpa, new Uint8Array(target.buffer));
    assert.equal(target[0], marks[index], 'DMA read');
    assert.ok(target.subarray(1).every((word) => word === fillings[index]));
  } else {
    const filling = random(3);
    hart.memory.write(gpa, new Uint8Array(new Int32Array(PAGE_WORDS).fill(filling).buffer));
    fillings[index] = filling;
    marks[index] = filling;
  }
}

/** The first hart's disk writes a page, or reads one. */
function useDisk(index: number): void {
  if (watch === undefined) return;
  const place = random(DISK_BLOCKS);
  const isShared = options.shared > 0 && random(2) === 0;
  const gfn = isShared ? random(options.shared) : options.first + index;
  const gpa = GUEST_RAM_BASE + gfn * PAGE_SIZE;
  const bytes = disk.bytes.subarray(place * PAGE_SIZE, (place + 1) * PAGE_SIZE);
  if (isShared || random(2) === 0) {
    watch.changing(place * PAGE_SIZE, PAGE_SIZE);
    hart.memory.read(gpa, bytes);
    // The others go on writing to shared pages; what has no pattern is not read again.
    blocks[place] = isShared ? { filling: -1, mark: -1 } : { filling: fillings[index]!, mark: marks[index]! };
  } else {
    const { filling, mark } = blocks[place]!;
    if (filling === -1) return;
    hart.memory.write(gpa, bytes);
    fillings[index] = filling;
    marks[index] = mark;
  }
  watch.same(gpa, place * PAGE_SIZE, bytes.slice());
}

function discard(index: number, count: number): void {
  hart.memory.discard(options.first + index, count, false);
  fillings.fill(0, index, index + count);
  marks.fill(0, index, index + count);
}

/** Only one hart of a guest drives the balloon. */
function moveBalloon(): void {
  const target = Math.min(guest.get(GUEST_BALLOON_TARGET), options.count - 8);
  if (target > ballooned) {
    hart.memory.discard(options.first + options.count - target, target - ballooned, true);
    fillings.fill(0, options.count - target, options.count - ballooned);
    marks.fill(0, options.count - target, options.count - ballooned);
  }
  ballooned = target;
  guest.set(GUEST_BALLOON_ACTUAL, target);
}

function poll(): void {
  const requests = control.takeRequests();
  if (options.hart !== 0) return;
  if ((requests & HART_REQUEST_CONTROL) !== 0) balloonAsked = true;
  if ((requests & HART_REQUEST_SERVICE) !== 0) server.serve();
}
let balloonAsked = false;

function count(): void {
  const gfn = random(options.shared);
  const seen = counters[gfn]!;
  store(gfn, options.hart, ++seen[options.hart]!);
  if (random(2) === 0) return;
  poll();
  const word = hart.translate(gfn, false, random(2)) / 4;
  for (const [other, before] of seen.entries()) {
    const now = i32[word + other]!;
    assert.ok(
      other === options.hart ? now === before : now >= before,
      `word ${other} of page ${gfn}: ${before}, ${now}`,
    );
    seen[other] = now;
  }
}

function operate(): void {
  const index = random(options.count - ballooned);
  switch (random(16)) {
    case 0:
    case 1:
      fill(index);
      break;
    case 2:
    case 3:
    case 4:
      mark(index);
      break;
    case 5:
      dma(index);
      break;
    case 6:
      if (random(8) === 0) {
        discard(index, Math.min(1 + random(6), options.count - index));
      }
      break;
    case 7:
      if (random(64) === 0) {
        control.park();
        Atomics.wait(i32, guest.block + 900, 0, 2);
        control.unpark();
      }
      break;
    case 8:
      useDisk(index);
      break;
    default:
      check(index);
  }
  // Mostly not, so that the pages are paged.
  if (options.shared > 0 && random(8) === 0) {
    count();
  }
  operations++;
}

let failure = '';
control.unpark();
try {
  if (options.hart === 0) {
    guest.set(GUEST_BALLOON_FLAGS, BALLOON_DRIVER);
  }
  while (guest.get(GUEST_STATE) === GUEST_RUNNING) {
    operate();
    poll();
    if (balloonAsked) {
      balloonAsked = false;
      moveBalloon();
    }
  }
} catch (error) {
  // A hart that waits for memory when its guest is stopped.
  if ((error as Error).name !== 'GuestStoppedError') {
    failure = (error as Error).stack ?? String(error);
  }
}
control.park();
parentPort!.postMessage({ operations, failure });
