import type { HartLines } from '../devices/hart-lines.ts';
import { Hart } from '../engine/hart.ts';
import type { Guest } from '../memory/guest.ts';

/** The interrupt inputs of a hart that another thread runs: it is woken when one rises. */
export class RemoteLines implements HartLines {
  readonly #guest: Guest;
  readonly #hart: number;
  readonly #word: number;

  constructor(guest: Guest, hart: number) {
    this.#guest = guest;
    this.#hart = hart;
    this.#word = (guest.hartArea(hart) + Hart.linesOffset) >>> 2;
  }

  isPending(bit: number): boolean {
    return (Atomics.load(this.#guest.memory.i32, this.#word) & (1 << bit)) !== 0;
  }

  setPending(bit: number, level: boolean): void {
    const { i32 } = this.#guest.memory;
    if (level) {
      Atomics.or(i32, this.#word, 1 << bit);
      this.#guest.wake(this.#hart);
    } else {
      Atomics.and(i32, this.#word, ~(1 << bit));
    }
  }
}
