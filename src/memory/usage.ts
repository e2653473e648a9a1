/**
 * What a guest uses, from looks at a sample of its pages: the working set, which are the pages used within a window, rises at
 * once and falls slowly (Waldspurger, OSDI 2002, 5.3); the miss-ratio curve comes of reuse distances. It does not matter
 * where the looks come from: a running guest, or a trace of one.
 */

import { MissCurve } from './reuse.ts';

/** What is known of a guest. */
export interface Usage {
  /** Working set in pages. */
  workingSet: number;
  /** Misses in a second if it had i / CURVE_PARTS of its configured memory; empty while nothing is known. */
  misses: readonly number[];
}

/** Pages in a sample at most, unless another number is asked for. */
export const DEFAULT_SAMPLES = 8192;

/** How it is averaged. */
export interface UsageOptions {
  /** Milliseconds within which a page has been used to be in the working set; 5000 by default. */
  windowMs?: number;
  /** Milliseconds in which the working set falls to 37% of the way when a guest uses less; 2000 by default. */
  fallMs?: number;
  /** Milliseconds over which the miss-ratio curve is averaged; 5000 by default. */
  curveMs?: number;
}

/** Whether a page is among the part of all pages, 0 to 1, that is sampled. */
export function isSampled(gfn: number, part: number): boolean {
  // murmur3's last step: neighbours land far apart.
  let hash = gfn + 0x9e37_79b9;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32 < part;
}

/** The sample of a guest with so many pages: a set that a hash chooses, once for all (SHARDS, Waldspurger, FAST 2015). */
export function sampleOf(pages: number, samples: number): Int32Array {
  const gfns: number[] = [];
  for (let gfn = 0; gfn < pages; gfn++) {
    if (isSampled(gfn, samples / pages)) gfns.push(gfn);
  }
  // A guest of a few pages might have none in the sample.
  return Int32Array.from(gfns.length > 0 ? gfns : [0]);
}

/** Follows the use of one guest's memory. Pages are meant by their places in the sample. */
export class UsageModel {
  readonly #pages: number;
  readonly #windowMs: number;
  readonly #fallMs: number;
  /** When each page was used last. */
  readonly #used: Float64Array;
  readonly #curve: MissCurve;
  #now = 0;
  #recent = 0;
  /** The working set as it falls. */
  #slow = 0;

  /**
   * @param sampled pages in the sample
   * @param pages all pages of the guest
   */
  constructor(sampled: number, pages: number, options: UsageOptions = {}) {
    this.#pages = pages;
    this.#windowMs = options.windowMs ?? 5000;
    this.#fallMs = options.fallMs ?? 2000;
    this.#used = new Float64Array(sampled).fill(Number.NEGATIVE_INFINITY);
    this.#curve = new MissCurve(sampled, pages, options.curveMs ?? 5000);
  }

  /** Sampled pages that were used within the window. */
  get recent(): number {
    return this.#recent;
  }

  /** The miss-ratio curve. */
  get curve(): MissCurve {
    return this.#curve;
  }

  /**
   * Takes in a look.
   * @param elapsed milliseconds since the last one
   * @param used pages that were used since then, in any order
   * @param gone pages that the guest has given back
   */
  look(elapsed: number, used: Iterable<number>, gone: Iterable<number>): Usage {
    this.#now += elapsed;
    this.#curve.age(elapsed);
    for (const page of gone) {
      this.#curve.remove(page);
      this.#used[page] = Number.NEGATIVE_INFINITY;
    }
    for (const page of used) {
      this.#curve.use(page);
      this.#used[page] = this.#now;
    }
    let recent = 0;
    for (const time of this.#used) {
      if (this.#now - time < this.#windowMs) recent++;
    }
    this.#recent = recent;
    const pages = (recent / this.#used.length) * this.#pages;
    this.#slow = Math.max(pages, pages + (this.#slow - pages) * Math.exp(-elapsed / this.#fallMs));
    return { workingSet: Math.round(this.#slow), misses: this.#curve.missesPerSecond() };
  }
}
