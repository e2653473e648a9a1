/** The library: a host, its guests, and what they can be asked. */
export {
  COUNTER_DEFINITIONS,
  type CounterDefinition,
  type CounterName,
  type EngineCounters,
  type EngineTotals,
  FIGURES,
  type Figure,
} from './engine/counters.ts';
export type { ClaimOptions } from './host/claim.ts';
export type { GuestConsole } from './host/console.ts';
export { FileError, GuestError, OptionError } from './host/errors.ts';
export type { GuestExplanation } from './host/explanation.ts';
export type { Guest, GuestState, GuestStatistics } from './host/guest.ts';
export { Host, type HostStatistics } from './host/host.ts';
export type { GuestExit } from './host/messages.ts';
export type {
  ExitCount,
  Observable,
  Observations,
  RegionEvent,
  SampleCount,
} from './host/observation.ts';
export type { DiskOptions, GuestOptions, HostOptions, PolicyChoice } from './host/options.ts';
export { formatSize, parseSize, type Size } from './host/size.ts';
export type { GuestCounts, GuestMemoryStatistics, HostMemoryStatistics, MemoryState } from './host/statistics.ts';
export { AdmissionError } from './policy/admission.ts';
