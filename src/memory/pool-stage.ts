/**
 * The memory manager's side of the compressed pool: pages are compressed without the mutex into a buffer of their own, and
 * copied into the pool under it if they still are what they were. When the pool is full, the pages that came first are
 * written to the swap file, in which their places are reserved. Belongs to the memory manager's thread.
 */

import { PAGE_SIZE } from './layout.ts';
import { PageCompressor } from './lz4.ts';
import type { MachineMemory } from './machine-memory.ts';
import { poolAccount, poolCompact, poolLoad, poolStore } from './pool.ts';
import { POOL_MOST_BYTES } from './pool-table.ts';
import { dropObject, placeInPool, type SlotStore, slotObject } from './swap.ts';
import { writeSlots } from './swap-io.ts';

/** Bytes that a page has in the buffer: at most half a page is kept. */
const ROOM = PAGE_SIZE / 2;
/** Pages written to the swap file at once. */
const FLUSH_PAGES = 64;
/** Pages decompressed in one turn with the mutex. */
const TURN_PAGES = 8;
/** Entries of the queue that are out of date, beyond the number of pages in the pool, before it is cleared of them. */
const SLACK = 1024;

/** Compresses pages and keeps the order in which they came. */
export class PoolStage {
  readonly #memory: MachineMemory;
  readonly #store: SlotStore | undefined;
  readonly #compressor = new PageCompressor();
  readonly #buffer: Uint8Array;
  readonly #lengths: Int32Array;
  readonly #uniform: Uint8Array;
  readonly #flush = new Uint8Array(FLUSH_PAGES * PAGE_SIZE);
  /** What came in, oldest first: slots, and the number that each got then. */
  #queue: { slot: number; stamp: number }[] = [];
  #head = 0;
  #stamp = 0;
  /** Stamp of the page that is in a slot, by slot. */
  readonly #stamps = new Map<number, number>();

  /** For batches of up to `batch` pages. */
  constructor(memory: MachineMemory, store: SlotStore | undefined, batch: number) {
    this.#memory = memory;
    this.#store = store;
    this.#buffer = new Uint8Array(batch * ROOM);
    this.#lengths = new Int32Array(batch);
    this.#uniform = new Uint8Array(batch);
  }

  /** Whether there is a pool. */
  get enabled(): boolean {
    return poolAccount(this.#memory).limit > 0;
  }

  /** Without the mutex: compresses the page in a frame as number `i` of the batch. Returns whether it is worth keeping. */
  compress(i: number, mfn: number): boolean {
    const compressor = this.#compressor;
    compressor.page.set(this.#memory.page(mfn));
    const uniform = compressor.uniform;
    this.#uniform[i] = uniform ? 1 : 0;
    if (uniform) {
      this.#buffer.set(compressor.page.subarray(0, 4), i * ROOM);
      this.#lengths[i] = 4;
    } else {
      this.#lengths[i] = compressor.compress(this.#buffer, i * ROOM, POOL_MOST_BYTES);
    }
    return this.#lengths[i]! > 0;
  }

  /** Under the mutex: puts page `i` of the batch into the pool for a slot. False if there is no room for it. */
  put(i: number, slot: number): boolean {
    const memory = this.#memory;
    const address = poolStore(memory, slot, this.#uniform[i] === 1, this.#buffer, i * ROOM, this.#lengths[i]!);
    if (address === 0) {
      return false;
    }
    placeInPool(memory, slot, address);
    this.#stamps.set(slot, ++this.#stamp);
    this.#queue.push({ slot, stamp: this.#stamp });
    return true;
  }

  /**
   * Without the mutex: makes sure that the pool has room for some pages of the batch, by writing its oldest to the swap file.
   * Returns what went wrong, if anything did; no page is lost then.
   */
  makeRoom(pages: readonly number[]): Error | undefined {
    const memory = this.#memory;
    const bytes = pages.reduce((sum, i) => sum + this.#lengths[i]!, 0);
    // Two more, as the sizes of objects are not those of the pages.
    const frames = Math.ceil(bytes / PAGE_SIZE) + 2;
    this.#tidy();
    for (;;) {
      const account = poolAccount(memory);
      if (account.limit - account.frames >= Math.min(frames, account.limit) || account.pages === 0) {
        return undefined;
      }
      memory.lock();
      const compacted = poolCompact(memory, (slot, address) => placeInPool(memory, slot, address));
      memory.unlock();
      if (!compacted) {
        const error = this.#writeOldest();
        if (error !== undefined) {
          return error;
        }
      }
    }
  }

  /** Writes the pages that have been in the pool for longest. */
  #writeOldest(): Error | undefined {
    const memory = this.#memory;
    const store = this.#store;
    if (store === undefined) {
      return new Error('the compressed pool is full, and there is no swap file for its oldest pages');
    }
    const taken: { slot: number; stamp: number }[] = [];
    while (taken.length < FLUSH_PAGES && this.#head < this.#queue.length) {
      memory.lock();
      try {
        for (let i = 0; i < TURN_PAGES && taken.length < FLUSH_PAGES && this.#head < this.#queue.length; i++) {
          const entry = this.#queue[this.#head++]!;
          if (this.#valid(entry)) {
            poolLoad(memory, slotObject(memory, entry.slot), this.#flush, taken.length * PAGE_SIZE);
            taken.push(entry);
          } else if (this.#stamps.get(entry.slot) === entry.stamp) {
            this.#stamps.delete(entry.slot);
          }
        }
      } finally {
        memory.unlock();
      }
    }
    if (taken.length === 0) {
      return new Error('the compressed pool is full of pages that are not in its queue');
    }
    const pages = taken.map(({ slot }, i) => ({
      slot,
      page: this.#flush.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE),
    }));
    const failure = writeSlots(memory, store, pages);
    const lost = new Set(failure?.unwritten);
    memory.lock();
    try {
      for (const entry of taken) {
        if (lost.has(entry.slot)) {
          // It stays, as the youngest.
          this.#queue.push(entry);
        } else if (this.#valid(entry)) {
          dropObject(memory, entry.slot);
          this.#stamps.delete(entry.slot);
        }
      }
    } finally {
      memory.unlock();
    }
    return failure === undefined ? undefined : asError(failure.error);
  }

  /** Under the mutex: whether the page that an entry of the queue stands for still is in the pool. */
  #valid({ slot, stamp }: { slot: number; stamp: number }): boolean {
    return this.#stamps.get(slot) === stamp && slotObject(this.#memory, slot) !== 0;
  }

  /** Forgets entries that are out of date when there are many. */
  #tidy(): void {
    if (this.#head > SLACK) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.#queue.length - this.#head > 2 * poolAccount(this.#memory).pages + SLACK) {
      this.#memory.lock();
      try {
        this.#queue = this.#queue.slice(this.#head).filter((entry) => {
          const valid = this.#valid(entry);
          if (!valid && this.#stamps.get(entry.slot) === entry.stamp) {
            this.#stamps.delete(entry.slot);
          }
          return valid;
        });
        this.#head = 0;
      } finally {
        this.#memory.unlock();
      }
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
