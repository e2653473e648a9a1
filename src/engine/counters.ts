/**
 * What a hart's engine counts, each thing defined once: statistics, the command's tables and docs/counters.md come from
 * here.
 */

/** A counter, or a figure made of counters. */
export interface CounterDefinition {
  readonly unit: string;
  readonly meaning: string;
}

const define = <K extends string>(definitions: Readonly<Record<K, readonly [unit: string, meaning: string]>>) =>
  Object.fromEntries(
    Object.entries<readonly [string, string]>(definitions).map(([name, [unit, meaning]]) => [name, { unit, meaning }]),
  ) as Readonly<Record<K, CounterDefinition>>;

/** Counted by generated code: 64-bit integers in the hart's state. */
export const CODE_COUNTERS = define({
  translatedInstructions: ['instructions', 'executed in translated regions'],
  regionEntries: ['entries', 'into a region from the interpreter; from there one region may lead to the next'],
  pollExits: ['exits', 'of regions to look at requests and timers'],
  interpretExits: ['exits', 'of regions before an instruction that is left to the interpreter'],
  fetchExits: ['exits', 'of regions behind a CSR access after which code has to be fetched anew'],
  polls: ['polls', 'of requests, timers and the budget of instructions'],
  exceptions: ['traps', 'that instructions caused, environment calls of user mode included'],
  interrupts: ['traps', 'that interrupts caused'],
  dataMisses: ['misses', 'of the first-level TLB by loads and stores'],
  fetchMisses: ['misses', 'of the first-level TLB by fetches'],
  secondHits: ['hits', 'of the second-level TLB'],
  walks: ['walks', "of the guest's page tables"],
  shortWalks: ['walks', 'that the walk cache has shortened to the last level'],
  fullFlushes: ['flushes', 'of all that the TLBs hold'],
  frameFlushes: ['flushes', 'of all frames that the TLBs hold, with the jump tables'],
  spaceFlushes: ['flushes', 'of an address space'],
  addressFlushes: ['flushes', 'of an address'],
  spaceChanges: ['writes', 'to satp that leave its mode as it is'],
});

/** Counted by the classes around the generated code: 64-bit floating-point numbers in the hart's state. */
export const HOST_COUNTERS = define({
  jumpTableMisses: ['entries', 'into a region that the jump table did not have: its pages were looked at first'],
  refusedEntries: ['entries', 'not made because the code of the region is no longer there'],
  hotPlaces: ['places', 'found hot: jumped to often enough to be worth a translation'],
  postponedPlaces: ['places', 'found hot while too many translations were waited for; to be counted again'],
  requestedTranslations: ['regions', 'that a translation was asked for'],
  installedTranslations: ['regions', 'whose translation has come'],
  releasedTranslations: ['regions', 'whose translation was given up, with all others, as there were too many'],
  loadedModules: ['modules', 'of translations instantiated'],
  releasedModules: ['modules', 'given up with their translations'],
  translatedPlaces: ['places', 'that got a translation, new or of an equal region elsewhere'],
  droppedPlaces: [
    'places',
    'given up: their code was written to or is of another use of its frame, or there were too many',
  ],
  decodedInstructions: ['instructions', 'decoded'],
  codeWrites: ['writes', 'to frames that decoded code is of'],
  exactFloats: ['operations', 'of floating point that were left to exact arithmetic on bit patterns'],
  nestedFaults: ['faults', 'of the nested page table'],
  deviceReads: ['accesses', 'that load from devices'],
  deviceWrites: ['accesses', 'that store to devices'],
  hypercalls: ['stops', 'for a call of the VMM'],
  waits: ['stops', 'for WFI'],
  requestStops: ['stops', 'because another thread asked for it'],
  deadlineStops: ['stops', "for a timer of the platform's"],
  spins: ['stops', 'because the hart spins: it waits for another one'],
  budgetStops: ['stops', 'at the end of the budget of instructions'],
});

export type CodeCounter = keyof typeof CODE_COUNTERS;
export type HostCounter = keyof typeof HOST_COUNTERS;
export type CounterName = CodeCounter | HostCounter;

