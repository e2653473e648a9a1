/** Deterministic random numbers for test programs: the same seed and program number give the same program for ever. */

const GOLDEN = 0x9e37_79b9_7f4a_7c15n;

/** SplitMix64 with helpers for drawing what programs are made of. */
export class Random {
  #state: bigint;

  /** @param seed any integers; each combination is its own sequence */
  constructor(...seed: number[]) {
    this.#state = 0n;
    for (const part of seed) {
      this.#state = BigInt.asUintN(64, this.#state ^ BigInt(part));
      this.#state = this.bits64();
    }
  }

  /** 64 uniformly distributed bits. */
  bits64(): bigint {
    this.#state = BigInt.asUintN(64, this.#state + GOLDEN);
    let z = this.#state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n);
  }

  /** An integer in 0..bound-1. */
  below(bound: number): number {
    return Number(this.bits64() % BigInt(bound));
  }

  /** An integer in low..high, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True once in `oneIn` draws on average. */
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
