import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkMemory } from '../../src/memory/check.ts';
import { HeapFullError, MemoryError, SwapFullError } from '../../src/memory/errors.ts';
import {
  allocateFrame,
  frameFlag,
  frameGeneration,
  frameReferences,
  referenceFrame,
  releaseFrame,
  setFrameFlag,
} from '../../src/memory/frames.ts';
import { allocateHeap, freeHeap } from '../../src/memory/heap.ts';
import { FRAME_CODE, HEADER_HEAP_FREE, HEADER_RESERVE, PAGE_SIZE } from '../../src/memory/layout.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import {
  allocateDiskSlot,
  allocateSlot,
  associateSlot,
  createSwap,
  frameSlot,
  freeSlots,
  referenceSlot,
  releaseSlot,
  slotFrame,
  slotReferences,
  spoilSlot,
} from '../../src/memory/swap.ts';
import { smallMemory } from './small.ts';

test('a memory is formatted once, in pages, with room for frames', () => {
  assert.throws(() => MachineMemory.attach(new SharedArrayBuffer(PAGE_SIZE), 1), /not formatted/);
  assert.throws(() => MachineMemory.format(new SharedArrayBuffer(PAGE_SIZE * 16 + 1)), /multiple of 4096/);
  assert.throws(() => MachineMemory.format(new SharedArrayBuffer(1 << 20)), /leaves no frame/);
  const memory = smallMemory(10);
  assert.throws(() => MachineMemory.format(memory.buffer), /formatted already/);
  const other = MachineMemory.attach(memory.buffer, 7);
  assert.deepEqual([other.guestFrames, other.freeFrames, other.zeroFrame], [10, 10, memory.zeroFrame]);
  checkMemory(memory);
});

test('by default a sixteenth of the memory is heap, and a few frames are a reserve', () => {
  const memory = MachineMemory.format(new SharedArrayBuffer(256 << 20));
  assert.equal(memory.heapPages, 4096);
  assert.equal(memory.i32[HEADER_RESERVE], 128);
  assert.ok(memory.guestFrames > 65536 - 4096 - 260);
});

