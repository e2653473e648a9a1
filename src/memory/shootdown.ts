/**
 * TLB shootdown. Harts cache translations, so a change of an NPT entry that takes something away (a frame, the right to
 * write) holds for a hart only once it has forgotten it. The side that changes entries asks and waits, the hart
 * acknowledges at the place where it polls for requests, and a hart that sleeps (parked) counts as having acknowledged,
 * because it forgets before it uses a translation again.
 *
 * Neither side may hold the host mutex while it waits here: a hart can be inside of a fault and wait for the mutex.
 */

import { ShootdownTimeoutError } from './errors.ts';
import type { Guest } from './guest.ts';
import {
  HART_FLUSH_PARTS,
  HART_FLUSH_PARTS_BYTE,
  HART_FLUSH_WRITING,
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

/**
 * What a shootdown takes away: three words. If the first is 0 it is the memory manager's: the frame whose number is the
 * second word, all frames if that is 0 (no page has frame 0), or those without code if it is -1. Other parts are the engine's.
 * A single frame must not be freed before a hart that sleeps has woken up: by its CODE flag it is then seen what is to be forgotten.
 */
export type FlushPart = readonly [number, number, number];

const ALL_FRAMES: FlushPart = [0, 0, 0];
/**
 * All frames that hold no code, and the right to write to any: frames with code are in no write TLB. A frame may get code
 * meanwhile; who is to be certain looks at its CODE flag behind the acknowledgement.
 */
export const SHOOTDOWN_DATA: FlushPart = [0, -1, 0];

/** Translations that a hart's thread has cached. */
export interface TranslationCaches {
  /** Forgets everything. */
  flush(): void;
  /** Forgets no less than some frames, or all; it need not be everything that goes by the guest's own page tables. */
  forgetFrames?(frames?: ArrayLike<number>): void;
  /** Forgets no less than all frames that hold no code. */
  forgetData?(): void;
  /** Forgets no less than an engine's part of a shootdown. */
  forgetPart?(part: FlushPart): void;
}

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
 * Asks harts of a guest, by default all, to forget all frames, or no less than a part. Returns the number of the request for
 * each hart into `numbers`, which awaitShootdown takes with the same harts.
 */
export function requestShootdown(
  guest: Guest,
  numbers: Int32Array,
  harts: readonly number[] = guest.allHarts,
  part: FlushPart = ALL_FRAMES,
): void {
  const { i32 } = guest.memory;
  guest.add(COUNT_SHOOTDOWNS, 1);
  for (const hart of harts) {
    const control = guest.hartArea(hart) >>> 2;
    const number = (Atomics.add(i32, control + REQ, 1) + 1) | 0;
    numbers[hart] = number;
    writePart(i32, control, number, part);
    Atomics.or(i32, control + REQUEST, HART_REQUEST_SHOOTDOWN);
  }
}

const partAt = (control: number, number: number): number =>
  control + HART_FLUSH_PARTS_BYTE / 4 + (number & (HART_FLUSH_PARTS - 1)) * 4;

/** If somebody else is just writing to the entry, nothing is written: who finds no part flushes everything. */
function writePart(i32: Int32Array, control: number, number: number, part: FlushPart): void {
  const at = partAt(control, number);
  const old = Atomics.load(i32, at);
  if (old === HART_FLUSH_WRITING || Atomics.compareExchange(i32, at, old, HART_FLUSH_WRITING) !== old) {
    return;
  }
  for (const [i, word] of part.entries()) {
    Atomics.store(i32, at + 1 + i, word);
  }
  Atomics.store(i32, at, number);
}

/** The part of a shootdown, undefined if it is not known (any more). */
function readPart(i32: Int32Array, control: number, number: number): FlushPart | undefined {
  const at = partAt(control, number);
  if (Atomics.load(i32, at) !== number) {
    return undefined;
  }
  const part: FlushPart = [Atomics.load(i32, at + 1), Atomics.load(i32, at + 2), Atomics.load(i32, at + 3)];
  return Atomics.load(i32, at) === number ? part : undefined;
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

/** Waits until the harts asked by requestShootdown have forgotten it, or throws ShootdownTimeoutError naming one that has not. */
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

/** The hart's side, used by the one thread that runs the hart. */
export class HartControl {
  readonly guest: Guest;
  readonly hart: number;
  readonly #caches: TranslationCaches;
  readonly #i32: Int32Array;
  readonly #control: number;
  #parks = 1;

  /** The hart starts parked; call unpark before the first access. */
  constructor(guest: Guest, hart: number, caches: TranslationCaches) {
    this.guest = guest;
    this.hart = hart;
    this.#caches = caches;
    this.#i32 = guest.memory.i32;
    this.#control = guest.hartArea(hart) >>> 2;
    Atomics.store(this.#i32, this.#control + STATE, HART_PARKED);
  }

  /** Has this hart forget frames, or all: the NPT does not lead to them any more, or not for writing. */
  forgetFrames(frames?: ArrayLike<number>): void {
    const caches = this.#caches;
    if (caches.forgetFrames === undefined) caches.flush();
    else caches.forgetFrames(frames);
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

  /** Ends the innermost park; serves a shootdown that has come meanwhile. */
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
    const served = Atomics.load(i32, control + ACK);
    if (number !== served) {
      this.#flushSince(served, number);
      Atomics.store(i32, control + ACK, number);
      Atomics.notify(i32, control + ACK);
    }
  }

  /** Forgets what the shootdowns behind number `served` up to number `last` take away. */
  #flushSince(served: number, last: number): void {
    const count = (last - served) | 0;
    if (count > HART_FLUSH_PARTS) {
      this.#caches.flush();
      return;
    }
    for (let i = 1; i <= count; i++) {
      const part = readPart(this.#i32, this.#control, (served + i) | 0);
      if (part === undefined) {
        this.#caches.flush();
        return;
      }
      this.#forgetPart(part);
    }
  }

  #forgetPart(part: FlushPart): void {
    const [kind, frame] = part;
    if (kind === 0 && frame === -1 && this.#caches.forgetData !== undefined) this.#caches.forgetData();
    else if (kind === 0) this.forgetFrames(frame <= 0 ? undefined : [frame]);
    else if (this.#caches.forgetPart === undefined) this.#caches.flush();
    else this.#caches.forgetPart(part);
  }
}
