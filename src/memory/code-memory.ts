/**
 * Room in the VMM heap for what harts remember of the code they execute, beside their areas: pieces that a hart takes while it
 * executes much code, and gives back when its guest becomes idle. The pieces of a hart are a list through their first words,
 * which begins in the hart's control block, so that they can be freed whatever becomes of the hart's thread.
 */

import { HeapFullError } from './errors.ts';
import type { Guest } from './guest.ts';
import { allocateHeap, freeHeap } from './heap.ts';
import { HART_PIECES_BYTE, HEADER_HEAP_FREE, PAGE_SIZE } from './layout.ts';
import { GUEST_OVERHEAD } from './layout-guest.ts';

/** Bytes of a piece that are its place in the list. */
const LINK_BYTES = 16;
/** What is left for guests that are started later: a part of the heap, in a small one pages for a few guests. */
const LEFT = 1 / 16;
const LEFT_SMALL = { part: 1 / 4, most: 1024 };

/** Pages of a piece with room for `bytes`. */
const piecePages = (bytes: number): number => Math.ceil((bytes + LINK_BYTES) / PAGE_SIZE);

const pagesLeft = (heapPages: number): number =>
  Math.max(heapPages * LEFT, Math.min(heapPages * LEFT_SMALL.part, LEFT_SMALL.most));

/** Takes a piece; returns the byte address of its `bytes` bytes, undefined if there is no room now. Takes the mutex itself. */
export function takePiece(guest: Guest, hart: number, bytes: number): number | undefined {
  const { memory } = guest;
  const { i32 } = memory;
  memory.lock();
  try {
    if (i32[HEADER_HEAP_FREE]! - piecePages(bytes) < pagesLeft(memory.heapPages)) return undefined;
    const piece = allocateHeap(memory, bytes + LINK_BYTES, `guest ${guest.name}: code of hart ${hart}`);
    const head = listOf(guest, hart);
    i32[piece >>> 2] = i32[head]!;
    i32[(piece >>> 2) + 1] = piecePages(bytes);
    i32[head] = piece;
    guest.add(GUEST_OVERHEAD, piecePages(bytes));
    return piece + LINK_BYTES;
  } catch (error) {
    // Enough is free, but not in one piece.
    if (error instanceof HeapFullError) return undefined;
    throw error;
  } finally {
    memory.unlock();
  }
}

/** Frees all pieces of a hart. Under the mutex. */
export function freePieces(guest: Guest, hart: number): void {
  const { i32 } = guest.memory;
  const head = listOf(guest, hart);
  for (let piece = i32[head]! >>> 0; piece !== 0; ) {
    const next = i32[piece >>> 2]! >>> 0;
    guest.add(GUEST_OVERHEAD, -i32[(piece >>> 2) + 1]!);
    freeHeap(guest.memory, piece);
    piece = next;
  }
  i32[head] = 0;
}

/** The word that the list begins in. */
function listOf(guest: Guest, hart: number): number {
  return (guest.hartArea(hart) + HART_PIECES_BYTE) >>> 2;
}
