/** The compressed pool counted from the objects that slots name: to repair it, and to check it. Both want the mutex to be held. */

import { FRAME_INFO, FRAME_LINK, FRAME_POOL, FRAME_REFS, FRAME_WORDS, PAGE_SHIFT, PAGE_SIZE } from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';
import { poolAccount } from './pool.ts';
import {
  BYTES,
  CLASS,
  CLASSES,
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
  PAGES,
  SIZES,
  tableOf,
  UNUSED,
  USED,
} from './pool-table.ts';

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
