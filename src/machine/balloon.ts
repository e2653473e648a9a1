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
  GUEST_BALLOON_STATISTICS,
  GUEST_BALLOON_STATISTICS_COUNT,
  GUEST_BALLOON_TARGET,
} from '../memory/layout-guest.ts';

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

  constructor(guest: Guest, memory: GuestMemory) {
    this.#guest = guest;
    this.#memory = memory;
  }

  get targetPages(): number {
    return this.#guest.get(GUEST_BALLOON_TARGET);
  }

  /** Adjacent pages go in one call: each call may shoot down. */
  inflate(gfns: Uint32Array): void {
    const sorted = gfns.toSorted();
    for (let start = 0; start < sorted.length; ) {
      let end = start + 1;
      while (end < sorted.length && sorted[end] === sorted[end - 1]! + 1) end++;
      this.#memory.discard(sorted[start]!, end - start, true);
      start = end;
    }
  }

  /** The pages are zeros that cost nothing until the guest writes to them. */
  deflate(): void {}

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
  }
}
