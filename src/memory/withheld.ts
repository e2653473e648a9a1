/**
 * Frames that the memory manager keeps from guests, so that a host can do with less memory for a time. They are free frames to
 * which it has a reference; what guests have is reclaimed by the policy, which sees that there are fewer frames.
 */

import { allocateFrame, releaseFrame } from './frames.ts';
import { HEADER_WITHHELD } from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';

/** Part of the frames that stays free while more are taken: nobody has to wait, and what balloons can't do, paging does. */
const LEFT_FREE = 1 / 64;
/** What is left when that leads nowhere: paging takes pages that are in use, which all may be, in state low only. */
const LEFT_PRESSED = 1 / 128;
/** Steps without a frame after which it is so. */
const PATIENCE = 100;

/** The frames that are kept from guests; belongs to the memory manager's thread. */
export class Withheld {
  readonly #memory: MachineMemory;
  readonly #frames: number[] = [];
  #wanted = 0;
  /** Steps that have taken no frame, the last PATIENCE of them one after the other. */
  #fruitless = 0;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
  }

  /** The frames. */
  get frames(): readonly number[] {
    return this.#frames;
  }

  /** Whether they are as many as are wanted. */
  get settled(): boolean {
    return this.#frames.length === this.#wanted;
  }

  /** Sets how many are wanted; `step` takes them as they become free. */
  want(frames: number): void {
    this.#wanted = frames;
    this.#fruitless = 0;
  }

  /** Takes frames that are free, or gives them back. */
  step(): void {
    if (this.settled) {
      return;
    }
    const memory = this.#memory;
    memory.lock();
    try {
      const before = this.#frames.length;
      const part = this.#fruitless >= PATIENCE ? LEFT_PRESSED : LEFT_FREE;
      const left = Math.ceil((memory.guestFrames - before) * part);
      while (this.#frames.length < this.#wanted && memory.freeFrames > left) {
        const mfn = allocateFrame(memory);
        if (mfn === 0) break;
        this.#frames.push(mfn);
      }
      if (this.#frames.length > before && part === LEFT_FREE) this.#fruitless = 0;
      else this.#fruitless++;
      while (this.#frames.length > this.#wanted) {
        releaseFrame(memory, this.#frames.pop()!);
      }
      memory.i32[HEADER_WITHHELD] = this.#frames.length;
    } finally {
      memory.unlock();
    }
    memory.progress();
  }
}
