/**
 * The compressed pool: pages that paging has taken and that compress to less than half wait here, in machine memory, before
 * they go to the swap file. Which slot is here stands in the table of swap slots (swap.ts); this is the allocator.
 *
 * The pool takes whole frames as it grows, up to a limit. A frame is cut into objects of one of 14 sizes. An object begins
 * with a word that names its slot (so that it can be moved) and says whether a 32-bit value follows, of which the page is
 * full, or a compressed page. The pool's table lies in the VMM heap: counts, then for each size the first frame that has
 * room and the number of objects that are free, then ENTRY_WORDS for each frame. All functions want the mutex to be held.
 */

import { MemoryError } from './errors.ts';
import { giveFrame, takeFrame } from './free-list.ts';
import { allocateHeap } from './heap.ts';
import {
  FRAME_INFO,
  FRAME_LINK,
  FRAME_POOL,
  FRAME_REFS,
  FRAME_WORDS,
  HEADER_POOL,
  PAGE_SHIFT,
  PAGE_SIZE,
  PAGE_WORDS,
} from './layout.ts';
import { decompressPage } from './lz4.ts';
import type { MachineMemory } from './machine-memory.ts';

/** Sizes of objects in bytes, multiples of 16: as many as possible of each fit into a frame. */
const SIZES = [64, 128, 192, 256, 336, 400, 448, 512, 576, 672, 816, 1024, 1360, 2048].map((size) => {
  const count = Math.floor(PAGE_SIZE / size);
  return { size, count };
});
const CLASSES = SIZES.length;
/** Bytes of an object before its contents. */
const OBJECT_HEADER = 4;
/** The largest compressed page that is kept: with its header half a frame. */
export const POOL_MOST_BYTES = PAGE_SIZE / 2 - OBJECT_HEADER;

const LIMIT = 0;
const FRAMES = 1;
const PAGES = 2;
const BYTES = 3;
const UNUSED = 4;
const ROOM = 8;
const FREE_OBJECTS = ROOM + CLASSES;
const ENTRIES = FREE_OBJECTS + CLASSES;
const ENTRY_WORDS = 6;
/** Words of an entry: frame (0: unused), class, objects in use, offset of the first free one or NONE, neighbours + 1. */
const [MFN, CLASS, USED, FREE, NEXT, PREVIOUS] = [0, 1, 2, 3, 4, 5] as const;
const NONE = -1;
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
    giveUp(memory, table, index);
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

/**
 * Counts the pool again from the objects that slots name (slot, address), after a thread has died with the mutex. Frames of
 * the pool that hold none of them have to be freed by the caller: they are not in the result.
 */
export function recountPool(memory: MachineMemory, objects: Iterable<number>): Set<number> {
  const { i32 } = memory;
  const table = tableOf(memory);
  const used = new Map<number, Set<number>>();
  for (const address of objects) {
    const mfn = address >>> PAGE_SHIFT;
    used.set(mfn, (used.get(mfn) ?? new Set()).add(address & (PAGE_SIZE - 1)));
  }
  if (table === 0) {
    return new Set();
  }
  i32.fill(0, table + FRAMES, table + ENTRIES);
  let last = UNUSED + table;
  for (let index = 0; index < i32[table + LIMIT]!; index++) {
    const entry = entryOf(table, index);
    const mfn = i32[entry + MFN]!;
    const objects = used.get(mfn);
    if (mfn === 0 || objects === undefined) {
      i32.fill(0, entry, entry + ENTRY_WORDS);
      i32[last] = index + 1;
      last = entry + NEXT;
      continue;
    }
    const size = i32[entry + CLASS]!;
    const { size: bytes, count } = SIZES[size]!;
    const frame = memory.frameTable + mfn * FRAME_WORDS;
    i32[frame + FRAME_LINK] = index;
    i32[entry + USED] = objects.size;
    i32[entry + FREE] = NONE;
    for (let offset = (count - 1) * bytes; offset >= 0; offset -= bytes) {
      if (!objects.has(offset)) {
        i32[(mfn * PAGE_SIZE + offset) >>> 2] = i32[entry + FREE]!;
        i32[entry + FREE] = offset;
      }
    }
    i32[table + FRAMES]!++;
    i32[table + PAGES]! += objects.size;
    i32[table + BYTES]! += objects.size * bytes;
    i32[table + FREE_OBJECTS + size]! += count - objects.size;
    if (i32[entry + FREE] !== NONE) {
      enlist(memory, table, index);
    }
  }
  return new Set(used.keys());
}

