import { CODE_COUNTER_NAMES, type EngineCounters, HOST_COUNTER_NAMES, type HostCounter } from './counters.ts';
import { offset64 } from './state.ts';

/** Counts what the classes around the generated code do. */
export class HostCounts {
  readonly #f64: Float64Array;
  readonly #indices: ReadonlyMap<HostCounter, number>;

  /** @param area byte address of the hart area */
  constructor(buffer: ArrayBufferLike, area: number) {
    this.#f64 = new Float64Array(buffer);
    this.#indices = new Map(HOST_COUNTER_NAMES.map((name) => [name, (area + offset64(name)) / 8]));
  }

  add(name: HostCounter, by = 1): void {
    this.#f64[this.#indices.get(name)!]! += by;
  }
}

/** The counters of a hart now; any thread may read them. */
export function readCounters(buffer: ArrayBufferLike, area: number): EngineCounters {
  const integers = new BigInt64Array(buffer);
  const floats = new Float64Array(buffer);
  return Object.fromEntries([
    ...CODE_COUNTER_NAMES.map((name) => [name, Number(integers[(area + offset64(name)) / 8]!)]),
    ...HOST_COUNTER_NAMES.map((name) => [name, floats[(area + offset64(name)) / 8]!]),
  ]) as EngineCounters;
}
