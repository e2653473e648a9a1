/**
 * The table of the compressed pool, and the objects of its frames. An object begins with a word that names its slot (so that it can
 * be moved) and says whether a 32-bit value follows, of which the page is full, or a compressed page. The table lies in the
 * VMM heap: counts, then for each size the first frame that has room and the number of objects that are free, then ENTRY_WORDS for
 * each frame. All functions want the mutex to be held.
 */

import { giveFrame, takeFrame } from './free-list.ts';
import { FRAME_INFO, FRAME_LINK, FRAME_POOL, FRAME_REFS, FRAME_WORDS, HEADER_POOL, PAGE_SIZE } from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';

/** Sizes of objects in bytes, multiples of 16: as many as possible of each fit into a frame. */
export const SIZES = [64, 128, 192, 256, 336, 400, 448, 512, 576, 672, 816, 1024, 1360, 2048].map((size) => {
  const count = Math.floor(PAGE_SIZE / size);
  return { size, count };
});
export const CLASSES = SIZES.length;
/** Bytes of an object before its contents. */
export const OBJECT_HEADER = 4;
/** The largest compressed page that is kept: with its header half a frame. */
export const POOL_MOST_BYTES = PAGE_SIZE / 2 - OBJECT_HEADER;

export const LIMIT = 0;
export const FRAMES = 1;
export const PAGES = 2;
export const BYTES = 3;
export const UNUSED = 4;
export const ROOM = 8;
export const FREE_OBJECTS = ROOM + CLASSES;
export const ENTRIES = FREE_OBJECTS + CLASSES;
export const ENTRY_WORDS = 6;
/** Words of an entry: frame (0: unused), class, objects in use, offset of the first free one or NONE, neighbours + 1. */
export const [MFN, CLASS, USED, FREE, NEXT, PREVIOUS] = [0, 1, 2, 3, 4, 5] as const;
export const NONE = -1;

export const tableOf = (memory: MachineMemory): number => memory.i32[HEADER_POOL]! >>> 2;
export const entryOf = (table: number, index: number): number => table + ENTRIES + index * ENTRY_WORDS;

export function classOf(bytes: number): number {
  let size = 0;
  while (SIZES[size]!.size < bytes) {
    size++;
  }
  return size;
}

/** Index of a frame with room for an object of a class, a new one if need be; NONE. */
export function roomFor(memory: MachineMemory, table: number, size: number): number {
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
export function takeObject(memory: MachineMemory, table: number, index: number): number {
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

export function enlist({ i32 }: MachineMemory, table: number, index: number): void {
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

export function delist({ i32 }: MachineMemory, table: number, index: number): void {
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

/** Gives the frame of an entry that is in no list, and has no objects, back. */
export function discardFrame(memory: MachineMemory, table: number, index: number): void {
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

export function freeOffsets({ i32 }: MachineMemory, entry: number): Set<number> {
  const free = new Set<number>();
  const base = i32[entry + MFN]! * PAGE_SIZE;
  for (let offset = i32[entry + FREE]!; offset !== NONE && !free.has(offset); offset = i32[(base + offset) >>> 2]!) {
    free.add(offset);
  }
  return free;
}
