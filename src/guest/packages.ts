// Programs for guests from Debian packages: the packages with all that they depend on, unpacked, in the cache.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AptRoot, debianSourceLine, type PackageRecord } from './apt.ts';
import { cacheDirectory, namingCacheErrors } from './cache.ts';
import { digestOf, makeOnce } from './entry.ts';

const ARCHITECTURE = 'riscv64';
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

export interface DebianPackagesOptions {
  /** Cache folder; by default {@link cacheDirectory}. */
  readonly cache?: string;
  /** Debian release. */
  readonly suite?: string;
  /** Where packages come from, as a line of sources.list(5); by default the machine's own Debian mirror. */
  readonly source?: string;
  /** Is told, in a line each, what takes time. */
  readonly onProgress?: (line: string) => void;
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
  const { cache = cacheDirectory(), suite = 'trixie', source, onProgress } = options;
  const request = digestOf({ FORMAT, suite, names, source: source ?? null }).slice(0, 16);
  const pointer = join(cache, 'packages', `${suite}-${ARCHITECTURE}-${request}`);
  const entry = await namingCacheErrors(
    cache,
    async () =>
      await makeOnce(pointer, async (work, finished) => {
        onProgress?.(`fetching the package lists of Debian ${suite} for ${ARCHITECTURE}`);
        const line = source ?? (await debianSourceLine(suite, ARCHITECTURE));
        const apt = await AptRoot.create(join(work, 'apt'), ARCHITECTURE, line);
        await apt.update();
        const records = await withDependencies(apt, names);
        onProgress?.(`fetching ${records.map(({ name, version }) => `${name} ${version}`).join(', ')}`);
        await mkdir(join(finished, ROOT), { recursive: true });
        await apt.fetch(records, join(finished, ROOT));
        const packages = records.map(({ name, version, sha256 }) => ({ name, version, sha256 }));
        return { digest: digestOf({ FORMAT, packages }), manifest: { packages } };
      }),
  );
  const packages = entry.manifest.packages.map(({ name, version }) => ({ name, version }));
  return { root: join(entry.folder, ROOT), packages };
}

async function withDependencies(apt: AptRoot, names: readonly string[]): Promise<PackageRecord[]> {
  const records = new Map<string, PackageRecord>();
  const waiting = [...names];
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (records.has(name)) continue;
    const record = await apt.show(name);
    records.set(name, record);
    waiting.push(...record.depends);
  }
  return [...records.values()];
}
