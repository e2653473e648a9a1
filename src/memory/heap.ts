/**
 * The VMM heap: contiguous runs of whole pages for guest blocks, nested page tables, hart areas and the swap table. Its own
 * account is one word for each of its pages, at its start: 0 free, n > 0 the first of a run of n pages, -1 inside of a run.
 * First fit: the heap has few and long-lived runs. All functions want the host mutex to be held.
 */

import { HeapFullError, MemoryError } from './errors.ts';
import { HEADER_HEAP_FREE, HEADER_HEAP_PAGES, HEADER_HEAP_TOUCHED, PAGE_SIZE } from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';

const INSIDE = -1;

/** Allocates `bytes` (rounded up to pages), zeroed; returns the byte address. `what` is named when there is no room. */
export function allocateHeap(memory: MachineMemory, bytes: number, what: string): number {
  const { i32, heapPages } = memory;
  const table = memory.heapBase >>> 2;
  const pages = Math.max(1, Math.ceil(bytes / PAGE_SIZE));
  ownTable(memory);
  let start = 0;
  while (start + pages <= heapPages) {
    let length = 0;
    while (length < pages && i32[table + start + length] === 0) {
      length++;
    }
    if (length === pages) {
      i32[table + start] = pages;
      i32.fill(INSIDE, table + start + 1, table + start + pages);
      i32[HEADER_HEAP_FREE]! -= pages;
      clear(memory, start, start + pages);
      return memory.heapBase + start * PAGE_SIZE;
    }
    start += length;
    start += Math.max(1, i32[table + start]!);
  }
  throw new HeapFullError(what, pages, i32[HEADER_HEAP_FREE]!, heapPages);
}

/** Clears pages that are about to be handed out. What was never touched stays so: the operating system gives it a page when it is used. */
function clear({ i32, heapBase }: MachineMemory, from: number, to: number): void {
  const touched = i32[HEADER_HEAP_TOUCHED]!;
  const word = (page: number): number => (heapBase + page * PAGE_SIZE) / 4;
  if (from < touched) i32.fill(0, word(from), word(Math.min(to, touched)));
  i32[HEADER_HEAP_TOUCHED] = Math.max(to, touched);
}

/** Frees what allocateHeap returned. */
export function freeHeap(memory: MachineMemory, address: number): void {
  const { i32 } = memory;
  const table = memory.heapBase >>> 2;
  const start = (address - memory.heapBase) / PAGE_SIZE;
  const pages = Number.isInteger(start) && start > 0 && start < memory.heapPages ? i32[table + start]! : 0;
  if (pages <= 0) {
    throw new MemoryError(`VMM heap: nothing was allocated at 0x${address.toString(16)}`);
  }
  i32.fill(0, table + start, table + start + pages);
  i32[HEADER_HEAP_FREE]! += pages;
}

/** Sentences about what is wrong with the heap's own account; empty when all is well. */
export function checkHeap(memory: MachineMemory): string[] {
  const { i32, heapPages } = memory;
  const table = memory.heapBase >>> 2;
  const findings: string[] = [];
  let free = 0;
  for (let page = 0; page < heapPages; ) {
    const pages = i32[table + page]!;
    if (pages === 0) {
      free++;
      page++;
      continue;
    }
    if (pages < 0 || page + pages > heapPages) {
      findings.push(`heap page ${page} has run length ${pages}`);
      break;
    }
    for (let i = 1; i < pages; i++) {
      if (i32[table + page + i] !== INSIDE) {
        findings.push(`heap page ${page + i} is not marked as a part of the run at ${page}`);
      }
    }
    page += pages;
  }
  if (findings.length === 0 && free !== i32[HEADER_HEAP_FREE] && i32[table] !== 0) {
    findings.push(`heap has ${free} free pages, its count says ${i32[HEADER_HEAP_FREE]}`);
  }
  return findings;
}

/** The first allocation makes the run that holds the table itself. */
function ownTable(memory: MachineMemory): void {
  const { i32 } = memory;
  const table = memory.heapBase >>> 2;
  if (i32[table] === 0) {
    const pages = Math.ceil((i32[HEADER_HEAP_PAGES]! * 4) / PAGE_SIZE);
    i32[table] = pages;
    i32.fill(INSIDE, table + 1, table + pages);
    i32[HEADER_HEAP_FREE]! -= pages;
  }
}
