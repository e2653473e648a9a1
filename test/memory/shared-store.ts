/** A swap store in shared memory, which all threads of a test have. */

import { PAGE_SIZE } from '../../src/memory/layout.ts';
import type { SlotStore } from '../../src/memory/swap.ts';

/** Slots one after the other; `failEvery` makes every so many-th write fail. */
export class SharedStore implements SlotStore {
  readonly #bytes: Uint8Array;
  readonly #failEvery: number;
  #writes = 0;

  constructor(buffer: SharedArrayBuffer, failEvery = Number.POSITIVE_INFINITY) {
    this.#bytes = new Uint8Array(buffer);
    this.#failEvery = failEvery;
  }

  read(slot: number, target: Uint8Array): void {
    target.set(this.#bytes.subarray(slot * PAGE_SIZE, (slot + 1) * PAGE_SIZE));
  }

  write(slot: number, source: Uint8Array): void {
    if (++this.#writes % this.#failEvery === 0) {
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    }
    this.#bytes.set(source, slot * PAGE_SIZE);
  }
}
