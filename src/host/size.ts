/** Amounts of memory as people write them. */
import { OptionError } from './errors.ts';

/** An amount of memory: bytes, or a string as {@link parseSize} takes it. */
export type Size = number | string;

const UNITS: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/**
 * The bytes of a size: a number of bytes, or a decimal number with one of the units K, M, G (powers of 1024, as `KiB`,
 * `MB` and `m` too).
 * @param option what the size is for, for the message
 * @throws OptionError when it is no size, negative, or no whole number of bytes
 */
export function parseSize(size: Size, option: string): number {
  const bytes = typeof size === 'number' ? size : parse(size);
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw new OptionError(option, `"${size}" is no size; give bytes, or a number with K, M or G such as 256M`);
  }
  return bytes;
}

function parse(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text.trim());
  return match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!.toLowerCase()]!;
}

/** A size for people: `256 MiB`, `1.5 GiB`, at most one digit behind the point. */
export function formatSize(bytes: number): string {
  for (const [unit, factor] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (Math.abs(bytes) >= factor) return `${Math.round((bytes / factor) * 10) / 10} ${unit}`;
  }
  return `${bytes} B`;
}
