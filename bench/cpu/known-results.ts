/** What lines came to on QEMU in earlier runs, so that a run of ours alone is compared with something, too. */
import { join } from 'node:path';
import { cacheDirectory, writeWhole } from '../../src/guest/cache.ts';
import { digestOf, readIfThere } from '../../src/guest/entry.ts';
import type { Line } from './lines.ts';
import type { Measured } from './run-reader.ts';

/** Results in the cache, by all that they depend on. */
export class KnownResults {
  readonly #paths: ReadonlyMap<string, string>;

  /**
   * @param files digest of the files that each line works with, by the line's name
   * @param image digest of the guest image
   */
  constructor(lines: readonly Line[], files: ReadonlyMap<string, string>, image: string, cache = cacheDirectory()) {
    this.#paths = new Map(
      lines.map(({ name, prepare, command, result }) => [
        name,
        join(cache, 'bench', digestOf([image, prepare ?? null, command, result ?? null, files.get(name) ?? null])),
      ]),
    );
  }

  /** Keeps the results of a run. */
  async keep(measured: readonly Measured[]): Promise<void> {
    for (const { name, result } of measured) {
      const path = this.#paths.get(name);
      if (path !== undefined) await writeWhole(path, result);
    }
  }

  /** Results by the names of lines, as far as they are known. */
  async read(): Promise<ReadonlyMap<string, string>> {
    const known = new Map<string, string>();
    for (const [name, path] of this.#paths) {
      const result = await readIfThere(path);
      if (result !== undefined) known.set(name, result);
    }
    return known;
  }
}
