/**
 * A 64-bit hash of a page in shared memory, as two 32-bit numbers and without allocation. It only proposes pages that may be
 * alike: every byte is compared before two pages become one, so nobody gains by making pages collide but lost time.
 */

import { PAGE_WORDS } from './layout.ts';

const P1 = 0x9e3779b1 | 0;
const P2 = 0x85ebca77 | 0;
const P3 = 0xc2b2ae3d | 0;
const P4 = 0x27d4eb2f | 0;
/** Words compared before a look at the result. */
const BLOCK = 64;

/** Looks at the contents of pages for page sharing; what the last hash came to stands in its fields. */
export interface PageContents {
  /** The two halves of the hash. */
  low: number;
  high: number;
  /** Whether every byte of the page was zero. */
  zero: boolean;
  /** Hashes a frame. Pages with another `salt` have other hashes. */
  hash(mfn: number, salt: number): void;
  /** Whether two frames are the same in every byte. */
  same(a: number, b: number): boolean;
}

/** The contents of pages, looked at in JavaScript. */
export class PlainContents implements PageContents {
  low = 0;
  high = 0;
  zero = false;
  readonly #words: Int32Array;

  /** @param words of the machine memory */
  constructor(words: Int32Array) {
    this.#words = words;
  }

  hash(mfn: number, salt: number): void {
    const words = this.#words;
    const start = mfn * PAGE_WORDS;
    let a = P1 ^ salt;
    let b = P2 ^ salt;
    let c = P3 ^ salt;
    let d = P4 ^ salt;
    let any = 0;
    const end = start + PAGE_WORDS;
    // Four lanes, as each step of a lane waits for the one before.
    for (let i = start; i < end; i += 4) {
      const w0 = words[i]!;
      const w1 = words[i + 1]!;
      const w2 = words[i + 2]!;
      const w3 = words[i + 3]!;
      any |= w0 | w1 | w2 | w3;
      a = Math.imul(a ^ w0, P1);
      a ^= a >>> 15;
      b = Math.imul(b ^ w1, P2);
      b ^= b >>> 13;
      c = Math.imul(c ^ w2, P3);
      c ^= c >>> 16;
      d = Math.imul(d ^ w3, P4);
      d ^= d >>> 14;
    }
    this.low = mix(a ^ rotate(b, 7) ^ Math.imul(c, P2) ^ rotate(d, 19));
    this.high = mix(Math.imul(a, P3) ^ b ^ rotate(c, 11) ^ Math.imul(d, P1));
    this.zero = any === 0;
  }

  same(a: number, b: number): boolean {
    return samePage(this.#words, a * PAGE_WORDS, b * PAGE_WORDS);
  }
}

/** Whether the pages that begin at words `a` and `b` are the same in every byte. */
function samePage(words: Int32Array, a: number, b: number): boolean {
  // A look at the sum of differences now and then is cheaper than one at each word.
  for (let i = 0; i < PAGE_WORDS; i += BLOCK) {
    let different = 0;
    for (let j = i; j < i + BLOCK; j += 4) {
      different |=
        (words[a + j]! ^ words[b + j]!) |
        (words[a + j + 1]! ^ words[b + j + 1]!) |
        (words[a + j + 2]! ^ words[b + j + 2]!) |
        (words[a + j + 3]! ^ words[b + j + 3]!);
    }
    if (different !== 0) {
      return false;
    }
  }
  return true;
}

/** Whether every byte of the page that begins at word `start` is zero. */
export function zeroPage(words: Int32Array, start: number): boolean {
  for (let i = start; i < start + PAGE_WORDS; i++) {
    if (words[i] !== 0) {
      return false;
    }
  }
  return true;
}

function rotate(x: number, n: number): number {
  return (x << n) | (x >>> (32 - n));
}

function mix(x: number): number {
  let y = Math.imul(x ^ (x >>> 16), P2);
  y = Math.imul(y ^ (y >>> 13), P3);
  return y ^ (y >>> 16);
}
