/**
 * Pages that a device has just written whole, such as blocks of a disk: what other guests have read from the same image, too.
 * Page sharing looks at them first. A ring of gfns in the guest block, which the thread of the guest's devices fills and the
 * memory manager empties; what is not looked at in time is found by the scan.
 */

import type { Guest } from './guest.ts';
import { HEADER_ARRIVALS_WANTED } from './layout.ts';
import { ARRIVALS, GUEST_ARRIVALS, GUEST_ARRIVED } from './layout-guest.ts';

/** New pages for which the memory manager is woken, if page sharing wants them, so that few are missed. */
const WAKE_EACH = ARRIVALS / 2;

/** A page has been written whole. */
export function noteArrival(guest: Guest, gfn: number): void {
  const count = guest.get(GUEST_ARRIVED);
  guest.set(GUEST_ARRIVALS + (count & (ARRIVALS - 1)), gfn);
  guest.set(GUEST_ARRIVED, (count + 1) | 0);
  if ((count & (WAKE_EACH - 1)) !== WAKE_EACH - 1) return;
  const { memory } = guest;
  if (Atomics.load(memory.i32, HEADER_ARRIVALS_WANTED) !== 0) memory.wakeManager();
}

/** What one reader has seen of the arrivals of guests. */
export class Arrivals {
  /** By slot: number of arrivals that have been seen. */
  readonly #seen = new Map<number, number>();

  /** Number of pages of a guest that `next` has not given yet and that are still in the ring. */
  pending(guest: Guest): number {
    const count = guest.get(GUEST_ARRIVED);
    return Math.min(ARRIVALS, (count - (this.#seen.get(guest.slot) ?? 0)) >>> 0);
  }

  /** The oldest page that was not given yet; -1 if there is none. */
  next(guest: Guest): number {
    const pending = this.pending(guest);
    if (pending === 0) return -1;
    const at = (guest.get(GUEST_ARRIVED) - pending) | 0;
    this.#seen.set(guest.slot, (at + 1) | 0);
    return guest.get(GUEST_ARRIVALS + (at & (ARRIVALS - 1)));
  }

  /** A guest is gone. */
  forget(slot: number): void {
    this.#seen.delete(slot);
  }
}
