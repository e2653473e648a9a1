/** What happens to a guest's memory when the guest is gone. */

import { originOf, releaseFrame } from './frames.ts';
import { freeGuest, type Guest } from './guest.ts';
import { hasFrame, hasSlot, isComing, loadEntry, payloadOf, replaceEntry } from './npt.ts';
import { releaseSlot } from './swap.ts';

/** Entries freed in one turn with the mutex. */
const CHUNK = 2048;

/**
 * Frees all that a guest has, on the memory manager's thread. No other thread may use the guest any more: its harts count as
 * having flushed. Whatever a thread that was killed inside of a fault has left is freed too.
 */
export function removeGuest(guest: Guest): void {
  const { memory } = guest;
  for (let start = 0; start < guest.pages; start += CHUNK) {
    memory.lock();
    try {
      const end = Math.min(start + CHUNK, guest.pages);
      for (let gfn = start; gfn < end; gfn++) {
        removePage(guest, gfn);
      }
    } finally {
      memory.unlock();
    }
    memory.progress();
  }
  memory.lock();
  try {
    freeGuest(guest);
  } finally {
    memory.unlock();
  }
}

function removePage(guest: Guest, gfn: number): void {
  const { memory } = guest;
  const entry = loadEntry(guest, gfn);
  if (entry === 0) {
    return;
  }
  replaceEntry(guest, gfn, 0);
  if (hasFrame(entry)) {
    const mfn = payloadOf(entry);
    if (isComing(entry) && originOf(memory, mfn) !== 0) {
      releaseFrame(memory, originOf(memory, mfn));
    }
    releaseFrame(memory, mfn);
  } else if (hasSlot(entry)) {
    releaseSlot(memory, payloadOf(entry));
  }
}
