/** A place that waits for its translation. */
interface Waiting<P> {
  readonly place: P;
  /** Machine addresses of the first instructions of its region's blocks. */
  readonly blocks: ReadonlySet<number>;
}

/** Places that wait for translations, by the keys of their regions. */
export class WaitingPlaces<P> {
  readonly #byKey = new Map<string, Waiting<P>[]>();

  /** How many translations are waited for. */
  get size(): number {
    return this.#byKey.size;
  }

  /** @returns true if others wait for the same translation */
  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** @param blocks machine addresses of the first instructions of the region's blocks */
  add(key: string, place: P, blocks: ReadonlySet<number>): void {
    const others = this.#byKey.get(key);
    if (others === undefined) this.#byKey.set(key, [{ place, blocks }]);
    else others.push({ place, blocks });
  }

  /** The places that wait for a translation, which has come. */
  take(key: string): P[] {
    const places = this.#byKey.get(key)?.map(({ place }) => place);
    this.#byKey.delete(key);
    return places ?? [];
  }

  /** True if a block begins at a machine address of a region that is to come, for a place that is still `wanted`. */
  hasBlock(address: number, wanted: (place: P) => boolean): boolean {
    for (const all of this.#byKey.values()) {
      for (const { place, blocks } of all) if (blocks.has(address) && wanted(place)) return true;
    }
    return false;
  }

  clear(): void {
    this.#byKey.clear();
  }
}
