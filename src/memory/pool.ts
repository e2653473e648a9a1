/**
 * The compressed pool: pages that paging has taken and that compress to less than half wait here, in machine memory, before
 * they go to the swap file. Which slot is here stands in the table of swap slots (swap.ts); this is the allocator.
 *
 * The pool takes whole frames as it grows, up to a limit. A frame is cut into objects of one of 14 sizes (pool-table.ts). All
 * functions want the mutex to be held.
 */

import { MemoryError } from './errors.ts';
import { allocateHeap } from './heap.ts';
import { FRAME_LINK, FRAME_WORDS, HEADER_POOL, PAGE_SHIFT, PAGE_SIZE, PAGE_WORDS } from './layout.ts';
import { decompressPage } from './lz4.ts';
import type { MachineMemory } from './machine-memory.ts';
import {
  BYTES,
  CLASS,
  CLASSES,
  classOf,
  delist,
  discardFrame,
  ENTRIES,
  ENTRY_WORDS,
  enlist,
  entryOf,
  FRAMES,
  FREE,
  FREE_OBJECTS,
  freeOffsets,
  LIMIT,
  MFN,
  NEXT,
  NONE,
  OBJECT_HEADER,
  PAGES,
  ROOM,
  roomFor,
  SIZES,
  tableOf,
  takeObject,
  UNUSED,
  USED,
} from './pool-table.ts';

/** Frames that are looked at for one with few objects. */
const CANDIDATES = 16;

/** What the pool holds; frames. */
export interface PoolAccount {
  limit: number;
  frames: number;
  /** Pages that are in them, and bytes of their objects. */
  pages: number;
  bytes: number;
}

/** Bytes of the VMM heap for a pool of so many frames. */
export const poolTableBytes = (frames: number): number => (ENTRIES + frames * ENTRY_WORDS) * 4;

/** Makes the pool, once; 0 frames: none. Takes the mutex itself. */
export function createPool(memory: MachineMemory, frames: number): void {
  if (!Number.isInteger(frames) || frames < 0 || frames > memory.guestFrames) {
    throw new MemoryError(`compressed pool of ${frames} frames: give 0 to ${memory.guestFrames}`);
  }
  if (frames === 0) {
    return;
  }
  const { i32 } = memory;
  memory.lock();
  try {
    if (i32[HEADER_POOL] !== 0) {
      throw new MemoryError('the host has a compressed pool already');
    }
    const address = allocateHeap(memory, poolTableBytes(frames), `the table of a compressed pool of ${frames} frames`);
    const table = address >>> 2;
    i32[table + LIMIT] = frames;
    for (let index = 0; index < frames; index++) {
      i32[table + ENTRIES + index * ENTRY_WORDS + NEXT] = index + 1 < frames ? index + 2 : 0;
    }
    i32[table + UNUSED] = 1;
    i32[HEADER_POOL] = address;
  } finally {
    memory.unlock();
  }
}

/** The pool as it is now; all 0 without one. */
export function poolAccount(memory: MachineMemory): PoolAccount {
  const { i32 } = memory;
  const table = tableOf(memory);
  return table === 0
    ? { limit: 0, frames: 0, pages: 0, bytes: 0 }
    : {
        limit: i32[table + LIMIT]!,
        frames: i32[table + FRAMES]!,
        pages: i32[table + PAGES]!,
        bytes: i32[table + BYTES]!,
      };
}

/**
 * Finds room for `length` bytes (a compressed page, or 4 with `uniform`) for a slot and copies them. Returns the object's
 * address, or 0: the pool is at its limit and has no room for this size, or there is no free frame.
 */
export function poolStore(
  memory: MachineMemory,
  slot: number,
  uniform: boolean,
  bytes: Uint8Array,
  from: number,
  length: number,
): number {
  const { i32, u8 } = memory;
  const table = tableOf(memory);
  const size = classOf(length + OBJECT_HEADER);
  const entry = table === 0 ? NONE : roomFor(memory, table, size);
  if (entry === NONE) {
    return 0;
  }
  const address = takeObject(memory, table, entry);
  i32[address >>> 2] = (slot << 1) | (uniform ? 1 : 0);
  u8.set(bytes.subarray(from, from + length), address + OBJECT_HEADER);
  return address;
}

/** Copies the page of an object to byte `to` of `target`, which is 4-byte aligned in its buffer. */
export function poolLoad(memory: MachineMemory, address: number, target: Uint8Array, to: number): void {
  const { i32, u8 } = memory;
  if ((i32[address >>> 2]! & 1) !== 0) {
    const value = i32[(address + OBJECT_HEADER) >>> 2]!;
    new Int32Array(target.buffer, target.byteOffset + to, PAGE_WORDS).fill(value);
  } else {
    decompressPage(u8, address + OBJECT_HEADER, target, to);
  }
}

/** Frees an object, and its frame with the last one. */
export function poolFree(memory: MachineMemory, address: number): void {
  const { i32 } = memory;
  const table = tableOf(memory);
  const mfn = address >>> PAGE_SHIFT;
  const index = i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_LINK]!;
  const entry = entryOf(table, index);
  const size = i32[entry + CLASS]!;
  i32[address >>> 2] = i32[entry + FREE]!;
  const wasFull = i32[entry + FREE] === NONE;
  i32[entry + FREE] = address & (PAGE_SIZE - 1);
  i32[entry + USED]!--;
  i32[table + PAGES]!--;
  i32[table + BYTES]! -= SIZES[size]!.size;
  i32[table + FREE_OBJECTS + size]!++;
  if (wasFull) {
    enlist(memory, table, index);
  }
  if (i32[entry + USED] === 0) {
    delist(memory, table, index);
    discardFrame(memory, table, index);
  }
}

/**
 * Moves the objects of one frame into others and frees it, if that can be done. `moved` is told of each: slot, new address.
 * Returns whether a frame became free.
 */
export function poolCompact(memory: MachineMemory, moved: (slot: number, address: number) => void): boolean {
  const { i32, u8 } = memory;
  const table = tableOf(memory);
  for (let size = 0; table !== 0 && size < CLASSES; size++) {
    const { size: bytes, count } = SIZES[size]!;
    if (i32[table + FREE_OBJECTS + size]! < count) {
      continue;
    }
    let index = i32[table + ROOM + size]! - 1;
    let emptiest = index;
    for (let i = 0; i < CANDIDATES && index >= 0; i++, index = i32[entryOf(table, index) + NEXT]! - 1) {
      if (i32[entryOf(table, index) + USED]! < i32[entryOf(table, emptiest) + USED]!) {
        emptiest = index;
      }
    }
    // Out of the list, so that its objects go elsewhere; the others have room for them.
    delist(memory, table, emptiest);
    const entry = entryOf(table, emptiest);
    const base = i32[entry + MFN]! * PAGE_SIZE;
    const free = freeOffsets(memory, entry);
    for (let offset = 0; offset < count * bytes; offset += bytes) {
      if (free.has(offset)) {
        continue;
      }
      const address = takeObject(memory, table, i32[table + ROOM + size]! - 1);
      u8.copyWithin(address, base + offset, base + offset + bytes);
      moved(i32[address >>> 2]! >>> 1, address);
      i32[entry + USED]!--;
      i32[table + PAGES]!--;
      i32[table + BYTES]! -= bytes;
      i32[table + FREE_OBJECTS + size]!++;
    }
    discardFrame(memory, table, emptiest);
    return true;
  }
  return false;
}
