import { type EngineTotals, sumCounters } from '../engine/counters.ts';
import { readCounters } from '../engine/counting.ts';
import { HART_STATE, type HartState } from '../firmware/sbi/types.ts';
import type { Guest } from '../memory/guest.ts';
import { HART_MACHINE_BYTE, HART_REQUEST_START } from '../memory/layout.ts';
import { GUEST_TIME_ORIGIN } from '../memory/layout-guest.ts';

/** Places in the machine's part of a hart's control block, in bytes from the start of the hart area. */
const HALTED = HART_MACHINE_BYTE;
const STATE = HALTED + 4;
const COUNTS = STATE + 4;
const COMPARE = COUNTS + 4 * 8;
const ENTRY = COMPARE + 8;
/** The mailbox' part, up to HART_MACHINE_END_BYTE. */
export const MAILBOX_BYTE = ENTRY + 4 * 8;

/** Word of the state before the hart's thread is there; otherwise it is the state plus 1. */
const NOT_READY = 0;

/** Where a hart starts: in S-mode as a firmware leaves it, or in M-mode as after a reset. */
export interface StartEntry {
  readonly mode: 'M' | 'S';
  readonly pc: bigint;
  /** Contents of a1 and a2; a0 is the hart's number. */
  readonly a1: bigint;
  readonly a2: bigint;
}

/** Counts of a hart. */
export interface HartCounts {
  readonly instructions: number;
  /** Time that it executed instructions, milliseconds. */
  readonly busyMs: number;
  /** Processor time of that, milliseconds; 0 where nobody measures it. */
  readonly processorMs: number;
}

/**
 * What the threads of a guest's harts know of each other: the machine's part of a hart's control block, in shared memory.
 */
export class HartBlock {
  readonly hart: number;
  readonly #guest: Guest;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;
  readonly #f64: Float64Array;
  readonly #area: number;

  constructor(guest: Guest, hart: number) {
    this.hart = hart;
    this.#guest = guest;
    this.#i32 = guest.memory.i32;
    this.#i64 = new BigInt64Array(guest.memory.buffer);
    this.#f64 = guest.memory.f64;
    this.#area = guest.hartArea(hart);
  }

  /** State of hart state management. A hart whose thread is not there yet is stopped. */
  get state(): HartState {
    const word = Atomics.load(this.#i32, this.#stateWord);
    return word === NOT_READY ? HART_STATE.STOPPED : ((word - 1) as HartState);
  }

  set state(state: HartState) {
    Atomics.store(this.#i32, this.#stateWord, state + 1);
  }

  /** Whether the hart's thread is there. */
  get ready(): boolean {
    return Atomics.load(this.#i32, this.#stateWord) !== NOT_READY;
  }

  /** To be called by the hart's thread when it is there, before it looks for requests. */
  getReady(): void {
    this.state = HART_STATE.STOPPED;
    Atomics.notify(this.#i32, this.#stateWord);
  }

  /** Waits until the hart's thread is there, for some milliseconds at most. */
  awaitReady(ms: number): void {
    Atomics.wait(this.#i32, this.#stateWord, NOT_READY, ms);
  }

  /** Whether its thread has seen that the hart is to stand still. */
  get halted(): boolean {
    return Atomics.load(this.#i32, (this.#area + HALTED) >>> 2) !== 0;
  }

  set halted(halted: boolean) {
    Atomics.store(this.#i32, (this.#area + HALTED) >>> 2, halted ? 1 : 0);
  }

  /**
   * Has the hart's thread, which has to be there, start the hart.
   * @returns false if the hart was not stopped, or another one starts it
   */
  start(entry: StartEntry): boolean {
    const [stopped, pending] = [HART_STATE.STOPPED + 1, HART_STATE.START_PENDING + 1];
    if (Atomics.compareExchange(this.#i32, this.#stateWord, stopped, pending) !== stopped) return false;
    const at = (this.#area + ENTRY) / 8;
    this.#i64[at] = entry.mode === 'M' ? 1n : 0n;
    for (const [i, value] of [entry.pc, entry.a1, entry.a2].entries()) this.#i64[at + 1 + i] = BigInt.asIntN(64, value);
    this.#guest.request(HART_REQUEST_START, [this.hart]);
    return true;
  }

  /** What `start` has left, for the hart's thread when it is asked to start. */
  get entry(): StartEntry {
    const at = (this.#area + ENTRY) / 8;
    const [pc, a1, a2] = [1, 2, 3].map((i) => BigInt.asUintN(64, this.#i64[at + i]!));
    return { mode: this.#i64[at] === 1n ? 'M' : 'S', pc: pc!, a1: a1!, a2: a2! };
  }

  get #stateWord(): number {
    return (this.#area + STATE) >>> 2;
  }

  get counts(): HartCounts {
    const at = (this.#area + COUNTS) / 8;
    return { instructions: this.#f64[at]!, busyMs: this.#f64[at + 1]!, processorMs: this.#f64[at + 2]! };
  }

  set counts({ instructions, busyMs, processorMs }: HartCounts) {
    const at = (this.#area + COUNTS) / 8;
    this.#f64[at] = instructions;
    this.#f64[at + 1] = busyMs;
    this.#f64[at + 2] = processorMs;
  }

  /** MTIMECMP: position in words. */
  get compare(): number {
    return (this.#area + COMPARE) >>> 2;
  }
}

/** The number that the clocks of a guest's threads share. */
export const timeOrigin = (guest: Guest): Float64Array =>
  new Float64Array(guest.memory.buffer, (guest.block + GUEST_TIME_ORIGIN) * 4, 1);

/** Counts of all harts of a guest together; any thread may look. */
export function hartCounts(guest: Guest): EngineTotals {
  const all = guest.allHarts.map((hart) => new HartBlock(guest, hart).counts);
  return {
    instructions: all.reduce((sum, { instructions }) => sum + instructions, 0),
    busyMs: all.reduce((sum, { busyMs }) => sum + busyMs, 0),
    processorMs: all.reduce((sum, { processorMs }) => sum + processorMs, 0),
    counters: sumCounters(guest.allHarts.map((hart) => readCounters(guest.memory.buffer, guest.hartArea(hart)))),
  };
}
