// Folders of the cache that are made once: found by what was asked for, kept by what they were made from.

import { createHash } from 'node:crypto';
import { readFileSync, type Stats, statSync } from 'node:fs';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { publish, withLock, withWorkFolder, writeWhole } from './cache.ts';
import { GuestImageError, systemErrorCode } from './errors.ts';

const MANIFEST = 'manifest.json';

/** A folder of the cache. */
export interface Entry<Manifest> {
  /** Absolute path. */
  readonly folder: string;
  /** What its maker said of it. */
  readonly manifest: Manifest;
}

/** What the maker of an entry says when its files are there. */
export interface Made<Manifest> {
  /** SHA-256 in hexadecimal of what it was made from. */
  readonly digest: string;
  /** Something for JSON. */
  readonly manifest: Manifest;
}

/** Sizes in bytes by path, to find an entry that was damaged after it was published. */
interface Sizes {
  readonly sizes: Readonly<Record<string, number>>;
}

/** SHA-256 in hexadecimal of a value as JSON. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

/** The text of a file, or undefined if it is not there. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}

/**
 * Finds a folder of the cache, or makes it. Entries that came of different requests and were made from the same are one
 * folder, beside the pointers.
 * @param pointer path of a file that leads to the folder; its name stands for what is asked for
 * @param make puts the files into the folder `finished`, which is not there yet; `work` is its to use, and is removed
 */
export async function makeOnce<Manifest>(
  pointer: string,
  make: (work: string, finished: string) => Promise<Made<Manifest>>,
): Promise<Entry<Manifest>> {
  const found = find<Manifest>(pointer);
  if (found !== undefined) return found;
  await mkdir(dirname(pointer), { recursive: true });
  return await withLock(`${pointer}.lock`, async () => {
    const meanwhile = find<Manifest>(pointer);
    if (meanwhile !== undefined) return meanwhile;
    const folder = await withWorkFolder(`${pointer}.work`, async (work) => {
      const finished = join(work, 'finished');
      const { digest, manifest } = await make(work, finished);
      const described = { ...manifest, sizes: await sizesOf(finished) };
      await writeFile(join(finished, MANIFEST), `${JSON.stringify(described, undefined, 2)}\n`);
      const path = join(dirname(pointer), digest);
      await publish(finished, path, async (there) => open(there) !== undefined);
      return path;
    });
    // The pointer comes last: what it points to is whole.
    await writeWhole(pointer, `${basename(folder)}\n`);
    const entry = open<Manifest>(folder);
    if (entry === undefined) throw new GuestImageError('disk', `${folder} was damaged as it was written`);
    return entry;
  });
}

// A start waits for what follows and does nothing meanwhile: it is not asynchronous.

function find<Manifest>(pointer: string): Entry<Manifest> | undefined {
  const digest = readIfThere(pointer)?.trim();
  return digest && /^[0-9a-f]{64}$/.test(digest) ? open(join(dirname(pointer), digest)) : undefined;
}

/** The entry in a folder, or undefined if it is not there or not whole. */
function open<Manifest>(folder: string): Entry<Manifest> | undefined {
  const text = readIfThere(join(folder, MANIFEST));
  const manifest = text === undefined ? undefined : parse<Manifest & Sizes>(text);
  if (manifest === undefined) return undefined;
  for (const [path, size] of Object.entries(manifest.sizes)) {
    const there = statIfThere(join(folder, path));
    if (there?.size !== size) return undefined;
  }
  return { folder, manifest };
}

function statIfThere(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    // In place of a folder on the way there is something else.
    return undefined;
  }
}

/** Manifests are written here and published whole, so that one that parses is one of ours. */
function parse<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

async function sizesOf(folder: string): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) sizes[relative(folder, path)] = (await stat(path)).size;
  }
  return sizes;
}
