/** What the threads of harts note for those who look into the engine: translated regions, their exits, where time goes. */
import {
  type EngineObserver,
  type Instruments,
  NO_INSTRUMENTS,
  type PlaceDrop,
  type RegionExit,
  type Sample,
} from '../engine/observer.ts';
import type { Region } from '../engine/translate/region.ts';

/** What can be observed: `regions` as events, `exits` and `samples` as counts at the end. */
export const OBSERVABLE = ['regions', 'exits', 'samples'] as const;
export type Observable = (typeof OBSERVABLE)[number];

/** What the engine has to be built for. */
export const instrumentsOf = (observe: readonly Observable[]): Instruments => ({
  ...NO_INSTRUMENTS,
  exits: observe.includes('exits'),
  samples: observe.includes('samples'),
});

/** Something has happened to a translated region. */
export type RegionEvent = {
  readonly hart: number;
  /** Guest-virtual address of the entry. */
  readonly pc: bigint;
} & (
  | {
      readonly kind: 'translated';
      readonly region: Region;
      /** False if the hart has entered an equal region before, at another place or another time. */
      readonly first: boolean;
    }
  | { readonly kind: 'dropped'; readonly reason: PlaceDrop }
);

/** How often regions were left to a place for a reason. */
export interface ExitCount {
  /** Guest-virtual address at which execution went on. */
  readonly pc: bigint;
  readonly exit: RegionExit;
  /** The instruction there; undefined if it could not be seen. */
  readonly bits: number | undefined;
  readonly count: number;
}

/** How often a hart was found at a place, and the processor time up to then since it was looked at before. */
export interface SampleCount extends Sample {
  readonly count: number;
  readonly ms: number;
}

/** What the harts of a guest have noted, those behind the first one included. */
export interface Observations {
  readonly exits: readonly ExitCount[];
  readonly samples: readonly SampleCount[];
}

/** Notes of one hart. */
export class HartObservation {
  readonly observer: EngineObserver;
  readonly #now: () => number;
  readonly #keys = new Set<string>();
  readonly #exits = new Map<bigint, Map<RegionExit, { bits: number | undefined; count: number }>>();
  /** By address, privilege and tier. */
  readonly #samples = new Map<bigint, { readonly sample: Sample; count: number; ms: number }>();
  /** Processor time of execution that no sample has accounted for: before `#since`, and since then. */
  #pending = 0;
  #since = 0;

  /**
   * @param now processor time of the thread, milliseconds
   * @param tell takes events as they happen
   */
  constructor(observe: readonly Observable[], hart: number, now: () => number, tell: (event: RegionEvent) => void) {
    this.#now = now;
    this.observer = {
      ...(observe.includes('regions') && {
        placeTranslated: (pc, key, region) => {
          tell({ hart, pc, kind: 'translated', region, first: !this.#keys.has(key) });
          this.#keys.add(key);
        },
        placeDropped: (pc, reason) => tell({ hart, pc, kind: 'dropped', reason }),
      }),
      ...(observe.includes('exits') && {
        regionLeft: (pc, exit, bits) => this.#left(pc, exit, bits),
      }),
      ...(observe.includes('samples') && {
        sample: (sample) => this.#sample(sample),
        began: () => {
          this.#since = this.#now();
        },
        stopped: () => {
          this.#pending += this.#now() - this.#since;
        },
      }),
    };
  }

  get observations(): Observations {
    const exits = [...this.#exits].flatMap(([pc, byExit]) =>
      [...byExit].map(([exit, { bits, count }]) => ({ pc, exit, bits, count })),
    );
    const samples = [...this.#samples.values()].map(({ sample, count, ms }) => ({ ...sample, count, ms }));
    return { exits, samples };
  }

  #left(pc: bigint, exit: RegionExit, bits: () => number | undefined): void {
    const byExit = this.#exits.get(pc) ?? new Map<RegionExit, { bits: number | undefined; count: number }>();
    this.#exits.set(pc, byExit);
    const known = byExit.get(exit);
    if (known === undefined) byExit.set(exit, { bits: bits(), count: 1 });
    else {
      known.count++;
      known.bits ??= bits();
    }
  }

  #sample(sample: Sample): void {
    const now = this.#now();
    const ms = this.#pending + now - this.#since;
    this.#pending = 0;
    this.#since = now;
    const key = (sample.pc << 3n) | BigInt((sample.privilege << 1) | (sample.translated ? 1 : 0));
    const known = this.#samples.get(key);
    if (known === undefined) this.#samples.set(key, { sample, count: 1, ms });
    else {
      known.count++;
      known.ms += ms;
    }
  }
}