/** What is wrong with the pool, given the objects that slots name and the slots that they belong to. */
export function checkPool(memory: MachineMemory, objects: ReadonlyMap<number, number>): string[] {
  const { i32 } = memory;
  const table = tableOf(memory);
  const findings: string[] = [];
  if (table === 0) {
    return objects.size === 0 ? [] : ['swap slots name objects of a compressed pool, and there is none'];
  }
  let [frames, pages, bytes, left] = [0, 0, 0, objects.size];
  const freeObjects = new Array<number>(CLASSES).fill(0);
  for (let index = 0; index < i32[table + LIMIT]!; index++) {
    const entry = entryOf(table, index);
    const mfn = i32[entry + MFN]!;
    if (mfn === 0) {
      continue;
    }
    const { size, count } = SIZES[i32[entry + CLASS]!]!;
    const info = memory.frameTable + mfn * FRAME_WORDS;
    if (
      (i32[info + FRAME_INFO]! & FRAME_POOL) === 0 ||
      i32[info + FRAME_LINK] !== index ||
      i32[info + FRAME_REFS] !== 1
    ) {
      findings.push(`frame ${mfn} is in the compressed pool, but not the other way round`);
    }
    const free = freeOffsets(memory, entry);
    for (let offset = 0; offset < count * size; offset += size) {
      const address = mfn * PAGE_SIZE + offset;
      const slot = objects.get(address);
      left -= slot === undefined ? 0 : 1;
      if ((slot === undefined) !== free.has(offset)) {
        findings.push(
          `object ${address} of the compressed pool is ${free.has(offset) ? 'free and in use' : "nobody's"}`,
        );
      } else if (slot !== undefined && i32[address >>> 2]! >>> 1 !== slot) {
        findings.push(`object ${address} of the compressed pool names slot ${i32[address >>> 2]! >>> 1}, not ${slot}`);
      }
    }
    frames++;
    pages += count - free.size;
    bytes += (count - free.size) * size;
    freeObjects[i32[entry + CLASS]!]! += free.size;
  }
  if (left !== 0) {
    findings.push(`${left} swap slots name objects that are not in the compressed pool`);
  }
  const counts = poolAccount(memory);
  if (counts.frames !== frames || counts.pages !== pages || counts.bytes !== bytes) {
    findings.push(
      `the compressed pool counts ${JSON.stringify(counts)}; found ${JSON.stringify({ frames, pages, bytes })}`,
    );
  }
  if (freeObjects.some((count, size) => i32[table + FREE_OBJECTS + size] !== count)) {
    findings.push('the compressed pool has a wrong count of free objects');
  }
  return findings;
}

const tableOf = (memory: MachineMemory): number => memory.i32[HEADER_POOL]! >>> 2;
const entryOf = (table: number, index: number): number => table + ENTRIES + index * ENTRY_WORDS;

function classOf(bytes: number): number {
  let size = 0;
  while (SIZES[size]!.size < bytes) {
    size++;
  }
  return size;
}

