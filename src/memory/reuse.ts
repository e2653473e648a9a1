/**
 * Reuse distances: how many other pages were used since a page was used last, which is the memory that a guest needs, with
 * least-recently-used replacement, for that use to be no miss (Mattson, 1970). Pages are small numbers; the order of last
 * uses is kept in a Fenwick tree.
 */

/** Times in the tree for each page, before it is packed again. */
const SPACE = 4;

/** The order in which pages were used last. */
export class ReuseStack {
  /** Time at which each page was used last, 0 for none. */
  readonly #time: Int32Array;
  /** The page of each time, -1 for none. */
  readonly #page: Int32Array;
  /** Fenwick tree over the times: 1 where a page was used last. */
  readonly #tree: Int32Array;
  #now = 0;
  #size = 0;

  /** @param pages their numbers are 0 up to this */
  constructor(pages: number) {
    this.#time = new Int32Array(pages);
    this.#page = new Int32Array(SPACE * pages + 2).fill(-1);
    this.#tree = new Int32Array(SPACE * pages + 2);
  }

  /** Number of pages that have been used and not removed. */
  get size(): number {
    return this.#size;
  }

  /** Notes a use. Returns the number of other pages used since the last one, -1 if there was none. */
  use(page: number): number {
    const time = this.#time[page]!;
    let distance = -1;
    if (time !== 0) {
      distance = this.#size - this.#upTo(time);
      this.#take(time);
    }
    if (this.#now + 1 >= this.#page.length) {
      this.#pack();
    }
    this.#put(page);
    return distance;
  }

  /** Forgets a page: its next use is a first one. */
  remove(page: number): void {
    const time = this.#time[page]!;
    if (time !== 0) {
      this.#take(time);
      this.#time[page] = 0;
    }
  }

  #put(page: number): void {
    const time = ++this.#now;
    this.#time[page] = time;
    this.#page[time] = page;
    this.#add(time, 1);
    this.#size++;
  }

  #take(time: number): void {
    this.#page[time] = -1;
    this.#add(time, -1);
    this.#size--;
  }

  /** Gives the pages new times without gaps. */
  #pack(): void {
    const order: number[] = [];
    for (const page of this.#page) {
      if (page >= 0) order.push(page);
    }
    this.#page.fill(-1);
    this.#tree.fill(0);
    this.#now = 0;
    this.#size = 0;
    for (const page of order) {
      this.#put(page);
    }
  }

  #add(time: number, value: number): void {
    for (let at = time; at < this.#tree.length; at += at & -at) {
      this.#tree[at]! += value;
    }
  }

  #upTo(time: number): number {
    let sum = 0;
    for (let at = time; at > 0; at -= at & -at) {
      sum += this.#tree[at]!;
    }
    return sum;
  }
}

/** Points of a curve: one for each of so many equal parts of a guest's configured memory, and one for none. */
export const CURVE_PARTS = 64;

/**
 * Uses by their reuse distance, older ones counting less and less. `scale` pages stand behind each page that is looked at
 * (1 / rate of the sample; Waldspurger, FAST 2015: SHARDS).
 */
export class MissCurve {
  readonly #stack: ReuseStack;
  readonly #scale: number;
  readonly #partPages: number;
  readonly #spanMs: number;
  /** Uses by part of memory, and in the last place first uses. */
  readonly #uses = new Float64Array(CURVE_PARTS + 1);
  #weightMs = 0;

  /**
   * @param sampled pages that are looked at
   * @param pages all pages of the guest
   * @param spanMs time over which is averaged
   */
  constructor(sampled: number, pages: number, spanMs: number) {
    this.#stack = new ReuseStack(sampled);
    this.#scale = pages / sampled;
    this.#partPages = pages / CURVE_PARTS;
    this.#spanMs = spanMs;
  }

  /** Pages, of all, that have been used and are not free. */
  get footprint(): number {
    return this.#stack.size * this.#scale;
  }

  /** Lets time pass, in which older uses lose weight. */
  age(ms: number): void {
    const keep = Math.exp(-ms / this.#spanMs);
    for (let i = 0; i < this.#uses.length; i++) {
      this.#uses[i]! *= keep;
    }
    this.#weightMs = this.#weightMs * keep + this.#spanMs * (1 - keep);
  }

  /** Notes a use of a sampled page. Returns its reuse distance in pages of the guest, -1 for a first use. */
  use(page: number): number {
    const distance = this.#stack.use(page);
    if (distance < 0) {
      this.#uses[CURVE_PARTS]! += this.#scale;
      return -1;
    }
    // Behind a distance of d sampled pages are d * scale others, and the page itself.
    const part = Math.min(CURVE_PARTS - 1, Math.floor((distance * this.#scale) / this.#partPages));
    this.#uses[part]! += this.#scale;
    return distance * this.#scale;
  }

  /** The guest has given a page back: its contents are gone. */
  remove(page: number): void {
    this.#stack.remove(page);
  }

  /** Misses in a second if the guest had i / CURVE_PARTS of its configured memory, for i from 0; first uses left out. */
  missesPerSecond(): number[] {
    const misses = new Array<number>(CURVE_PARTS + 1).fill(0);
    if (this.#weightMs > 0) {
      for (let i = CURVE_PARTS - 1; i >= 0; i--) {
        misses[i] = misses[i + 1]! + (this.#uses[i]! * 1000) / this.#weightMs;
      }
    }
    return misses;
  }

  /** Part of all uses, first ones included, that is missed with i / CURVE_PARTS of the configured memory, for i from 0. */
  missRatios(): number[] {
    let uses = 0;
    for (const count of this.#uses) {
      uses += count;
    }
    const ratios = new Array<number>(CURVE_PARTS + 1).fill(uses > 0 ? this.#uses[CURVE_PARTS]! / uses : 0);
    if (uses > 0) {
      for (let i = CURVE_PARTS - 1; i >= 0; i--) {
        ratios[i] = ratios[i + 1]! + this.#uses[i]! / uses;
      }
    }
    return ratios;
  }
}
