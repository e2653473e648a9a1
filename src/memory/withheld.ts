/**
 * Frames that the memory manager keeps from guests, so that a host can do with less memory for a time. They are free frames to
 * which it has a reference; what guests have is reclaimed by the policy, which sees that there are fewer frames.
 */

import { allocateFrame, releaseFrame } from './frames.ts';
import { HEADER_WITHHELD } from './layout.ts';
import type { MachineMemory } from './machine-memory.ts';

/** Part of the frames that stays free while more are taken: nobody has to wait, and what balloons can't do, paging does. */
const LEFT_FREE = 1 / 64;

/** The frames that are kept from guests; belongs to the memory manager's thread. */
export class Withheld {
  readonly #memory: MachineMemory;
  readonly #frames: number[] = [];
  #wanted = 0;

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
  }

  /** Takes frames that are free, or gives them back. */
  step(): void {
    if (this.settled) {
      return;
    }
    const memory = this.#memory;
    memory.lock();
    try {
      const left = Math.ceil((memory.guestFrames - this.#frames.length) * LEFT_FREE);
      while (this.#frames.length < this.#wanted && memory.freeFrames > left) {
        const mfn = allocateFrame(memory);
        if (mfn === 0) break;
        this.#frames.push(mfn);
      }
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
