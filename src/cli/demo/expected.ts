/** What the guests of the demonstration have to arrive at, computed outside of them with other tools than theirs. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { BASE_LINES, FILE_BYTES, WORDS } from './guest-script.ts';

/** The kinds of work; guest N of the demonstration does kind N modulo their number. */
export const WORK_KINDS = ['compress', 'sort', 'table', 'files', 'hash', 'tally'] as const;
export type WorkKind = (typeof WORK_KINDS)[number];

/** What one guest is told to do, through the kernel's command line. */
export interface Work {
  readonly kind: WorkKind;
  /** First term of the guest's number sequence, above 0. */
  readonly seed: number;
  /** Lines of generated text that each round works on. */
  readonly lines: number;
  readonly rounds: number;
  /** Size of the in-memory table of files at its largest, MiB. */
  readonly hold: number;
  /** Files of that table that are kept when it shrinks. */
  readonly keep: number;
  /** Idle time after growing and after shrinking, seconds. */
  readonly pause: number;
  /** Idle time before the first round, seconds. */
  readonly delay: number;
}

/** The work as words for the kernel's command line. */
export function workArguments(work: Work): string {
  const { kind, seed, lines, rounds, hold, keep, pause, delay } = work;
  return Object.entries({ kind, seed, lines, rounds, hold, keep, pause, delay })
    .map(([key, value]) => `ballonet.${key}=${value}`)
    .join(' ');
}

/** The next term of the Lehmer sequence; every product stays below 2^46, so that doubles are exact. */
const next = (x: number): number => (x * 16807) % 2147483647;

/** The generated text as lines without their ends. */
function textLines(seed: number, count: number): string[] {
  const words = WORDS.split(' ');
  const lines: string[] = [];
  let x = seed;
  for (let i = 0; i < count; i++) {
    x = next(x);
    lines.push(`${String(x).padStart(10, '0')} ${words[x % 16]} ${i}`);
  }
  return lines;
}

const joined = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
const digest = (algorithm: string, data: string | Uint8Array): string =>
  createHash(algorithm).update(data).digest('hex');
/** Orders strings of ASCII characters as the C locale does. */
const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const littleEndian = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes.toString('hex');
};

type Results = Record<string, string>;

const KIND_RESULTS: Record<WorkKind, (seed: number, lines: number, disk: Uint8Array) => Results> = {
  compress(seed, lines) {
    const text = joined(textLines(seed, lines));
    return {
      // A gzip file ends with the CRC-32 and the length of what was packed (RFC 1952, 2.3.1).
      trailer: littleEndian(crc32(text)) + littleEndian(text.length),
      unpacked: digest('sha256', text),
    };
  },
  hash(seed, lines) {
    const text = joined(textLines(seed, lines));
    let link = String(seed);
    for (let i = 0; i < 16; i++) link = digest('sha1', `${link} ${i}\n`);
    return { sha256: digest('sha256', text), sha512: digest('sha512', text), chain: link };
  },
  sort(seed, lines) {
    const text = textLines(seed, lines);
    const words = text.map((line) => line.split(' ')[1]!);
    return {
      bytes: digest('md5', joined(text.toSorted(byBytes))),
      reverse: words.toSorted(byBytes).at(-1)!,
      numeric: digest('md5', joined(text.toSorted((a, b) => Number.parseInt(b, 10) - Number.parseInt(a, 10)))),
    };
  },
  table(seed, lines) {
    const table = new Map<number, number>();
    let x = seed;
    for (let i = 0; i < lines; i++) {
      x = next(x);
      table.set(i, x);
    }
    for (let i = 0; i < lines; i += 2) table.delete(i);
    for (let i = 0; i < lines; i += 4) {
      x = next(x);
      table.set(i, x);
    }
    const sum = [...table.values()].reduce((total, value) => total + (value % 65536), 0);
    return { table: `${table.size}:${sum}` };
  },
  files(seed, lines, disk) {
    return {
      given: digest('sha256', disk.subarray(0, disk.length / 2)),
      written: digest('sha256', joined(textLines(seed, lines))),
    };
  },
  tally(seed, lines) {
    const text = textLines(seed, lines);
    const counts = new Map<string, number>();
    for (const line of text) {
      const word = line.split(' ')[1]!;
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    const words = [...counts.keys()].sort(byBytes).map((word) => `${word}=${counts.get(word)},`);
    const upper = text.map((line) => line.toUpperCase().replace(/^0+/, ''));
    return {
      words: words.join(''),
      sevens: String(text.filter((line) => line.includes('777')).length),
      upper: digest('md5', joined(upper)),
    };
  },
};

/** The digest of the digests of the files that the round looks at; they hold the base text repeated: see the guest's script. */
function heldDigest(work: Work, round: number): string {
  const text = joined(textLines(work.seed, BASE_LINES));
  const base = Buffer.from(text.length % 2 === 1 ? text : `${text}\n`, 'latin1');
  const files = Math.trunc((work.hold * 1048576) / FILE_BYTES);
  let digests = '';
  for (let k = round % work.rounds; k < files; k += work.rounds) {
    const hash = createHash('md5');
    let start = (k * FILE_BYTES + round) % base.length;
    for (let left = FILE_BYTES; left > 0; start = 0) {
      const part = base.subarray(start, start + left);
      hash.update(part);
      left -= part.length;
    }
    digests += `${hash.digest('hex')}\n`;
  }
  return digest('md5', digests);
}

/**
 * Every result that a guest has to print, by `ROUND NAME`.
 * @param disk what the host put on the guest's disk for file work (its first half is read by the guest)
 */
export function expectedResults(work: Work, disk: Uint8Array): Map<string, string> {
  const expected = new Map<string, string>();
  for (let round = 1; round <= work.rounds; round++) {
    const results = KIND_RESULTS[work.kind](work.seed + round, work.lines, disk);
    for (const [name, value] of Object.entries(results)) expected.set(`${round} ${name}`, value);
    expected.set(`${round} held`, heldDigest(work, round));
  }
  return expected;
}

/** The text that a guest of kind `files` leaves at the start of its disk's second half in its last round. */
export function writtenText(work: Work): Uint8Array {
  return Buffer.from(joined(textLines(work.seed + work.rounds, work.lines)), 'latin1');
}
