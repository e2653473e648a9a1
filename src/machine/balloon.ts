import { BALLOON_STATISTICS, type BalloonBackend, type BalloonStatistics } from '../devices/virtio/balloon.ts';
import type { Guest } from '../memory/guest.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { PAGE_SIZE } from '../memory/layout.ts';
import {
  BALLOON_STAT_AVAILABLE,
  BALLOON_STAT_CACHES,
  BALLOON_STAT_FREE,
  BALLOON_STAT_SWAP_IN,
  BALLOON_STAT_SWAP_OUT,
  BALLOON_STAT_TOTAL,
  COUNT_RESIDENT,
  COUNT_SWAPPED,
  GUEST_BALLOON_STATISTICS,
  GUEST_BALLOON_STATISTICS_COUNT,
  GUEST_BALLOON_TARGET,
} from '../memory/layout-guest.ts';
import { BalloonPulse } from './balloon-pulse.ts';

/** Statistics that are amounts of memory: bytes on the wire, pages in the guest block. */
const AMOUNTS: ReadonlySet<number> = new Set([
  BALLOON_STAT_SWAP_IN,
  BALLOON_STAT_SWAP_OUT,
  BALLOON_STAT_FREE,
  BALLOON_STAT_TOTAL,
  BALLOON_STAT_AVAILABLE,
  BALLOON_STAT_CACHES,
]);

/**
 * The balloon device's side of the guest block: the memory manager writes the target there and reads the statistics.
 */
export class GuestBalloon implements BalloonBackend {
  readonly #guest: Guest;
  readonly #memory: GuestMemory;
  readonly #pulse: BalloonPulse;
  /** Pages in the balloon. */
  #pages = 0;

  /** @param now a monotonic clock in milliseconds */
  constructor(guest: Guest, memory: GuestMemory, now: () => number) {
    this.#guest = guest;
    this.#memory = memory;
    this.#pulse = new BalloonPulse(guest.pages, now);
  }

  get targetPages(): number {
    return Math.min(this.#guest.pages, this.#target + this.#pulse.pages);
  }

  get #target(): number {
    return this.#guest.get(GUEST_BALLOON_TARGET);
  }

  /** Pages in the balloon; what is there for a moment only is not counted. */
  get pages(): number {
    return this.#pulse.pages > 0 ? Math.min(this.#pages, this.#target) : this.#pages;
  }

  /** Milliseconds until `look` is to be called. */
  get msUntil(): number {
    return this.#pulse.msUntil;
  }

  /** Whether the driver is to be told of another target, for the guest's sake: see BalloonPulse. */
  look(): boolean {
    return this.#pulse.over(this.#pages);
  }

  /** The guest has nothing to do. Returns whether the driver is to be told of another target. */
  rest(): boolean {
    // A balloon on its way somewhere is not disturbed.
    return this.#pages === this.#target && this.#pulse.begin(this.#pages);
  }

  /** Adjacent pages go in one call: each call may shoot down. */
  inflate(gfns: Uint32Array): void {
    this.#pages += gfns.length;
    const balloon = this.#pulse.pages === 0;
    const sorted = gfns.toSorted();
    for (let start = 0; start < sorted.length; ) {
      let end = start + 1;
      while (end < sorted.length && sorted[end] === sorted[end - 1]! + 1) end++;
      // What the guest has freed is counted as what it reports itself.
      this.#memory.discard(sorted[start]!, end - start, balloon);
      start = end;
    }
  }

  /** The pages are zeros that cost nothing until the guest writes to them. */
  deflate(gfns: Uint32Array): void {
    this.#pages -= gfns.length;
  }

  reset(): void {
    this.#pages = 0;
    this.#pulse.reset();
  }

  report(gfn: number, count: number): void {
    this.#memory.discard(gfn, count);
  }

  statistics(statistics: BalloonStatistics): void {
    for (const [tag, name] of BALLOON_STATISTICS.entries()) {
      const value = statistics[name];
      if (value === undefined) continue;
      const word = AMOUNTS.has(tag) ? Math.floor(value / PAGE_SIZE) : value;
      this.#guest.set(GUEST_BALLOON_STATISTICS + tag, word & 0x7fffffff);
    }
    this.#guest.add(GUEST_BALLOON_STATISTICS_COUNT, 1);
    if (statistics.freeMemory !== undefined) {
      const held = this.#guest.get(COUNT_RESIDENT) + this.#guest.get(COUNT_SWAPPED);
      this.#pulse.observe({ held, free: Math.floor(statistics.freeMemory / PAGE_SIZE), balloon: this.#pages });
    }
  }
}
