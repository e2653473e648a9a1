/** How fast a counter of a guest has risen lately. */
export class CounterRate {
  readonly #read: () => number;
  readonly #spanMs: number;
  readonly #most: number;
  #seen: number;
  #looked: number;
  #rate = 0;

  /**
   * @param read the counter, of 32 bits: it may wrap
   * @param spanMs milliseconds in which the average comes 63% of the way to a new rate
   * @param now milliseconds
   * @param most a rate that nothing is higher than, in a millisecond
   */
  constructor(read: () => number, spanMs: number, now: number, most = Number.POSITIVE_INFINITY) {
    this.#read = read;
    this.#spanMs = spanMs;
    this.#most = most;
    this.#seen = read();
    this.#looked = now;
  }

  /** By how much it rises in a millisecond, averaged. */
  observe(now: number): number {
    const elapsed = now - this.#looked;
    if (elapsed > 0) {
      const count = this.#read();
      const rate = Math.min(this.#most, ((count - this.#seen) >>> 0) / elapsed);
      this.#rate += (1 - Math.exp(-elapsed / this.#spanMs)) * (rate - this.#rate);
      this.#seen = count;
      this.#looked = now;
    }
    return this.#rate;
  }
}
