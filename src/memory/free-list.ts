/**
 * The free machine frames: a list through the frame table. All functions want the host mutex to be held. Guests' frames go
 * through frames.ts, which knows of references; the compressed pool's come from here.
 */

import {
  FRAME_GENERATION_ONE,
  FRAME_INFO,
  FRAME_LINK,
  FRAME_REFS,
  FRAME_WORDS,
  HEADER_FREE_COUNT,
  HEADER_FREE_HEAD,
  HEADER_RESERVE,
  HEADER_WATERMARK,
} from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';
import { follow, linkTo } from './zero-list.ts';

const FLAGS_MASK = FRAME_GENERATION_ONE - 1;

/** Takes a frame with one reference and no flags, or 0; see allocateFrame. */
export function takeFrame(memory: MachineMemory, privileged: boolean): number {
  const { i32 } = memory;
  const free = i32[HEADER_FREE_COUNT]!;
  if (free === 0 || (!privileged && free <= i32[HEADER_RESERVE]!)) {
    return 0;
  }
  const mfn = i32[HEADER_FREE_HEAD]!;
  if (mfn === 0) {
    // The count is wrong until the memory manager has repaired what a killed thread has left.
    return 0;
  }
  const entry = memory.frameTable + mfn * FRAME_WORDS;
  i32[HEADER_FREE_HEAD] = nextFree(memory, mfn);
  Atomics.store(i32, HEADER_FREE_COUNT, free - 1);
  if (free - 1 < Atomics.load(i32, HEADER_WATERMARK)) {
    Atomics.store(i32, HEADER_WATERMARK, 0);
    memory.wakeManager();
  }
  i32[entry + FRAME_LINK] = 0;
  i32[entry + FRAME_REFS] = 1;
  renew(i32, entry);
  return mfn;
}

/** Puts a frame without references back. */
export function giveFrame(memory: MachineMemory, mfn: number): void {
  const { i32 } = memory;
  const entry = memory.frameTable + mfn * FRAME_WORDS;
  renew(i32, entry);
  pushFree(memory, mfn);
  Atomics.store(i32, HEADER_FREE_COUNT, i32[HEADER_FREE_COUNT]! + 1);
}

/** mfn of the free frame behind a free frame, 0 at the end. */
export function nextFree({ i32, frameTable }: MachineMemory, mfn: number): number {
  return follow(i32[frameTable + mfn * FRAME_WORDS + FRAME_LINK]!, mfn);
}

/** Puts a frame in front of the list, and counts nothing. */
export function pushFree({ i32, frameTable }: MachineMemory, mfn: number): void {
  i32[frameTable + mfn * FRAME_WORDS + FRAME_LINK] = linkTo(i32[HEADER_FREE_HEAD]!, mfn);
  i32[HEADER_FREE_HEAD] = mfn;
}

/** A new generation, no flags. A hart may set CODE at any time, but on frames that it maps only, which this is not. */
function renew(i32: Int32Array, entry: number): void {
  Atomics.store(i32, entry + FRAME_INFO, ((i32[entry + FRAME_INFO]! & ~FLAGS_MASK) + FRAME_GENERATION_ONE) | 0);
}