export const CODE_COUNTER_NAMES = Object.keys(CODE_COUNTERS) as CodeCounter[];
export const HOST_COUNTER_NAMES = Object.keys(HOST_COUNTERS) as HostCounter[];
export const COUNTER_DEFINITIONS: Readonly<Record<CounterName, CounterDefinition>> = {
  ...CODE_COUNTERS,
  ...HOST_COUNTERS,
};

/** Counts of a hart, or of several, by name. */
export type EngineCounters = Readonly<Record<CounterName, number>>;

/** Each counter's sum over harts. */
export function sumCounters(counters: readonly EngineCounters[]): EngineCounters {
  const names = [...CODE_COUNTER_NAMES, ...HOST_COUNTER_NAMES];
  const sum = (name: CounterName): number => counters.reduce((total, each) => total + each[name], 0);
  return Object.fromEntries(names.map((name) => [name, sum(name)])) as EngineCounters;
}

/** Counters together with what they are held against. */
export interface EngineTotals {
  /** Instructions retired. */
  readonly instructions: number;
  /** Time in which instructions were executed, milliseconds. */
  readonly busyMs: number;
  /** Processor time of that, milliseconds; 0 where nobody measures it. */
  readonly processorMs: number;
  readonly counters: EngineCounters;
}

/** A figure made of counters. */
export interface Figure extends CounterDefinition {
  /** NaN where there is nothing to divide by. */
  of(totals: EngineTotals): number;
}

const perThousand = (count: (counters: EngineCounters) => number) => (totals: EngineTotals) =>
  (count(totals.counters) / totals.instructions) * 1000;

export const FIGURES = {
  speed: {
    unit: 'MIPS',
    meaning: 'million instructions in a second of execution',
    of: ({ instructions, busyMs }) => instructions / busyMs / 1000,
  },
  interpretedInstructions: {
    unit: 'instructions',
    meaning: 'executed by the interpreter',
    of: ({ instructions, counters }) => instructions - counters.translatedInstructions,
  },
  translatedShare: {
    unit: '%',
    meaning: 'of the instructions executed in translated regions',
    of: ({ instructions, counters }) => (counters.translatedInstructions / instructions) * 100,
  },
  stay: {
    unit: 'instructions',
    meaning: 'between the entry into a region and the return to the interpreter',
    of: ({ counters }) => counters.translatedInstructions / counters.regionEntries,
  },
  unknownExits: {
    unit: 'exits',
    meaning: 'of regions to a place for which the jump table has none',
    of: ({ counters: c }) => c.regionEntries - c.pollExits - c.interpretExits - c.fetchExits,
  },
  waitingTranslations: {
    unit: 'regions',
    meaning: 'whose translation was asked for and has not come',
    of: ({ counters }) => counters.requestedTranslations - counters.installedTranslations,
  },
  heldTranslations: {
    unit: 'regions',
    meaning: 'whose translation the harts have',
    of: ({ counters }) => counters.installedTranslations - counters.releasedTranslations,
  },
  heldModules: {
    unit: 'modules',
    meaning: 'of translations that the harts have',
    of: ({ counters }) => counters.loadedModules - counters.releasedModules,
  },
  dataMissRate: {
    unit: 'per 1000',
    meaning: 'misses of the first-level TLB by loads and stores, by instructions',
    of: perThousand(({ dataMisses }) => dataMisses),
  },
  fetchMissRate: {
    unit: 'per 1000',
    meaning: 'misses of the first-level TLB by fetches, by instructions',
    of: perThousand(({ fetchMisses }) => fetchMisses),
  },
  walkRate: {
    unit: 'per 1000',
    meaning: 'page table walks by instructions',
    of: perThousand(({ walks }) => walks),
  },
  secondLevelShare: {
    unit: '%',
    meaning: 'of the translations that the first-level TLB did not have, from the second level',
    of: ({ counters: { secondHits, walks } }) => (secondHits / (secondHits + walks)) * 100,
  },
} as const satisfies Record<string, Figure>;
