/**
 * Nested page table entries: taking words apart and putting them together, and the account that goes with every change of
 * what an entry stands for. The bits are described in layout.ts.
 */

import type { Guest } from './guest.ts';
import {
  HEADER_MAPPED,
  NPT_ACCESSED,
  NPT_DIRTY,
  NPT_KIND_COMING,
  NPT_KIND_LEAVING,
  NPT_KIND_MASK,
  NPT_KIND_SWAP,
  NPT_MERGED,
  NPT_PAYLOAD_SHIFT,
  NPT_PRESENT,
  NPT_WRITABLE,
} from './layout.ts';
import { COUNT_MERGED, COUNT_RESIDENT, COUNT_SWAPPED } from './layout-guest.ts';

/** mfn or slot of an entry. */
export function payloadOf(entry: number): number {
  return entry >>> NPT_PAYLOAD_SHIFT;
}

/** NPT_KIND_* of an entry that is not present. */
export function kindOf(entry: number): number {
  return entry & NPT_KIND_MASK;
}

/** Whether the payload is a frame that the entry references. */
export function hasFrame(entry: number): boolean {
  if ((entry & NPT_PRESENT) !== 0) {
    return true;
  }
  const kind = entry & NPT_KIND_MASK;
  return kind === NPT_KIND_LEAVING || kind === NPT_KIND_COMING;
}

/** Whether a hart is just filling the frame that is the payload. */
export function isComing(entry: number): boolean {
  return (entry & (NPT_PRESENT | NPT_KIND_MASK)) === NPT_KIND_COMING;
}

/** Whether the payload is a swap slot that the entry references. */
export function hasSlot(entry: number): boolean {
  return (entry & (NPT_PRESENT | NPT_KIND_MASK)) === NPT_KIND_SWAP;
}

/** A present entry: frame and bits (NPT_WRITABLE, NPT_ACCESSED, NPT_DIRTY, NPT_MERGED, NPT_YOUNG). */
export function presentEntry(mfn: number, bits: number): number {
  return (mfn << NPT_PAYLOAD_SHIFT) | bits | NPT_PRESENT;
}

/** An entry that is not present. */
export function absentEntry(kind: number, payload: number): number {
  return (payload << NPT_PAYLOAD_SHIFT) | kind;
}

/** The entry of a gfn. */
export function loadEntry(guest: Guest, gfn: number): number {
  return Atomics.load(guest.memory.i32, guest.npt + gfn);
}

/**
 * Replaces an entry whatever its accessed and dirty bits have become (a hart may set them at any moment), and keeps the
 * account of resident, merged and swapped pages. The mutex must be held. Returns the entry that was there.
 */
export function replaceEntry(guest: Guest, gfn: number, entry: number): number {
  const old = Atomics.exchange(guest.memory.i32, guest.npt + gfn, entry);
  const frames = (hasFrame(entry) ? 1 : 0) - (hasFrame(old) ? 1 : 0);
  if (frames !== 0) {
    guest.add(COUNT_RESIDENT, frames);
    Atomics.add(guest.memory.i32, HEADER_MAPPED, frames);
  }
  const swapped = (hasSlot(entry) ? 1 : 0) - (hasSlot(old) ? 1 : 0);
  if (swapped !== 0) {
    guest.add(COUNT_SWAPPED, swapped);
  }
  const merged = (isMerged(entry) ? 1 : 0) - (isMerged(old) ? 1 : 0);
  if (merged !== 0) {
    guest.add(COUNT_MERGED, merged);
  }
  return old;
}

/** Clears bits of an entry that harts may be changing; returns the entry as it was. */
export function clearEntryBits(guest: Guest, gfn: number, bits: number): number {
  return Atomics.and(guest.memory.i32, guest.npt + gfn, ~bits);
}

/** Sets bits of an entry. Only NPT_ACCESSED, NPT_DIRTY and NPT_YOUNG may be set so, by whoever knows that it stays present. */
export function setEntryBits(guest: Guest, gfn: number, bits: number): number {
  return Atomics.or(guest.memory.i32, guest.npt + gfn, bits);
}

/** Notes a use of a page by a device, if its entry is still `entry`. */
export function noteUse(guest: Guest, gfn: number, entry: number, write: boolean): void {
  const bits = write ? NPT_ACCESSED | NPT_DIRTY : NPT_ACCESSED;
  if ((entry & bits) !== bits) {
    Atomics.compareExchange(guest.memory.i32, guest.npt + gfn, entry, entry | bits);
  }
}

/** Whether page sharing has merged the page. */
export function isMerged(entry: number): boolean {
  return (entry & (NPT_PRESENT | NPT_MERGED)) === (NPT_PRESENT | NPT_MERGED);
}

/** Whether a hart may map the page for writing. */
export function isWritable(entry: number): boolean {
  return (entry & (NPT_PRESENT | NPT_WRITABLE)) === (NPT_PRESENT | NPT_WRITABLE);
}
