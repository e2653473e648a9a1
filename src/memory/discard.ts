/**
 * Giving pages back: what the balloon took, what the guest reports as free, what nobody needs any more. A discarded page is
 * an untouched page of zeros again, whatever it was before.
 */

import { GuestAddressError } from './errors.ts';
import type { FaultHandler } from './fault.ts';
import { releaseFrame } from './frames.ts';
import {
  GUEST_RAM_BASE,
  NPT_ACCESSED,
  NPT_KIND_LEAVING,
  NPT_KIND_SWAP,
  NPT_KIND_ZERO,
  NPT_PRESENT,
  PAGE_SIZE,
} from './layout.ts';
import { COUNT_BALLOON_FRAMES, COUNT_REPORTED_FRAMES, GUEST_LEFT_OVER } from './layout-guest.ts';
import { absentEntry, isComing, isMerged, kindOf, loadEntry, payloadOf, replaceEntry } from './npt.ts';
import { releaseSlot } from './swap.ts';

/** Pages per turn with the mutex. */
const CHUNK = 128;

/**
 * Discards `count` pages from `gfn` on, on the thread of the hart that `faults` serves. `balloon` only tells under which
 * head the frames are counted. Returns the number of references to frames that were dropped. Throws GuestAddressError, and
 * discards nothing, if a page is not in the guest's memory.
 */
export function discardPages(faults: FaultHandler, gfn: number, count: number, balloon: boolean): number {
  const { guest } = faults;
  if (!(Number.isInteger(gfn) && Number.isInteger(count) && gfn >= 0 && count >= 0 && gfn + count <= guest.pages)) {
    const size = guest.pages * PAGE_SIZE;
    const gpa = GUEST_RAM_BASE + gfn * PAGE_SIZE;
    throw new GuestAddressError(guest.name, gpa, count * PAGE_SIZE, GUEST_RAM_BASE, size);
  }
  let dropped = 0;
  const frames = new Int32Array(Math.min(count, CHUNK));
  for (let done = 0; done < count; ) {
    const chunk = Math.min(CHUNK, count - done);
    faults.settleStores(gfn + done, chunk);
    const taken = discardChunk(faults, gfn + done, chunk, frames);
    if (taken < 0) {
      faults.waitForTransit(gfn + done + -taken - 1);
      continue;
    }
    dropped += taken;
    done += chunk;
  }
  if (dropped > 0) {
    guest.add(balloon ? COUNT_BALLOON_FRAMES : COUNT_REPORTED_FRAMES, dropped);
  }
  return dropped;
}

/** Returns the number of frames dropped, or -1 - i if page `gfn + i` is on its way in and has to be waited for. */
function discardChunk(faults: FaultHandler, gfn: number, count: number, frames: Int32Array): number {
  const { guest } = faults;
  const { memory } = guest;
  let held = 0;
  let wasMerged = false;
  memory.lock();
  try {
    for (let i = 0; i < count; i++) {
      const entry = loadEntry(guest, gfn + i);
      if (isComing(entry)) {
        return -1 - i;
      }
    }
    for (let i = 0; i < count; i++) {
      const entry = loadEntry(guest, gfn + i);
      if ((entry & NPT_PRESENT) !== 0 || kindOf(entry) === NPT_KIND_LEAVING) {
        // Accessed: some TLB may still map the old frame when the next frame is put here.
        replaceEntry(guest, gfn + i, absentEntry(NPT_KIND_ZERO, 0) | NPT_ACCESSED);
        frames[held++] = payloadOf(entry);
        wasMerged ||= (entry & NPT_PRESENT) === 0 || isMerged(entry);
      } else if (kindOf(entry) === NPT_KIND_SWAP) {
        replaceEntry(guest, gfn + i, absentEntry(NPT_KIND_ZERO, 0));
        releaseSlot(memory, payloadOf(entry));
      }
    }
    if (guest.harts === 1 && held > 0) {
      // The frame that a page had before it was merged may still be mapped.
      const hadOther = wasMerged && guest.get(GUEST_LEFT_OVER) !== 0;
      faults.control.forgetFrames(hadOther ? undefined : frames.subarray(0, held));
      releaseFrames(faults, frames, held);
    }
  } finally {
    memory.unlock();
  }
  if (guest.harts > 1 && held > 0) {
    faults.flushAll();
    memory.lock();
    try {
      releaseFrames(faults, frames, held);
    } finally {
      memory.unlock();
    }
  }
  memory.progress();
  return held;
}

function releaseFrames(faults: FaultHandler, frames: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    releaseFrame(faults.guest.memory, frames[i]!);
  }
}
