import { TIMEBASE_HZ } from './map.ts';

/** The guest's time base: what the `time` CSR and MTIME show. */
export interface Clock {
  /** Ticks of 100 ns (10 MHz) since power-on, an integer. Never runs backwards but by {@link setTicks}. */
  ticks(): number;
  /** Sets the time to `ticks`. Without it a store to MTIME has no effect. */
  setTicks?(ticks: number): void;
}

const TICKS_PER_MS = TIMEBASE_HZ / 1000;

/** A {@link Clock} driven by the host's monotonic clock, which can be halted while the guest is paused. */
export class HostClock implements Clock {
  #now: () => number;
  /** Host time, in whole ticks, at which the guest's were 0: integers, so that no rounding takes a tick back. */
  #origin: Float64Array;
  /** Ticks at which the clock was halted. */
  #halted: number | undefined;

  /**
   * @param now a monotonic clock in milliseconds with fractions, for example `performance.now`
   * @param origin one number, shared by the threads that see the same time
   */
  constructor(now: () => number, origin: Float64Array = new Float64Array(1)) {
    this.#now = now;
    this.#origin = origin;
  }

  /** A clock that starts now. */
  static start(now: () => number, origin?: Float64Array): HostClock {
    const clock = new HostClock(now, origin);
    clock.setTicks(0);
    return clock;
  }

  ticks(): number {
    return this.#halted ?? this.#hostTicks() - this.#origin[0]!;
  }

  setTicks(ticks: number): void {
    if (this.#halted === undefined) this.#origin[0] = this.#hostTicks() - ticks;
    else this.#halted = ticks;
  }

  /** Stops time for this thread, which has to be the only one that looks at it; the guest will not see the pause. */
  halt(): void {
    this.#halted ??= this.ticks();
  }

  /** Goes on from where {@link halt} stopped. */
  resume(): void {
    if (this.#halted === undefined) return;
    const ticks = this.#halted;
    this.#halted = undefined;
    this.setTicks(ticks);
  }

  /** Milliseconds from now to `ticks`, 0 if that has passed, Infinity for Infinity. */
  msUntil(ticks: number): number {
    return Math.max(0, (ticks - this.ticks()) / TICKS_PER_MS);
  }

  #hostTicks(): number {
    return Math.floor(this.#now() * TICKS_PER_MS);
  }
}
