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

  read(slot: number, targets: readonly Uint8Array[]): void {
    for (const [i, target] of targets.entries()) {
      target.set(this.#bytes.subarray((slot + i) * PAGE_SIZE, (slot + i + 1) * PAGE_SIZE));
    }
  }

  write(slot: number, sources: readonly Uint8Array[]): void {
    if (++this.#writes % this.#failEvery === 0) {
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    }
    for (const [i, source] of sources.entries()) {
      this.#bytes.set(source, (slot + i) * PAGE_SIZE);
    }
  }
}
