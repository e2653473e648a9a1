import type { Region } from './translate/region.ts';

/** What generated code is made to tell beyond counters. It costs time, so that it is not there unless it is wanted. */
export interface Instruments {
  /** Each exit of a region to the interpreter: `EngineObserver.regionLeft`. */
  readonly exits: boolean;
  /** Where the hart is at each poll: `EngineObserver.sample`. */
  readonly samples: boolean;
}

export const NO_INSTRUMENTS: Instruments = { exits: false, samples: false };

/** Ways out of a translated region to the interpreter. */
export const REGION_EXITS = {
  unknown: 'no region begins where it goes on',
  system: 'the instruction there is one that no region has',
  table: 'there is a region where it goes on, that the jump table does not have',
  poll: 'requests, timers and the budget are looked at',
  interpret: 'the instruction is left to the interpreter',
  fetch: 'a CSR access makes it necessary to fetch code anew',
} as const;
export type RegionExit = keyof typeof REGION_EXITS;

/** Why a region's place is given up. */
export const PLACE_DROPS = {
  written: 'its code was written to',
  moved: 'its frame has got another use, or other code',
  full: 'there were too many',
} as const;
export type PlaceDrop = keyof typeof PLACE_DROPS;

/** Where a hart was. */
export interface Sample {
  /** Guest-virtual address: in a region, of the block that was executed; else, of the jump. */
  readonly pc: bigint;
  readonly privilege: number;
  readonly translated: boolean;
}

/** Is told what a hart's engine does. Addresses are guest-virtual, unsigned. */
export interface EngineObserver {
  /**
   * A region may be entered from now on.
   * @param key names its contents
   */
  placeTranslated?(pc: bigint, key: string, region: Region): void;
  placeDropped?(pc: bigint, reason: PlaceDrop): void;
  /**
   * The engine has to be built for it.
   * @param pc where execution goes on
   * @param bits gives the instruction there, if that can be seen at no cost to the guest
   */
  regionLeft?(pc: bigint, exit: RegionExit, bits: () => number | undefined): void;
  /** The engine and translations have to be built for it. */
  sample?(sample: Sample): void;
  /** The hart begins to execute instructions, and stops. */
  began?(): void;
  stopped?(): void;
}
