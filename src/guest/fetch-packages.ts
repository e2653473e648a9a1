// Packages for guests from the machine's Debian mirror: in the versions that the mirror's lists name, or, while the
// mirror cannot give those, in versions known here.

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AptRoot, debianSourceLine, type PackageArchive, type PackageRecord } from './apt.ts';
import { GuestImageError, type GuestImageErrorCode } from './errors.ts';
import { ARCHITECTURE, SUITE } from './image.ts';

export interface PackageOptions {
  /** Debian release. */
  readonly suite?: string;
  /** Where packages come from, as a line of sources.list(5); by default the machine's own Debian mirror. */
  readonly source?: string;
  /**
   * Packages to take if the mirror's lists and its files do not fit each other; by default, from the machine's own
   * mirror, those that Ballonet was tested with.
   */
  readonly known?: readonly PackageRecord[];
  /** Is told, in a line each, what takes time. */
  readonly onProgress?: (line: string) => void;
}

/**
 * What happens while a mirror is being updated, for hours after each release of Debian: its signed Release file is new
 * and the lists that it vouches for are not, or these are, and the files that they name are not there yet.
 */
const UPDATING: readonly GuestImageErrorCode[] = ['damaged-download', 'package-missing'];

/**
 * Downloads packages and unpacks them.
 * @param work folder for what is needed meanwhile
 * @param target folder, not there yet, that the files of the packages are put in
 * @param choose picks the packages from what the archive has
 * @throws GuestImageError
 */
export async function fetchPackages<Records extends readonly PackageRecord[]>(
  work: string,
  target: string,
  options: PackageOptions,
  choose: (archive: PackageArchive) => Promise<Records>,
): Promise<Records> {
  const { suite = SUITE, source, onProgress } = options;
  const fetchFrom = async (archive: PackageArchive): Promise<Records> => {
    const records = await choose(archive);
    onProgress?.(`fetching ${records.map(({ name, version }) => `${name} ${version}`).join(', ')}`);
    await mkdir(target, { recursive: true });
    await archive.fetch(records, target);
    return records;
  };
  onProgress?.(`fetching the package lists of Debian ${suite} for ${ARCHITECTURE}`);
  const line = source ?? (await debianSourceLine(suite, ARCHITECTURE));
  const apt = await AptRoot.create(join(work, 'apt'), ARCHITECTURE, line);
  try {
    await apt.update();
    return await fetchFrom(apt);
  } catch (error) {
    if (!(error instanceof GuestImageError) || !UPDATING.includes(error.code)) throw error;
    const known = options.known ?? (source === undefined ? await testedPackages(suite) : []);
    if (known.length === 0) throw error;
    onProgress?.("the mirror's lists and files do not fit each other; it may be being updated: taking known packages");
    await rm(target, { recursive: true, force: true });
    try {
      return await fetchFrom(knownArchive(apt, known));
    } catch (second) {
      const tried = second instanceof Error ? second.message : String(second);
      throw new GuestImageError(error.code, `${error.message}\nKnown packages did not help: ${tried}`);
    }
  }
}

async function testedPackages(suite: string): Promise<readonly PackageRecord[]> {
  const { TESTED_PACKAGES, TESTED_SUITE } = await import('./tested-packages.ts');
  return suite === TESTED_SUITE ? TESTED_PACKAGES : [];
}

/** Known packages, from the files that a mirror still or already has. Each is checked by what is known of its contents. */
function knownArchive(apt: AptRoot, known: readonly PackageRecord[]): PackageArchive {
  return {
    show: async (name) => {
      const record = known.find((each) => each.name === name);
      if (record !== undefined) return record;
      throw new GuestImageError('package-missing', `there is no ${name} among them`);
    },
    fetch: async (packages, target) => await apt.fetchFiles(packages, target),
  };
}
