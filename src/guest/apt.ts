// Fetches packages of another architecture and release with the machine's own apt, in an apt root of its own: the
// machine's packages, lists and settings are neither used nor changed, other than its mirror, proxies and certificates.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { chooseMirror, parseOneLineSources, parseStanzas, readAptSources } from './apt-sources.ts';
import { GuestImageError, type GuestImageErrorCode, OWN_FILES_HINT } from './errors.ts';
import { runTool, type Tool, type ToolResult } from './tools.ts';

/** Debian's signing keys, from its package debian-archive-keyring. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** What the archive says about a package. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  /** SHA-256 of the package file in hexadecimal. */
  readonly sha256: string;
  /** Names of the packages that it depends on; of alternatives the first. */
  readonly depends: readonly string[];
  /** Place of the package file, from the mirror's root. */
  readonly path: string;
}

/** Where packages are looked up and fetched. */
export interface PackageArchive {
  /**
   * What the archive says about a package, in the version that would be installed.
   * @throws GuestImageError `package-missing`
   */
  show(name: string): Promise<PackageRecord>;
  /**
   * Downloads packages and unpacks them.
   * @param target folder that the files of the packages are put in
   * @throws GuestImageError
   */
  fetch(packages: readonly PackageRecord[], target: string): Promise<void>;
}

/**
 * The machine's own mirror as a line of sources.list(5), with the signatures checked against Debian's keys.
 * @throws GuestImageError `no-mirror`
 */
export async function debianSourceLine(suite: string, architecture: string, aptFolder?: string): Promise<string> {
  const mirror = chooseMirror(await readAptSources(aptFolder), suite);
  if (mirror === undefined) {
    const place = `${aptFolder ?? '/etc/apt'}/sources.list and sources.list.d`;
    const right = 'add one there ("deb URI trixie main")';
    throw new GuestImageError('no-mirror', `there is no Debian mirror in ${place}; ${right}, ${OWN_FILES_HINT}`);
  }
  const options = new Map([...mirror.options, ['arch', architecture], ['signed-by', KEYRING]]);
  const text = [...options].map(([key, value]) => `${key}=${value}`).join(' ');
  return `deb [${text}] ${mirror.uri} ${suite} main`;
}

/** apt's messages by what they mean, the most telling first. */
const MEANINGS: readonly (readonly [RegExp, GuestImageErrorCode, string])[] = [
  [
    /No space left on device|enough free space/,
    'disk',
    'the disk of the cache is full; free 500 MB, or set XDG_CACHE_HOME',
  ],
  [
    /Hash Sum mismatch|unexpected size|Size mismatch/i,
    'damaged-download',
    'what was downloaded is not what the archive says it is; try again later, or use another mirror',
  ],
  [
    /NO_PUBKEY|EXPKEYSIG|BADSIG|is not signed|keyring|couldn't be verified/i,
    'bad-signature',
    `the mirror's signature does not check with ${KEYRING}; install a newer debian-archive-keyring`,
  ],
  [
    /Unable to locate package|No packages found|does not have a Release file|404 +Not Found|File not found/,
    'package-missing',
    'the mirror does not have it; use one that carries riscv64',
  ],
  [
    /resolve|connect|Failed to fetch|timed out|unreachable|Proxy/i,
    'no-network',
    "the mirror cannot be reached; check the network and the machine's apt settings",
  ],
];

function failure(doing: string, result: ToolResult): GuestImageError {
  const output = `${result.stderr}\n${new TextDecoder().decode(result.stdout)}`;
  const told = output.split('\n').filter((line) => /^(E|W|Err)[: ]/.test(line));
  const text = (told.length > 0 ? told : output.trim().split('\n').slice(-3)).slice(0, 4).join('\n');
  const [, code, meaning] = MEANINGS.find(([pattern]) => pattern.test(output)) ?? [
    undefined,
    'apt-failed' as const,
    'apt failed',
  ];
  return new GuestImageError(code, `${doing}: ${meaning}, ${OWN_FILES_HINT}\n${text}`);
}

/** A root of apt's own files in a folder: the archive that a mirror's lists describe. */
export class AptRoot implements PackageArchive {
  readonly #folder: string;
  readonly #mirror: string;

  private constructor(folder: string, mirror: string) {
    this.#folder = folder;
    this.#mirror = mirror;
  }

  /**
   * Makes an apt root in an empty folder.
   * @param sourceLine where packages come from, as a line of sources.list(5)
   */
  static async create(folder: string, architecture: string, sourceLine: string): Promise<AptRoot> {
    const root = new AptRoot(folder, parseOneLineSources(sourceLine)[0]?.uri ?? '');
    for (const name of ['etc', 'lists/partial', 'cache/archives/partial', 'state', 'download']) {
      await mkdir(join(folder, name), { recursive: true });
    }
    await writeFile(join(folder, 'etc/sources.list'), `${sourceLine}\n`);
    await writeFile(join(folder, 'etc/status'), '');
    await writeFile(join(folder, 'etc/apt.conf'), configuration(folder, architecture));
    return root;
  }

