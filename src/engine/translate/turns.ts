/**
 * Where loops of known regions turn, by machine address. Polls leave a region there, and the interpreter goes on until it comes to
 * the entry: so such a place becomes hot a few turns at a time, and a region of its own would be the same loop once more.
 */
export class Turns<P> {
  readonly #places = new Map<number, P>();
  readonly #addresses = new Map<P, readonly number[]>();

  /** Those of a place's region. */
  add(place: P, addresses: readonly number[]): void {
    this.#addresses.set(place, addresses);
    for (const address of addresses) this.#places.set(address, place);
  }

  /** The place of which the region turns there, the first time that it is asked for. */
  take(address: number): P | undefined {
    const place = this.#places.get(address);
    this.#places.delete(address);
    return place;
  }

  remove(place: P): void {
    for (const address of this.#addresses.get(place) ?? []) {
      if (this.#places.get(address) === place) this.#places.delete(address);
    }
    this.#addresses.delete(place);
  }

  clear(): void {
    this.#places.clear();
    this.#addresses.clear();
  }
}