/** Index of a frame with room for an object of a class, a new one if need be; NONE. */
function roomFor(memory: MachineMemory, table: number, size: number): number {
  const { i32 } = memory;
  const first = i32[table + ROOM + size]! - 1;
  if (first >= 0) {
    return first;
  }
  const index = i32[table + UNUSED]! - 1;
  const mfn = index < 0 ? 0 : takeFrame(memory, true);
  if (mfn === 0) {
    return NONE;
  }
  const entry = entryOf(table, index);
  i32[table + UNUSED] = i32[entry + NEXT]!;
  const { size: bytes, count } = SIZES[size]!;
  const frame = memory.frameTable + mfn * FRAME_WORDS;
  Atomics.or(i32, frame + FRAME_INFO, FRAME_POOL);
  i32[frame + FRAME_LINK] = index;
  i32[entry + CLASS] = size;
  i32[entry + USED] = 0;
  i32[entry + FREE] = 0;
  for (let i = 0; i < count; i++) {
    i32[(mfn * PAGE_SIZE + i * bytes) >>> 2] = i + 1 < count ? (i + 1) * bytes : NONE;
  }
  i32[entry + MFN] = mfn;
  i32[table + FRAMES]!++;
  i32[table + FREE_OBJECTS + size]! += count;
  enlist(memory, table, index);
  return index;
}

/** Takes a free object of a frame; returns its address. */
function takeObject(memory: MachineMemory, table: number, index: number): number {
  const { i32 } = memory;
  const entry = entryOf(table, index);
  const address = i32[entry + MFN]! * PAGE_SIZE + i32[entry + FREE]!;
  const size = i32[entry + CLASS]!;
  i32[entry + FREE] = i32[address >>> 2]!;
  i32[entry + USED]!++;
  i32[table + PAGES]!++;
  i32[table + BYTES]! += SIZES[size]!.size;
  i32[table + FREE_OBJECTS + size]!--;
  if (i32[entry + FREE] === NONE) {
    delist(memory, table, index);
  }
  return address;
}

function enlist({ i32 }: MachineMemory, table: number, index: number): void {
  const entry = entryOf(table, index);
  const head = table + ROOM + i32[entry + CLASS]!;
  const next = i32[head]!;
  i32[entry + NEXT] = next;
  i32[entry + PREVIOUS] = 0;
  if (next !== 0) {
    i32[entryOf(table, next - 1) + PREVIOUS] = index + 1;
  }
  i32[head] = index + 1;
}

function delist({ i32 }: MachineMemory, table: number, index: number): void {
  const entry = entryOf(table, index);
  const next = i32[entry + NEXT]!;
  const previous = i32[entry + PREVIOUS]!;
  if (next !== 0) {
    i32[entryOf(table, next - 1) + PREVIOUS] = previous;
  }
  if (previous !== 0) {
    i32[entryOf(table, previous - 1) + NEXT] = next;
  } else {
    i32[table + ROOM + i32[entry + CLASS]!] = next;
  }
}

function giveUp(memory: MachineMemory, table: number, index: number): void {
  delist(memory, table, index);
  discardFrame(memory, table, index);
}

/** Gives the frame of an entry that is in no list, and has no objects, back. */
function discardFrame(memory: MachineMemory, table: number, index: number): void {
  const { i32 } = memory;
  const entry = entryOf(table, index);
  const mfn = i32[entry + MFN]!;
  const size = i32[entry + CLASS]!;
  i32[table + FREE_OBJECTS + size]! -= SIZES[size]!.count;
  i32[table + FRAMES]!--;
  i32[entry + MFN] = 0;
  i32[entry + NEXT] = i32[table + UNUSED]!;
  i32[table + UNUSED] = index + 1;
  i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_REFS] = 0;
  giveFrame(memory, mfn);
}

function freeOffsets({ i32 }: MachineMemory, entry: number): Set<number> {
  const free = new Set<number>();
  const base = i32[entry + MFN]! * PAGE_SIZE;
  for (let offset = i32[entry + FREE]!; offset !== NONE && !free.has(offset); offset = i32[(base + offset) >>> 2]!) {
    free.add(offset);
  }
  return free;
}