  async #run(tool: Tool, args: readonly string[]): Promise<ToolResult> {
    return await runTool(
      tool,
      ['-q', '-c', join(this.#folder, 'etc/apt.conf'), ...args],
      join(this.#folder, 'download'),
    );
  }

  /**
   * Fetches the archive's lists and checks their signatures.
   * @throws GuestImageError
   */
  async update(): Promise<void> {
    const result = await this.#run('apt-get', ['update']);
    // apt-get ends with status 0 if it could not fetch a list and finds that not so bad.
    if (result.status !== 0 || /Failed to fetch|GPG error/.test(result.stderr)) {
      throw failure("fetching Debian's package lists", result);
    }
  }

  async show(name: string): Promise<PackageRecord> {
    const result = await this.#run('apt-cache', ['show', '--no-all-versions', name]);
    if (result.status !== 0) throw failure(`looking up the Debian package ${name}`, result);
    const fields = parseStanzas(new TextDecoder().decode(result.stdout)).find((each) => each.get('package') === name);
    const [version, sha256, path] = ['version', 'sha256', 'filename'].map((key) => fields?.get(key));
    if (fields === undefined || version === undefined || sha256 === undefined || path === undefined) {
      throw failure(`looking up the Debian package ${name}`, { ...result, stderr: 'E: No packages found' });
    }
    const depends = (fields.get('depends') ?? '').split(',').map((text) => /^\s*([^\s(|:]*)/.exec(text)?.[1] ?? '');
    return { name, version, sha256, depends: depends.filter((each) => each !== ''), path };
  }

  async fetch(packages: readonly PackageRecord[], target: string): Promise<void> {
    const names = packages.map(({ name, version }) => `${name}=${version}`);
    const result = await this.#run('apt-get', ['download', ...names]);
    if (result.status !== 0) throw failure(`downloading the Debian packages ${names.join(', ')}`, result);
    // apt-get writes the version into a file's name in a way of its own.
    const files = await readdir(join(this.#folder, 'download'));
    const fileOf = ({ name }: PackageRecord): string | undefined =>
      files.find((each) => each.startsWith(`${name}_`) && each.endsWith('.deb'));
    await this.#unpack(packages, fileOf, target);
  }

  /**
   * Like {@link fetch}, of packages that the mirror's lists may not have.
   * @throws GuestImageError
   */
  async fetchFiles(packages: readonly PackageRecord[], target: string): Promise<void> {
    for (const { name, version, path, sha256 } of packages) {
      const file = join(this.#folder, 'download', basename(path));
      const uri = `${this.#mirror.replace(/\/$/, '')}/${path}`;
      const result = await this.#run('/usr/lib/apt/apt-helper', ['download-file', uri, file, `SHA256:${sha256}`]);
      if (result.status !== 0) throw failure(`downloading the Debian package ${name}=${version}`, result);
    }
    await this.#unpack(packages, ({ path }) => basename(path), target);
  }

  async #unpack(
    packages: readonly PackageRecord[],
    fileOf: (record: PackageRecord) => string | undefined,
    target: string,
  ): Promise<void> {
    const folder = join(this.#folder, 'download');
    for (const record of packages) {
      const { name, sha256 } = record;
      const file = fileOf(record);
      // apt has checked this, too; here it is checked of what is on the disk and will be unpacked.
      const digest =
        file &&
        createHash('sha256')
          .update(await readFile(join(folder, file)))
          .digest('hex');
      const unpacked = digest === sha256 ? await runTool('dpkg-deb', ['-x', join(folder, file!), target]) : undefined;
      if (unpacked?.status === 0) continue;
      const why = unpacked?.stderr.trim() ?? (digest ? `its SHA-256 is ${digest}, not ${sha256}` : 'it is not there');
      const message = `the downloaded Debian package ${name} is damaged (${why}); try again, ${OWN_FILES_HINT}`;
      throw new GuestImageError('damaged-download', message);
    }
  }
}

/**
 * Settings of an apt root. apt reads them after the machine's own apt.conf.d, from which proxies, certificates and
 * timeouts are to be kept, and everything that speaks of the machine's packages is to be overruled.
 */
function configuration(folder: string, architecture: string): string {
  const clear = ['APT::Architectures', 'APT::Update', 'DPkg::Pre-Invoke', 'DPkg::Post-Invoke'];
  const settings: Readonly<Record<string, string>> = {
    'APT::Architecture': architecture,
    'APT::Architectures::': architecture,
    'APT::Default-Release': '',
    // Of root's processes apt gives downloading to the user _apt, who cannot write in a folder of root's.
    'APT::Sandbox::User': 'root',
    'APT::Get::AllowUnauthenticated': 'false',
    'APT::Update::Error-Mode': 'any',
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Dir::State': join(folder, 'state'),
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'etc/status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Cache::archives': join(folder, 'cache/archives'),
    'Dir::Etc::sourcelist': join(folder, 'etc/sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::Etc::trusted': '/dev/null',
    'Dir::Etc::trustedparts': '/dev/null',
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key} "${value}";`);
  return [...clear.map((name) => `#clear ${name};`), ...lines, ''].join('\n');
}
