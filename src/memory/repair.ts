/**
 * A thread that is killed while it holds the host mutex leaves half of a change behind. The entries of the nested page
 * tables are changed by single words and so are always whole; everything else that the mutex guards can be counted again
 * from them.
 */

import { guestSlots } from './account.ts';
import { pushFree } from './free-list.ts';
import { Guest } from './guest.ts';
import {
  FRAME_GENERATION_ONE,
  FRAME_INFO,
  FRAME_KEPT,
  FRAME_LINK,
  FRAME_REFS,
  FRAME_SLOT,
  FRAME_WORDS,
  HEADER_FREE_COUNT,
  HEADER_FREE_HEAD,
  HEADER_KEPT,
  HEADER_MAPPED,
  HEADER_MUTEX_OWNER,
  HEADER_REPAIR,
} from './layout.ts';
import { COUNT_MERGED, COUNT_RESIDENT, COUNT_SWAPPED } from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { hasFrame, hasSlot, isComing, isMerged, payloadOf } from './npt.ts';
import { recountSlots } from './swap.ts';

/**
 * To be called when the threads of a guest are gone for good: if one of them died with the mutex (`owner`: its token), the
 * mutex is given back, and the memory manager counts everything again before its next step. Returns whether that was so.
 */
export function abandonMutex(memory: MachineMemory, owner: number): boolean {
  const { i32 } = memory;
  if (Atomics.load(i32, HEADER_MUTEX_OWNER) !== owner) {
    return false;
  }
  Atomics.store(i32, HEADER_REPAIR, 1);
  memory.unlock();
  memory.wakeManager();
  return true;
}

/**
 * Counts frames, slots and pages again from the entries. On the memory manager's thread, between its steps; `held` are
 * frames that it has a reference to.
 */
export function repairMemory(memory: MachineMemory, held: readonly number[] = []): void {
  const { i32 } = memory;
  memory.lock();
  try {
    Atomics.store(i32, HEADER_REPAIR, 0);
    const frames = new Int32Array(memory.machineFrames);
    const slots = new Map<number, number>();
    for (const mfn of held) {
      frames[mfn]!++;
    }
    let mapped = 0;
    for (const slot of guestSlots(memory)) {
      mapped += countGuest(Guest.attach(memory, slot), frames, slots);
    }
    Atomics.store(i32, HEADER_MAPPED, mapped);
    i32[HEADER_KEPT] = 0;
    for (let mfn = memory.firstFrame; mfn < memory.machineFrames; mfn++) {
      Atomics.and(i32, memory.frameTable + mfn * FRAME_WORDS + FRAME_INFO, ~FRAME_KEPT);
      if (frames[mfn] === 0) {
        i32[memory.frameTable + mfn * FRAME_WORDS + FRAME_SLOT] = 0;
      }
    }
    const pool = recountSlots(memory, slots);
    let free = 0;
    i32[HEADER_FREE_HEAD] = 0;
    for (let mfn = memory.machineFrames - 1; mfn >= memory.firstFrame; mfn--) {
      const entry = memory.frameTable + mfn * FRAME_WORDS;
      i32[entry + FRAME_REFS] = pool.has(mfn) ? 1 : frames[mfn]!;
      if (i32[entry + FRAME_REFS] === 0) {
        Atomics.store(
          i32,
          entry + FRAME_INFO,
          ((i32[entry + FRAME_INFO]! & -FRAME_GENERATION_ONE) + FRAME_GENERATION_ONE) | 0,
        );
        pushFree(memory, mfn);
        free++;
      }
    }
    Atomics.store(i32, HEADER_FREE_COUNT, free);
  } finally {
    memory.unlock();
  }
  memory.progress();
}

/** Adds a guest's references to those of all, and corrects its own counts. Returns its pages that have a frame. */
function countGuest(guest: Guest, frames: Int32Array, slots: Map<number, number>): number {
  const { i32, frameTable } = guest.memory;
  let resident = 0;
  let merged = 0;
  let swapped = 0;
  for (let gfn = 0; gfn < guest.pages; gfn++) {
    const entry = i32[guest.npt + gfn]!;
    const payload = payloadOf(entry);
    if (hasFrame(entry)) {
      resident++;
      frames[payload]!++;
      const origin = isComing(entry) ? i32[frameTable + payload * FRAME_WORDS + FRAME_LINK]! : 0;
      if (origin !== 0) {
        frames[origin]!++;
      }
    } else if (hasSlot(entry)) {
      swapped++;
      slots.set(payload, (slots.get(payload) ?? 0) + 1);
    }
    merged += isMerged(entry) ? 1 : 0;
  }
  guest.set(COUNT_RESIDENT, resident);
  guest.set(COUNT_MERGED, merged);
  guest.set(COUNT_SWAPPED, swapped);
  return resident;
}
