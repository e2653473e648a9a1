import type { MemoryConstants } from './state.ts';

/** What raises the generation in a frame's word by one, and where it stands there. */
const GENERATION_SHIFT = 8;
const GENERATION = 1 << GENERATION_SHIFT;

/** The generations of a frame before and behind a change of its contents. */
export interface NewGeneration {
  readonly before: number;
  readonly now: number;
}

export interface CodeFramesOptions {
  readonly buffer: SharedArrayBuffer;
  /** Byte address of the frame table. */
  readonly frameTable: number;
  readonly zeroFrame: number;
  readonly constants: MemoryConstants;
  /** Takes a frame out of the hart's write TLBs. */
  readonly dropWrites: (mfn: number) => void;
  /** Given if the guest has other harts: see `SiblingHarts`. */
  readonly dropSiblingWrites: ((mfn: number) => void) | undefined;
}

/**
 * What the frame table says of frames that harts have decoded code of: flags, and the generation that names a use of a frame.
 *
 * The page of zeros is never written, so that it needs no flag.
 */
export class CodeFrames {
  readonly #o: CodeFramesOptions;
  readonly #i32: Int32Array;

  constructor(options: CodeFramesOptions) {
    this.#o = options;
    this.#i32 = new Int32Array(options.buffer);
  }

  /** Flags and generation of a frame, as they stand in its entry of the frame table. */
  word(mfn: number): number {
    return Atomics.load(this.#i32, this.#index(mfn));
  }

  generation(mfn: number): number {
    return this.word(mfn) >>> GENERATION_SHIFT;
  }

  /** Whether a frame's word says that its generation is this one, and that all stores to it are announced. */
  isWatched(mfn: number, word: number, generation: number): boolean {
    const { constants, dropSiblingWrites, zeroFrame } = this.#o;
    const flag = dropSiblingWrites === undefined ? constants.frameCode : constants.frameCodeKnown;
    return word >>> GENERATION_SHIFT === generation && ((word & flag) !== 0 || mfn === zeroFrame);
  }

  /** Whether some hart has decoded code of the frame. Of the page of zeros that is not known. */
  isFlagged(mfn: number): boolean {
    return (this.word(mfn) & this.#o.constants.frameCode) !== 0;
  }

  /** Gives a frame another generation; it holds code yet. */
  change(mfn: number): NewGeneration {
    const before = Atomics.add(this.#i32, this.#index(mfn), GENERATION);
    return { before: before >>> GENERATION_SHIFT, now: (before + GENERATION) >>> GENERATION_SHIFT };
  }

  /**
   * Takes the CODE flag from a frame and gives it another generation, in one step: otherwise another hart could decode of
   * it in between and see the same generation later.
   */
  release(mfn: number): NewGeneration {
    const { frameCode, frameCodeKnown } = this.#o.constants;
    const index = this.#index(mfn);
    for (;;) {
      const old = Atomics.load(this.#i32, index);
      const next = ((old & ~(frameCode | frameCodeKnown)) + GENERATION) | 0;
      if (Atomics.compareExchange(this.#i32, index, old, next) === old) {
        return { before: old >>> GENERATION_SHIFT, now: next >>> GENERATION_SHIFT };
      }
    }
  }

  /**
   * Has all stores to a frame announced, as it is about to be decoded. All harts of the guest have to take it out of their write
   * TLBs before; that they have is a flag of its own, as one hart can find the frame flagged while another one still waits for
   * them. (Frames that guests share are in nobody's write TLB.)
   */
  watch(mfn: number, generation: number): void {
    const { constants, dropWrites, dropSiblingWrites, zeroFrame } = this.#o;
    if (mfn === zeroFrame) return;
    const { frameCode, frameCodeKnown } = constants;
    const index = this.#index(mfn);
    const old = Atomics.or(this.#i32, index, frameCode);
    if (dropSiblingWrites === undefined) {
      if ((old & frameCode) === 0) dropWrites(mfn);
      return;
    }
    if ((old & frameCodeKnown) !== 0) return;
    dropWrites(mfn);
    dropSiblingWrites(mfn);
    for (;;) {
      const now = Atomics.load(this.#i32, index);
      if (now >>> GENERATION_SHIFT !== generation || (now & frameCode) === 0) return;
      if (Atomics.compareExchange(this.#i32, index, now, now | frameCodeKnown) === now) return;
    }
  }

  #index(mfn: number): number {
    const { frameTable, constants } = this.#o;
    return (frameTable + mfn * constants.frameBytes + constants.frameInfoOffset) >>> 2;
  }
}
