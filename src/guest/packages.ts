// Programs for guests from Debian packages: the packages with all that they depend on, unpacked, in the cache.

import { join } from 'node:path';
import type { PackageArchive, PackageRecord } from './apt.ts';
import { cacheDirectory, namingCacheErrors } from './cache.ts';
import { digestOf, makeOnce } from './entry.ts';
import { fetchPackages, type PackageOptions } from './fetch-packages.ts';
import { ARCHITECTURE, SUITE } from './image.ts';

/** Raised when what is in a folder changes, so that older ones are not taken for it. */
const FORMAT = 1;
const ROOT = 'root';

/** Unpacked packages. Their maintainers' scripts have not run. */
export interface DebianPackages {
  /** Absolute path of the folder that stands for the guest's root. */
  readonly root: string;
  /** What is in it, in the order in which dependencies led to it. */
  readonly packages: readonly { readonly name: string; readonly version: string }[];
}

export interface DebianPackagesOptions extends PackageOptions {
  /** Cache folder; by default {@link cacheDirectory}. */
  readonly cache?: string;
}

/**
 * Finds packages in the cache, or fetches and unpacks them with all that they depend on (of alternatives the first;
 * what is only recommended is left out).
 * @throws GuestImageError
 */
export async function prepareDebianPackages(
  names: readonly string[],
  options: DebianPackagesOptions = {},
): Promise<DebianPackages> {
  const { cache = cacheDirectory(), suite = SUITE, source } = options;
  const request = digestOf({ FORMAT, suite, names, source: source ?? null }).slice(0, 16);
  const pointer = join(cache, 'packages', `${suite}-${ARCHITECTURE}-${request}`);
  const entry = await namingCacheErrors(
    cache,
    async () =>
      await makeOnce(pointer, async (work, finished) => {
        const choose = (archive: PackageArchive) => withDependencies(archive, names);
        const records = await fetchPackages(work, join(finished, ROOT), options, choose);
        const packages = records.map(({ name, version, sha256 }) => ({ name, version, sha256 }));
        return { digest: digestOf({ FORMAT, packages }), manifest: { packages } };
      }),
  );
  const packages = entry.manifest.packages.map(({ name, version }) => ({ name, version }));
  return { root: join(entry.folder, ROOT), packages };
}

/** Packages with all that they depend on. */
export async function withDependencies(archive: PackageArchive, names: readonly string[]): Promise<PackageRecord[]> {
  const records = new Map<string, PackageRecord>();
  const waiting = [...names];
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (records.has(name)) continue;
    const record = await archive.show(name);
    records.set(name, record);
    waiting.push(...record.depends);
  }
  return [...records.values()];
}
