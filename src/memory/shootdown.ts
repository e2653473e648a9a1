/**
 * TLB shootdown. Harts cache translations, so a change of an NPT entry that takes something away (a frame, the right to
 * write) holds for a hart only once it has flushed its TLBs. The side that changes entries asks and waits, the hart
 * acknowledges at the place where it polls for requests, and a hart that sleeps (parked) counts as having acknowledged,
 * because it flushes before it uses a translation again.
 *
 * Neither side may hold the host mutex while it waits here: a hart can be inside of a fault and wait for the mutex.
 */

import { ShootdownTimeoutError } from './errors.ts';
import type { Guest } from './guest.ts';
import {
  HART_PARKED,
  HART_REQUEST_BYTE,
  HART_REQUEST_SHOOTDOWN,
  HART_RUNNING,
  HART_SHOOTDOWN_ACK_BYTE,
  HART_SHOOTDOWN_REQ_BYTE,
  HART_STATE_BYTE,
  HART_WAKE_BYTE,
} from './layout.ts';
import { COUNT_SHOOTDOWNS, GUEST_ENDED, GUEST_STATE } from './layout-guest.ts';

const REQUEST = HART_REQUEST_BYTE / 4;
const STATE = HART_STATE_BYTE / 4;
const REQ = HART_SHOOTDOWN_REQ_BYTE / 4;
const ACK = HART_SHOOTDOWN_ACK_BYTE / 4;
const WAKE = HART_WAKE_BYTE / 4;

/** Milliseconds after which a hart that does not answer is reported. */
export const SHOOTDOWN_TIMEOUT_MS = 5000;
/** A notification can be missed between looking and sleeping; then the next look is this many milliseconds later. */
const LOOK_MS = 1;

/**
 * Asks harts of a guest, by default all, to flush. Returns the number of the request for each hart into `numbers`, which
 * awaitShootdown takes with the same harts.
 */
export function requestShootdown(guest: Guest, numbers: Int32Array, harts: readonly number[] = guest.allHarts): void {
  const { i32 } = guest.memory;
  guest.add(COUNT_SHOOTDOWNS, 1);
  for (const hart of harts) {
    const control = guest.hartArea(hart) >>> 2;
    numbers[hart] = (Atomics.add(i32, control + REQ, 1) + 1) | 0;
    Atomics.or(i32, control + REQUEST, HART_REQUEST_SHOOTDOWN);
  }
}

/** Index of the first hart that has not served its request, -1 when all have. Does not wait. */
export function lateHart(guest: Guest, numbers: Int32Array, harts: readonly number[] = guest.allHarts): number {
  if (guest.get(GUEST_STATE) === GUEST_ENDED) {
    return -1;
  }
  for (const hart of harts) {
    if (!hasServed(guest, hart, numbers[hart]!)) {
      return hart;
    }
  }
  return -1;
}

/** Waits until the harts asked by requestShootdown have flushed, or throws ShootdownTimeoutError naming one that has not. */
export function awaitShootdown(
  guest: Guest,
  numbers: Int32Array,
  harts: readonly number[] = guest.allHarts,
  timeoutMs: number = SHOOTDOWN_TIMEOUT_MS,
): void {
  const { i32 } = guest.memory;
  let waited = 0;
  for (let hart = lateHart(guest, numbers, harts); hart >= 0; hart = lateHart(guest, numbers, harts)) {
    if (waited >= timeoutMs) {
      throw new ShootdownTimeoutError(guest.name, guest.slot, hart, timeoutMs);
    }
    const word = (guest.hartArea(hart) >>> 2) + ACK;
    const seen = Atomics.load(i32, word);
    if (hasServed(guest, hart, numbers[hart]!)) {
      continue;
    }
    // Only full slices are counted: the core has no clock, and a hart that answers in between is alive.
    if (Atomics.wait(i32, word, seen, LOOK_MS) === 'timed-out') {
      waited += LOOK_MS;
    }
  }
}

function hasServed(guest: Guest, hart: number, number: number): boolean {
  const { i32 } = guest.memory;
  const control = guest.hartArea(hart) >>> 2;
  // The order matters: a hart that unparks stores RUNNING and then looks at REQ, this side has raised REQ before it loads
  // STATE. So either it sees the request, or this side sees it running and waits for the acknowledgement.
  return Atomics.load(i32, control + STATE) === HART_PARKED || ((Atomics.load(i32, control + ACK) - number) | 0) >= 0;
}

/**
 * The hart's side, used by the one thread that runs the hart. `flush` drops every translation that the thread has cached.
 */
export class HartControl {
  readonly guest: Guest;
  readonly hart: number;
  /** Drops all cached translations of this hart. */
  readonly flush: () => void;
  readonly #i32: Int32Array;
  readonly #control: number;
  #parks = 1;

  /** The hart starts parked; call unpark before the first access. */
  constructor(guest: Guest, hart: number, flush: () => void) {
    this.guest = guest;
    this.hart = hart;
    this.flush = flush;
    this.#i32 = guest.memory.i32;
    this.#control = guest.hartArea(hart) >>> 2;
    Atomics.store(this.#i32, this.#control + STATE, HART_PARKED);
  }

  /** Whether the hart is parked: its thread must not touch guest memory then. */
  get parked(): boolean {
    return this.#parks > 0;
  }

  /**
   * Says that this thread uses no translation until unpark. Before any wait: for an interrupt, a frame, I/O. Calls nest.
   */
  park(): void {
    if (this.#parks++ === 0) {
      Atomics.store(this.#i32, this.#control + STATE, HART_PARKED);
      Atomics.notify(this.#i32, this.#control + ACK);
    }
  }

  /** Ends the innermost park; flushes if a shootdown has come meanwhile. */
  unpark(): void {
    if (--this.#parks === 0) {
      Atomics.store(this.#i32, this.#control + STATE, HART_RUNNING);
      this.#acknowledge();
    }
  }

  /** The state of the WAKE word, for `doze`. */
  get wakeups(): number {
    return Atomics.load(this.#i32, this.#control + WAKE);
  }

  /** Parks until somebody wakes the hart (or has since `wakeups` was looked at), or for some milliseconds. */
  doze(wakeups: number, ms: number): void {
    this.park();
    Atomics.wait(this.#i32, this.#control + WAKE, wakeups, ms);
    this.unpark();
  }

  /** To be called where no translation is in use: serves a shootdown that waits. One atomic load when there is none. */
  poll(): void {
    if ((Atomics.load(this.#i32, this.#control + REQUEST) & HART_REQUEST_SHOOTDOWN) !== 0) {
      this.#acknowledge();
    }
  }

  /** Takes the REQUEST bits (HART_REQUEST_*) and clears them; a shootdown among them is served. */
  takeRequests(): number {
    const bits = Atomics.exchange(this.#i32, this.#control + REQUEST, 0);
    if ((bits & HART_REQUEST_SHOOTDOWN) !== 0) {
      this.#acknowledge();
    }
    return bits & ~HART_REQUEST_SHOOTDOWN;
  }

  #acknowledge(): void {
    const i32 = this.#i32;
    const control = this.#control;
    Atomics.and(i32, control + REQUEST, ~HART_REQUEST_SHOOTDOWN);
    // Loaded after the bit is cleared: a later request sets it again.
    const number = Atomics.load(i32, control + REQ);
    if (number !== Atomics.load(i32, control + ACK)) {
      this.flush();
      Atomics.store(i32, control + ACK, number);
      Atomics.notify(i32, control + ACK);
    }
  }
}
