import type { FieldValues } from './field-values.ts';
import type { EngineObserver, RegionExit } from './observer.ts';
import { isForRegions } from './translate/discover.ts';
import { REGION_STATUS } from './translate/status.ts';
import type { Translations } from './translate/translations.ts';

export interface WatchOptions {
  readonly fields: FieldValues;
  readonly observer: EngineObserver | undefined;
  readonly translations: () => Translations;
}

/** What generated code that was built with instruments calls: finds out what the observer wants to know. */
export class Watch {
  readonly #o: WatchOptions;

  constructor(options: WatchOptions) {
    this.#o = options;
  }

  /** A region has been left; pc and the registers are in memory. */
  regionLeft(status: number): void {
    const pc = BigInt.asUintN(64, this.#o.fields.get64('pc'));
    const bits = (): number | undefined => this.#o.translations().bitsAt(pc);
    this.#o.observer?.regionLeft?.(pc, this.#exit(status, pc, bits), bits);
  }

  /** The hart is about to poll, and comes from `pc` unless it has come out of a region for that. */
  sample(pc: bigint): void {
    const { fields } = this.#o;
    const from = fields.get64('leftFrom');
    fields.set64('leftFrom', 0n);
    this.#o.observer?.sample?.({
      pc: BigInt.asUintN(64, from === 0n ? pc : from),
      privilege: fields.get32('privilege'),
      translated: from !== 0n,
    });
  }

  #exit(status: number, pc: bigint, bits: () => number | undefined): RegionExit {
    if (status === REGION_STATUS.interpret) return 'interpret';
    if (status === REGION_STATUS.fetch) return 'fetch';
    if (this.#o.fields.get32('remaining') < 0) return 'poll';
    if (this.#o.translations().isTranslated(pc)) return 'table';
    const seen = bits();
    return seen === undefined || isForRegions(seen) ? 'unknown' : 'system';
  }
}
