// The machine's own apt sources: from which mirror it takes Debian, in either of the two formats of sources.list(5).

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from './errors.ts';

/** One source of binary packages. */
export interface AptSource {
  readonly uri: string;
  /** Suites with their components, e.g. `bookworm`. */
  readonly suite: string;
  readonly components: readonly string[];
  /** Options in one-line spelling (`check-valid-until` and so on), in lower case. */
  readonly options: ReadonlyMap<string, string>;
}

/** Parses the one-line format (`*.list`); lines that are none are left out, as are sources of source packages. */
export function parseOneLineSources(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)([^#]*)/.exec(line);
    if (match === null) return [];
    const [, options = '', uri = '', suite = '', components = ''] = match;
    const pairs = options.split(/\s+/).flatMap((option): [string, string][] => {
      const [key, value] = option.split(/[-+]?=(.*)/);
      return key && value !== undefined ? [[key.toLowerCase(), value]] : [];
    });
    return [{ uri, suite, components: words(components), options: new Map(pairs) }];
  });
}

/** Options that the two formats spell differently: deb822 name in lower case to one-line name. */
const DEB822_OPTIONS: Readonly<Record<string, string>> = {
  architectures: 'arch',
  languages: 'lang',
  targets: 'target',
};

/** Parses the deb822 format (`*.sources`); stanzas that are disabled are left out. */
export function parseDeb822Sources(text: string): AptSource[] {
  return parseStanzas(text).flatMap((fields) => {
    if (/^(no|false|0|off|without|disable)$/i.test(fields.get('enabled') ?? 'yes')) return [];
    if (!words(fields.get('types') ?? '').includes('deb')) return [];
    const known = new Set(['types', 'uris', 'suites', 'components', 'enabled']);
    const options = new Map(
      [...fields].filter(([key]) => !known.has(key)).map(([key, value]) => [DEB822_OPTIONS[key] ?? key, value]),
    );
    const components = words(fields.get('components') ?? '');
    return words(fields.get('suites') ?? '').flatMap((suite) =>
      words(fields.get('uris') ?? '').map((uri) => ({ uri, suite, components, options })),
    );
  });
}

/** Stanzas of deb822(5): fields by lower-case name; continuation lines are joined by a newline, comments left out. */
export function parseStanzas(text: string): Map<string, string>[] {
  const stanzas: Map<string, string>[] = [];
  let fields = new Map<string, string>();
  let last: string | undefined;
  for (const line of [...text.split(/\r?\n/), '']) {
    if (line.startsWith('#')) continue;
    if (line.trim() === '') {
      if (fields.size > 0) stanzas.push(fields);
      fields = new Map();
      last = undefined;
    } else if (/^\s/.test(line)) {
      if (last !== undefined) fields.set(last, `${fields.get(last)}\n${line.trim()}`);
    } else {
      const colon = line.indexOf(':');
      if (colon < 0) continue;
      last = line.slice(0, colon).trim().toLowerCase();
      fields.set(last, line.slice(colon + 1).trim());
    }
  }
  return stanzas;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Suites that only Debian's own archive has: names of releases and what they are at the moment. */
const DEBIAN_SUITES = new Set(
  'bullseye bookworm trixie forky duke sid oldoldstable oldstable stable testing unstable'.split(' '),
);

/** Options of a source that say how it is fetched, and so hold for another suite of the same mirror as well. */
const CARRIED_OPTIONS = ['check-valid-until', 'valid-until-min', 'valid-until-max', 'check-date', 'date-max-future'];

/** A mirror of the Debian archive. */
export interface DebianMirror {
  readonly uri: string;
  readonly options: ReadonlyMap<string, string>;
}

/**
 * Picks the mirror of Debian's archive (not its security archive, which has other suites) out of the machine's sources.
 * A source that has the wanted suite comes first.
 */
export function chooseMirror(sources: readonly AptSource[], wantedSuite: string): DebianMirror | undefined {
  const candidates = sources.filter(
    ({ uri, suite, components }) =>
      DEBIAN_SUITES.has(suite) && components.includes('main') && !/^cdrom:/.test(uri) && !/ports\b/.test(uri),
  );
  const source = candidates.find(({ suite }) => suite === wantedSuite) ?? candidates[0];
  if (source === undefined) return undefined;
  return { uri: source.uri, options: new Map([...source.options].filter(([key]) => CARRIED_OPTIONS.includes(key))) };
}

/**
 * Reads the machine's apt sources: `sources.list` and the files in `sources.list.d`, in apt's order. Files that are
 * not there, or that may not be read, are left out.
 * @param folder apt's configuration folder
 */
export async function readAptSources(folder = '/etc/apt'): Promise<AptSource[]> {
  const parts = join(folder, 'sources.list.d');
  const names = (await orNothing(readdir(parts)))?.sort() ?? [];
  const sources: AptSource[] = [];
  for (const path of [join(folder, 'sources.list'), ...names.map((name) => join(parts, name))]) {
    const parse = path.endsWith('.sources')
      ? parseDeb822Sources
      : path.endsWith('.list')
        ? parseOneLineSources
        : undefined;
    const text = parse && (await orNothing(readFile(path, 'utf8')));
    if (parse && text !== undefined) sources.push(...parse(text));
  }
  return sources;
}

async function orNothing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EISDIR', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}