test('frames are allocated once, counted, and freed by the last reference', () => {
  const memory = smallMemory(3);
  const frames = [allocateFrame(memory), allocateFrame(memory), allocateFrame(memory)];
  assert.equal(new Set(frames).size, 3);
  assert.ok(!frames.includes(0) && !frames.includes(memory.zeroFrame));
  assert.equal(allocateFrame(memory), 0);
  const [mfn] = frames as [number];
  referenceFrame(memory, mfn);
  assert.equal(frameReferences(memory, mfn), 2);
  assert.equal(releaseFrame(memory, mfn), false);
  setFrameFlag(memory, mfn, FRAME_CODE);
  const generation = frameGeneration(memory, mfn);
  assert.equal(releaseFrame(memory, mfn), true);
  assert.notEqual(frameGeneration(memory, mfn), generation);
  assert.equal(memory.freeFrames, 1);
  assert.throws(() => releaseFrame(memory, mfn), /free already/);
  assert.throws(() => referenceFrame(memory, mfn), /can't be referenced/);
  assert.equal(allocateFrame(memory), mfn);
  assert.equal(frameFlag(memory, mfn, FRAME_CODE), false);
});

test('property: the lists of free frames and of slots of disks hold each once, whatever is taken and given back', () => {
  const each = fc.record({ frame: fc.boolean(), give: fc.nat(15) });
  fc.assert(
    fc.property(fc.array(each, { maxLength: 60 }), (steps) => {
      const memory = smallMemory(6, 32, 5, 0, 4);
      const taken: Record<'frame' | 'slot', number[]> = { frame: [], slot: [] };
      for (const { frame, give } of steps) {
        const list = frame ? taken.frame : taken.slot;
        const [number] = list.splice(give, 1);
        if (number !== undefined) {
          if (frame) releaseFrame(memory, number);
          else releaseSlot(memory, number);
          continue;
        }
        const next = frame ? allocateFrame(memory) : allocateDiskSlot(memory, 1);
        const none = frame ? 0 : -1;
        assert.equal(next === none, list.length === (frame ? 6 : 4));
        if (next === none) continue;
        assert.ok(!list.includes(next));
        list.push(next);
      }
      assert.equal(memory.freeFrames, 6 - taken.frame.length);
      for (const mfn of taken.frame) releaseFrame(memory, mfn);
      for (const slot of taken.slot) releaseSlot(memory, slot);
      checkMemory(memory);
    }),
  );
});

test('the reference count has no 16-bit limit', () => {
  const memory = smallMemory(1);
  const mfn = allocateFrame(memory);
  for (let i = 0; i < 100_000; i++) {
    referenceFrame(memory, mfn);
  }
  assert.equal(frameReferences(memory, mfn), 100_001);
});

test('only the manager takes the reserve', () => {
  const memory = smallMemory(3, 32, 0, 2);
  assert.notEqual(allocateFrame(memory), 0);
  assert.equal(allocateFrame(memory), 0);
  assert.notEqual(allocateFrame(memory, true), 0);
  assert.notEqual(allocateFrame(memory, true), 0);
  assert.equal(allocateFrame(memory, true), 0);
});

test('the heap gives zeroed runs, takes them back and merges them', () => {
  const memory = smallMemory(2, 16);
  const free = memory.i32[HEADER_HEAP_FREE]!;
  const first = allocateHeap(memory, 3 * PAGE_SIZE, 'one');
  const second = allocateHeap(memory, 1, 'two');
  assert.equal(first % PAGE_SIZE, 0);
  memory.u8.fill(0xaa, first, first + 3 * PAGE_SIZE);
  freeHeap(memory, first);
  const again = allocateHeap(memory, 2 * PAGE_SIZE, 'three');
  assert.equal(again, first);
  assert.ok(memory.u8.subarray(again, again + 2 * PAGE_SIZE).every((byte) => byte === 0));
  assert.throws(() => freeHeap(memory, again + PAGE_SIZE), MemoryError);
  assert.throws(
    () => allocateHeap(memory, 100 * PAGE_SIZE, 'guest g: the table'),
    (error: Error) => {
      assert.ok(error instanceof HeapFullError);
      assert.match(error.message, /guest g: the table needs 100 contiguous pages .* 12 of 16 free/);
      return true;
    },
  );
  freeHeap(memory, again);
  freeHeap(memory, second);
  assert.throws(() => freeHeap(memory, second), MemoryError);
  checkMemory(memory);
  allocateHeap(memory, (free - 1) * PAGE_SIZE, 'nearly all');
});

test('the heap clears what was used before, and leaves alone what never was', () => {
  const memory = smallMemory(2, 32);
  const first = allocateHeap(memory, 4 * PAGE_SIZE, 'one');
  // The operating system gives a page that is written, so one that is cleared, too: here it would not stay as it is.
  const untouched = first + 7 * PAGE_SIZE;
  memory.u8[untouched] = 7;
  memory.u8.fill(0xaa, first, first + 4 * PAGE_SIZE);
  freeHeap(memory, first);
  const larger = allocateHeap(memory, 8 * PAGE_SIZE, 'two');
  assert.equal(larger, first);
  assert.ok(memory.u8.subarray(larger, larger + 4 * PAGE_SIZE).every((byte) => byte === 0));
  assert.equal(memory.u8[untouched], 7);
  freeHeap(memory, larger);
  allocateHeap(memory, 8 * PAGE_SIZE, 'three');
  assert.equal(memory.u8[untouched], 0);
});

test('swap slots are counted, and ties are given up before swap is full', () => {
  const memory = smallMemory(4, 32, 3);
  const mfn = allocateFrame(memory);
  const tied = allocateSlot(memory);
  associateSlot(memory, mfn, tied);
  assert.deepEqual([frameSlot(memory, mfn), slotFrame(memory, tied)], [tied, mfn]);
  const second = allocateSlot(memory);
  referenceSlot(memory, second);
  const third = allocateSlot(memory);
  assert.equal(freeSlots(memory), 0);
  assert.equal(allocateSlot(memory), tied);
  assert.equal(frameSlot(memory, mfn), -1);
  assert.throws(() => allocateSlot(memory), SwapFullError);
  releaseSlot(memory, second);
  assert.equal(slotReferences(memory, second), 1);
  releaseSlot(memory, second);
  assert.throws(() => releaseSlot(memory, second), /not in use/);
  assert.throws(() => referenceSlot(memory, second), /not in use/);
  spoilSlot(memory, third);
  assert.equal(allocateSlot(memory), second);
  assert.throws(() => allocateSlot(memory), /all 3 slots are in use or given up \(1\)/);
});

test('a frame that is freed gives up its slot', () => {
  const memory = smallMemory(1, 32, 1);
  const mfn = allocateFrame(memory);
  associateSlot(memory, mfn, allocateSlot(memory));
  releaseFrame(memory, mfn);
  assert.equal(freeSlots(memory), 1);
  checkMemory(memory);
});

test('swap is made once, and within what an entry can name', () => {
  const memory = smallMemory(1, 32, 4);
  assert.throws(() => createSwap(memory, 4), /has swap already/);
  assert.throws(() => createSwap(smallMemory(1), 2 ** 24), /give 0 to/);
  assert.throws(() => createSwap(smallMemory(1), 2 ** 20), /account of 1048576 swap slots needs/);
});

test('the check finds what is wrong', () => {
  const memory = smallMemory(4);
  allocateFrame(memory);
  assert.throws(() => checkMemory(memory), /references of frame \d+: the count says 1, there are 0/);
});
