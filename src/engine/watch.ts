import type { EngineObserver, RegionExit } from './observer.ts';
import { type Field32, type Field64, offset32, offset64 } from './state.ts';
import { isForRegions } from './translate/discover.ts';
import { REGION_STATUS } from './translate/status.ts';
import type { Translations } from './translate/translations.ts';

export interface WatchOptions {
  readonly buffer: ArrayBufferLike;
  /** Byte address of the hart area. */
  readonly area: number;
  readonly observer: EngineObserver | undefined;
  readonly translations: () => Translations;
}

/** What generated code that was built with instruments calls: finds out what the observer wants to know. */
export class Watch {
  readonly #o: WatchOptions;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;

  constructor(options: WatchOptions) {
    this.#o = options;
    this.#i32 = new Int32Array(options.buffer);
    this.#i64 = new BigInt64Array(options.buffer);
  }

  /** A region has been left; pc and the registers are in memory. */
  regionLeft(status: number): void {
    const pc = BigInt.asUintN(64, this.#i64[this.#index('pc')]!);
    const bits = (): number | undefined => this.#o.translations().bitsAt(pc);
    this.#o.observer?.regionLeft?.(pc, this.#exit(status, pc, bits), bits);
  }

  /** The hart is about to poll, and comes from `pc` unless it has come out of a region for that. */
  sample(pc: bigint): void {
    const from = this.#i64[this.#index('leftFrom')]!;
    this.#i64[this.#index('leftFrom')] = 0n;
    this.#o.observer?.sample?.({
      pc: BigInt.asUintN(64, from === 0n ? pc : from),
      privilege: this.#get32('privilege'),
      translated: from !== 0n,
    });
  }

  #exit(status: number, pc: bigint, bits: () => number | undefined): RegionExit {
    if (status === REGION_STATUS.interpret) return 'interpret';
    if (status === REGION_STATUS.fetch) return 'fetch';
    if (this.#get32('remaining') < 0) return 'poll';
    if (this.#o.translations().isTranslated(pc)) return 'table';
    const seen = bits();
    return seen === undefined || isForRegions(seen) ? 'unknown' : 'system';
  }

  #get32(field: Field32): number {
    return this.#i32[(this.#o.area + offset32(field)) >>> 2]!;
  }

  #index(field: Field64): number {
    return (this.#o.area + offset64(field)) / 8;
  }
}
