/**
 * What page sharing remembers of pages it has hashed: a table in the manager's own memory that proposes where the same
 * contents may be. An entry is a hint and nothing more; whoever uses it checks it. Four entries make a set, the oldest one
 * goes when a set is full, so the table has a fixed size and never needs tidying.
 *
 * Entry, 4 words: hash low, hash high, reference, generation. Reference: 0 empty; bit 31 set: bits 0..19 mfn of a shared
 * frame of that generation, bits 20..29 the domain it is shared in; otherwise bits 0..19 gfn and bits 20..29 guest slot + 1
 * of a page.
 */

const WAYS = 4;
const ENTRY_WORDS = 4;
const SET_WORDS = WAYS * ENTRY_WORDS;
const FRAME_BIT = 1 << 31;
const NUMBER_MASK = 0xf_ffff;
const SLOT_SHIFT = 20;

/** Hints from hashes to pages and shared frames. */
export class HintTable {
  readonly #words: Int32Array;
  readonly #setMask: number;

  /** Room for about `pages` hints, 16 bytes each. */
  constructor(pages: number) {
    let sets = 16;
    while (sets * WAYS < pages) {
      sets *= 2;
    }
    this.#words = new Int32Array(sets * SET_WORDS);
    this.#setMask = sets - 1;
  }

  /** Index of the entry with this hash, -1 if there is none. It is valid until the next call of put. */
  find(low: number, high: number): number {
    const words = this.#words;
    const start = (low & this.#setMask) * SET_WORDS;
    for (let i = start; i < start + SET_WORDS; i += ENTRY_WORDS) {
      if (words[i] === low && words[i + 1] === high && words[i + 2] !== 0) {
        return i;
      }
    }
    return -1;
  }

  /** Whether the entry names a shared frame, not a page. */
  isFrame(entry: number): boolean {
    return (this.#words[entry + 2]! & FRAME_BIT) !== 0;
  }

  /** mfn of a frame, gfn of a page. */
  number(entry: number): number {
    return this.#words[entry + 2]! & NUMBER_MASK;
  }

  /** Guest slot of a page. */
  slot(entry: number): number {
    return ((this.#words[entry + 2]! & ~FRAME_BIT) >>> SLOT_SHIFT) - 1;
  }

  /** Domain that a frame is shared in. */
  domain(entry: number): number {
    return (this.#words[entry + 2]! & ~FRAME_BIT) >>> SLOT_SHIFT;
  }

  /** Generation that the frame had. */
  generation(entry: number): number {
    return this.#words[entry + 3]!;
  }

  /** Remembers a page. */
  putPage(low: number, high: number, slot: number, gfn: number): void {
    this.#put(low, high, ((slot + 1) << SLOT_SHIFT) | gfn, 0);
  }

  /** Remembers a shared frame. */
  putFrame(low: number, high: number, mfn: number, generation: number, domain: number): void {
    this.#put(low, high, FRAME_BIT | (domain << SLOT_SHIFT) | mfn, generation);
  }

  /** The newest entry of a set comes first. */
  #put(low: number, high: number, reference: number, generation: number): void {
    const words = this.#words;
    const start = (low & this.#setMask) * SET_WORDS;
    const found = this.find(low, high);
    const end = found >= 0 ? found : start + SET_WORDS - ENTRY_WORDS;
    words.copyWithin(start + ENTRY_WORDS, start, end);
    words[start] = low;
    words[start + 1] = high;
    words[start + 2] = reference;
    words[start + 3] = generation;
  }
}
