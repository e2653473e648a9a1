// The symbols of a Linux kernel, out of the table that it carries itself (CONFIG_KALLSYMS). Distributions strip kernels and
// put System.map into packages of a gigabyte; this table is in every kernel that can print a backtrace.

/** A symbol of a kernel. */
export interface KernelSymbol {
  readonly address: bigint;
  /** Letter as nm(1) has it. */
  readonly type: string;
  readonly name: string;
}

/** Where Linux is linked to run at on 64-bit RISC-V (its KERNEL_LINK_ADDR): the image is its start. */
const LINK_ADDRESS = 0xffffffff80000000n;
const TOKENS = 256;
/** One marker stands for so many names. */
const NAMES_PER_MARKER = 256;
/** Bytes of the longest name, compressed, with its length. */
const MOST_NAME_BYTES = 520;

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

/**
 * Reads the table as scripts/kallsyms.c of the kernel writes it (4.20 and later, addresses relative to a base). Nothing
 * says where it is: it is found by the shapes of its parts, each of which has to agree with the others.
 * @param image a flat Image, not compressed
 * @returns in ascending order; undefined if there is no table
 */
export function readKallsyms(image: Uint8Array): KernelSymbol[] | undefined {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const u32 = (at: number): number => (at >= 0 && at + 4 <= image.length ? view.getUint32(at, true) : 0);
  for (const tokens of findTokens(image)) {
    const markers = markersBefore(u32, tokens.start);
    if (markers === undefined) continue;
    for (const names of findNames(image, u32, markers)) {
      const addresses = addressesOf(view, u32, names, tokens.end);
      if (addresses !== undefined) return symbolsOf(image, names, tokens.texts, addresses);
    }
  }
  return undefined;
}

interface Tokens {
  readonly start: number;
  /** Behind the index, which stands behind the texts. */
  readonly end: number;
  readonly texts: readonly string[];
}

/**
 * Names are written with 256 tokens. A character that is in names is a token of its own, so that the ten digits stand one
 * behind the other. Behind all tokens comes an index with the offset of each.
 */
function* findTokens(image: Uint8Array): Generator<Tokens> {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  const digits = Buffer.from([...'0123456789'].map((digit) => `${digit}\0`).join(''), 'latin1');
  for (let at = bytes.indexOf(digits); at >= 0; at = bytes.indexOf(digits, at + 1)) {
    let start = at;
    for (let token = 0; token < 0x30; token++) start = bytes.lastIndexOf(0, start - 2) + 1;
    const offsets: number[] = [];
    const texts: string[] = [];
    let end = start;
    while (offsets.length < TOKENS) {
      const next = bytes.indexOf(0, end) + 1;
      if (next === 0) break;
      offsets.push(end - start);
      texts.push(bytes.toString('latin1', end, next - 1));
      end = next;
    }
    for (const alignment of [4, 8]) {
      const index = align(end, alignment);
      if (index + 2 * TOKENS > bytes.length) continue;
      if (offsets.every((offset, token) => bytes.readUInt16LE(index + 2 * token) === (offset & 0xffff))) {
        yield { start, end: index + 2 * TOKENS, texts };
        break;
      }
    }
  }
}

interface Markers {
  readonly start: number;
  /** Offset of each 256th name from the first one. */
  readonly offsets: readonly number[];
}

/** The markers stand in front of the tokens: ascending from 0. */
function markersBefore(u32: (at: number) => number, tokens: number): Markers | undefined {
  let at = tokens - 4;
  // What was put between for alignment.
  if (u32(at) === 0) at -= 4;
  const offsets = [u32(at)];
  while (offsets[0]! > 0 && u32(at - 4) < offsets[0]!) {
    at -= 4;
    offsets.unshift(u32(at));
  }
  return offsets[0] === 0 && offsets.length > 1 ? { start: at, offsets } : undefined;
}

interface Names {
  /** Position of their number, 8 bytes in front of the first one. */
  readonly count: number;
  /** Position of each name, with its length in front of it. */
  readonly positions: readonly number[];
}

function* findNames(image: Uint8Array, u32: (at: number) => number, markers: Markers): Generator<Names> {
  const { start, offsets } = markers;
  const last = offsets.at(-1)!;
  const lowest = start - last - NAMES_PER_MARKER * MOST_NAME_BYTES;
  for (let first = (start - last) & ~7; first >= Math.max(8, lowest); first -= 8) {
    const count = u32(first - 8);
    if (Math.ceil(count / NAMES_PER_MARKER) !== offsets.length) continue;
    const positions: number[] = [];
    let at = first;
    while (positions.length < count && at < start) {
      if (positions.length % NAMES_PER_MARKER === 0 && at - first !== offsets[positions.length / NAMES_PER_MARKER])
        break;
      positions.push(at);
      at += nameLength(image, at).total;
    }
    if (positions.length === count && at <= start) yield { count: first - 8, positions };
  }
}

/** The length of a name in tokens stands in front of it, in two bytes when it is more than 127. */
function nameLength(image: Uint8Array, at: number): { readonly head: number; readonly total: number } {
  const low = image[at]!;
  const [head, tokens] = low < 0x80 ? [1, low] : [2, (low & 0x7f) | (image[at + 1]! << 7)];
  return { head, total: head + tokens };
}

/** Offsets (u32) and the base: behind the tokens' index (6.4 and later), or in front of the names. */
function addressesOf(
  view: DataView,
  u32: (at: number) => number,
  { count, positions }: Names,
  tokensEnd: number,
): bigint[] | undefined {
  const bytes = align(4 * positions.length, 8);
  const behind = align(tokensEnd, 8);
  for (const [start, base] of [
    [behind, behind + bytes],
    [count - 8 - bytes, count - 8],
  ] as const) {
    if (start < 0 || base + 8 > view.byteLength) continue;
    const offsets = positions.map((_, i) => u32(start + 4 * i));
    if (offsets.some((offset, i) => i > 0 && offset < offsets[i - 1]!)) continue;
    // A kernel that relocates itself has 0 here until it has done so.
    const linked = view.getBigUint64(base, true);
    if (linked !== 0n && linked < 1n << 63n) continue;
    return offsets.map((offset) => (linked || LINK_ADDRESS) + BigInt(offset));
  }
  return undefined;
}

function symbolsOf(
  image: Uint8Array,
  { positions }: Names,
  tokens: readonly string[],
  addresses: readonly bigint[],
): KernelSymbol[] {
  return positions.map((at, i) => {
    const { head, total } = nameLength(image, at);
    let text = '';
    for (let byte = at + head; byte < at + total; byte++) text += tokens[image[byte]!]!;
    return { address: addresses[i]!, type: text.slice(0, 1), name: text.slice(1) };
  });
}
