/** Pages freed since, as far as can be told, from which on it is worth a pulse. Fewer are left to free page reporting. */
const LEAST = 4096;
/** Parts of the guest's memory that a pulse leaves free, so that the guest takes nothing from its caches for it. */
const SPARED = 1 / 32;
/** Longest time that a pulse takes, milliseconds: a driver that can't fill its balloon waits and tries again. */
const LIMIT_MS = 1000;
/** A balloon this near to where it is to be, in pages, is there: drivers work in arrays of pages. */
const NEAR = 256;
/** Time between two looks at the balloon, milliseconds. */
const LOOK_MS = 5;

/** What is known of a guest's memory when its statistics come, in pages. */
export interface PulseObservation {
  /** Pages of the guest that take memory: frames, or places in swap. */
  readonly held: number;
  /** Free memory as the guest says. */
  readonly free: number;
  /** Pages in its balloon. */
  readonly balloon: number;
}

/**
 * Gets back what a guest has freed, without waiting for the guest: Linux reports free pages two seconds after the first of them was
 * freed, a part of them at a time, and only those in large blocks. A pulse has the balloon take as many pages as were freed and give
 * them back at once: Linux takes pages that it freed last first, and what has been in the balloon takes no memory until it is used.
 *
 * How many were freed: held + free + balloon stays as it is when the guest uses a free page that took no memory, grows by one when
 * it frees one that did, and falls when such a page comes to the host by a report or in the balloon. What it is above its least is free
 * and takes memory.
 */
export class BalloonPulse {
  readonly #now: () => number;
  readonly #spared: number;
  #least = Infinity;
  #wanted = 0;
  #pages = 0;
  /** Where the balloon is when the pulse is done, and the time at which it is given up. */
  #goal = 0;
  #end = 0;
  /** After a pulse, what is left above the least is something else. */
  #learning = false;

  /**
   * @param pages configured memory of the guest
   * @param now a monotonic clock in milliseconds
   */
  constructor(pages: number, now: () => number) {
    this.#now = now;
    this.#spared = Math.ceil(pages * SPARED);
  }

  /** Pages that the balloon is to have beside its target. */
  get pages(): number {
    return this.#pages;
  }

  /** Milliseconds until it is to be looked at. */
  get msUntil(): number {
    return this.#pages > 0 ? LOOK_MS : Infinity;
  }

  /** New statistics have come. */
  observe({ held, free, balloon }: PulseObservation): void {
    if (this.#pages > 0) return;
    const sum = held + free + balloon;
    this.#least = this.#learning ? sum : Math.min(this.#least, sum);
    this.#learning = false;
    const freed = Math.min(sum - this.#least, free - this.#spared);
    this.#wanted = freed >= LEAST ? freed : 0;
  }

  /**
   * The guest has nothing to do, so that a pulse does not keep it from anything.
   * @param balloon pages that it has now
   * @returns whether one begins
   */
  begin(balloon: number): boolean {
    if (this.#wanted === 0) return false;
    this.#pages = this.#wanted;
    this.#wanted = 0;
    this.#goal = balloon + this.#pages - NEAR;
    this.#end = this.#now() + LIMIT_MS;
    return true;
  }

  /**
   * @param balloon pages that it has now
   * @returns whether the pulse that there was is over
   */
  over(balloon: number): boolean {
    if (this.#pages === 0 || (balloon < this.#goal && this.#now() < this.#end)) return false;
    this.#pages = 0;
    this.#learning = true;
    return true;
  }

  /** The driver is gone. */
  reset(): void {
    this.#pages = 0;
    this.#wanted = 0;
    this.#least = Infinity;
    this.#learning = false;
  }
}
