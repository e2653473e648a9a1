/** What a guest claims of the machine memory: the options by which the policy divides it. */
import { OptionError } from './errors.ts';
import { parseSize, type Size } from './size.ts';

/** A guest's claim. */
export interface ClaimOptions {
  /** Weight of the guest's claim to memory beside the other guests'. Default: 1000. */
  readonly shares?: number;
  /** Memory that the guest is always left with. Default: a quarter of its configured memory, or its maximum if that is less. */
  readonly minimum?: Size;
  /** The most memory that the guest may have, however much is free. Default: its configured memory. */
  readonly maximum?: Size;
  /**
   * Part of its time, in percent, that the guest may wait for memory. One that waits longer is spared, and weighs up to four
   * times its shares, until it waits less. Default: 100, never spared.
   */
  readonly stallLimit?: number;
}

/** {@link ClaimOptions} with every choice made; sizes in bytes. */
export interface ClaimConfig {
  readonly shares: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly stallLimit: number;
}

const DEFAULT_SHARES = 1000;
const MAX_SHARES = 1_000_000;
const PAGE = 4096;
const MIB = 2 ** 20;

const pages = (bytes: number): number => Math.floor(bytes / PAGE) * PAGE;

/** @throws OptionError unless it is a whole number from 1 to MAX_SHARES */
export function parseShares(value: number | string): number {
  const shares = typeof value === 'number' ? value : Number(value.trim() || Number.NaN);
  if (!Number.isInteger(shares) || shares < 1 || shares > MAX_SHARES) {
    throw new OptionError('shares', `${value} is not a whole number from 1 to ${MAX_SHARES}`);
  }
  return shares;
}

/** @throws OptionError unless it is a percentage above 0 and up to 100 */
export function parseStallLimit(value: number | string): number {
  const percent = typeof value === 'number' ? value : Number(value.trim().replace(/%$/, '') || Number.NaN);
  if (!(percent >= 0.1 && percent <= 100)) {
    throw new OptionError('stallLimit', `${value} is no part of the time; give a percentage from 0.1 to 100`);
  }
  return percent;
}

/**
 * @param memory configured memory, bytes
 * @throws OptionError
 */
export function claimConfig(options: ClaimOptions, memory: number): ClaimConfig {
  const maximum = options.maximum === undefined ? memory : pages(parseSize(options.maximum, 'maximum'));
  if (maximum > memory || maximum < MIB) {
    throw new OptionError(
      'maximum',
      `${options.maximum} is not between 1 MiB and the configured memory of ${memory / MIB} MiB`,
    );
  }
  const minimum =
    options.minimum === undefined ? Math.min(pages(memory / 4), maximum) : pages(parseSize(options.minimum, 'minimum'));
  if (minimum > memory) throw new OptionError('minimum', `${options.minimum} is more than the configured memory`);
  if (minimum > maximum) {
    throw new OptionError('minimum', `${options.minimum} is more than the maximum of ${maximum / MIB} MiB`);
  }
  return {
    minimum,
    maximum,
    shares: parseShares(options.shares ?? DEFAULT_SHARES),
    stallLimit: parseStallLimit(options.stallLimit ?? 100),
  };
}
