/**
 * Compression of single pages in the LZ4 block format (a token with two lengths, literals, a 16-bit distance back; the last
 * five bytes are literals and the last twelve begin no match). Both ends stand on plain byte arrays, so that a page in shared
 * memory is copied once before it is compressed (its contents must stand still) and not at all when it is decompressed.
 */

import { PAGE_SIZE } from './layout.ts';

const MIN_MATCH = 4;
/** No match begins behind this, and none reaches further than that. */
const LAST_START = PAGE_SIZE - 12;
const LAST_MATCH = PAGE_SIZE - 5;
const HASH_BITS = 12;
/** After so many misses (as a power of 2) the search takes one byte more in each step. */
const SKIP_BITS = 5;
/** Bytes from which on a block copy is faster than a loop. */
const LONG = 64;

/** Compresses pages, one at a time; has some tables for itself. */
export class PageCompressor {
  /** The page to compress: fill it first. */
  readonly page = new Uint8Array(PAGE_SIZE);
  readonly #view = new DataView(this.page.buffer);
  readonly #words = new Int32Array(this.page.buffer);
  /** Place + 1 at which some four bytes were seen last, by their hash. */
  readonly #table = new Uint16Array(1 << HASH_BITS);

  /** Whether all 32-bit words of the page are the same: `value` is that word. */
  get uniform(): boolean {
    const words = this.#words;
    const first = words[0];
    for (let i = 1; i < words.length; i++) {
      if (words[i] !== first) return false;
    }
    return true;
  }

  /** The first 32-bit word of the page. */
  get value(): number {
    return this.#words[0]!;
  }

  /**
   * Compresses the page to `target` from byte `to` on. Returns the number of bytes, or 0 if they would be more than `limit`;
   * then up to `limit` bytes of the target have been written.
   */
  compress(target: Uint8Array, to: number, limit: number): number {
    const { page } = this;
    const view = this.#view;
    const table = this.#table.fill(0);
    const end = to + limit;
    let out = to;
    let anchor = 0;
    let at = 0;
    let misses = 1 << SKIP_BITS;
    while (at <= LAST_START) {
      const word = view.getInt32(at, true);
      const hash = Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
      let from = table[hash]! - 1;
      table[hash] = at + 1;
      if (from < 0 || view.getInt32(from, true) !== word) {
        at += misses++ >> SKIP_BITS;
        continue;
      }
      let matchEnd = at + MIN_MATCH;
      let fromEnd = from + MIN_MATCH;
      while (matchEnd + 4 <= LAST_MATCH && view.getInt32(matchEnd, true) === view.getInt32(fromEnd, true)) {
        matchEnd += 4;
        fromEnd += 4;
      }
      while (matchEnd < LAST_MATCH && page[matchEnd] === page[fromEnd]) {
        matchEnd++;
        fromEnd++;
      }
      while (at > anchor && from > 0 && page[at - 1] === page[from - 1]) {
        at--;
        from--;
      }
      const literals = at - anchor;
      const match = matchEnd - at - MIN_MATCH;
      // Token, distance, and the bytes that continue the two lengths.
      if (out + literals + 5 + literals / 255 + match / 255 > end) {
        return 0;
      }
      out = putLiterals(page, anchor, literals, Math.min(match, 15), target, out);
      const distance = at - from;
      target[out++] = distance;
      target[out++] = distance >>> 8;
      if (match >= 15) {
        out = putLength(match - 15, target, out);
      }
      at = matchEnd;
      anchor = at;
      misses = 1 << SKIP_BITS;
    }
    const literals = PAGE_SIZE - anchor;
    if (out + literals + 2 + literals / 255 > end) {
      return 0;
    }
    return putLiterals(page, anchor, literals, 0, target, out) - to;
  }
}

/** Token (with the low four bits `match`) and literals; returns the place behind them. */
function putLiterals(
  page: Uint8Array,
  from: number,
  literals: number,
  match: number,
  target: Uint8Array,
  to: number,
): number {
  let out = to;
  target[out++] = (Math.min(literals, 15) << 4) | match;
  if (literals >= 15) {
    out = putLength(literals - 15, target, out);
  }
  for (let i = from; i < from + literals; i++) {
    target[out++] = page[i]!;
  }
  return out;
}

function putLength(rest: number, target: Uint8Array, to: number): number {
  let out = to;
  let left = rest;
  for (; left >= 255; left -= 255) {
    target[out++] = 255;
  }
  target[out++] = left;
  return out;
}

/** Decompresses what was compressed to byte `from` of `bytes` on, to the page at byte `to` of `target`. */
export function decompressPage(bytes: Uint8Array, from: number, target: Uint8Array, to: number): void {
  const end = to + PAGE_SIZE;
  let at = from;
  let out = to;
  for (;;) {
    const token = bytes[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        more = bytes[at++]!;
        literals += more;
      }
    }
    literals = Math.min(literals, end - out);
    for (const stop = out + literals; out < stop; ) {
      target[out++] = bytes[at++]!;
    }
    if (out >= end) {
      return;
    }
    const distance = bytes[at]! | (bytes[at + 1]! << 8);
    at += 2;
    let match = (token & 15) + MIN_MATCH;
    if (match === 15 + MIN_MATCH) {
      let more = 255;
      while (more === 255) {
        more = bytes[at++]!;
        match += more;
      }
    }
    match = Math.min(match, end - out);
    if (match >= LONG && distance >= match) {
      target.copyWithin(out, out - distance, out - distance + match);
      out += match;
    } else {
      // One by one: a match may reach into what it writes.
      for (const stop = out + match; out < stop; out++) {
        target[out] = target[out - distance]!;
      }
    }
  }
}
