// The cache on disk: entries that appear whole or not at all, whoever is building them at the same time.

import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestImageError, systemErrorCode } from './errors.ts';

/** Ballonet's folder in the user's cache (XDG Base Directory Specification). */
export function cacheDirectory(): string {
  const base = process.env.XDG_CACHE_HOME;
  // The specification says that a relative path is to be ignored.
  return join(base?.startsWith('/') ? base : join(homedir(), '.cache'), 'ballonet');
}

/** How often the owner of a lock shows that it is alive, and how long in ms it may be silent before it counts as gone. */
const HEARTBEAT_MS = 2_000;
const SILENCE_MS = 60_000;
const POLL_MS = 50;

/**
 * Runs a function while holding a lock, which keeps processes (and calls in one process) from doing the same work
 * twice. It is no more than that: an owner that was stopped for a long time loses it, and then two work at the same
 * time, so what is built has to be published with {@link publish}.
 * @param path a file name; the lock is a folder there
 */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const owner = join(path, 'owner');
  for (;;) {
    try {
      await mkdir(path);
      break;
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error;
    }
    if (await isAbandoned(path)) {
      // Moved away first: of several that wait, only one can do it.
      const grave = `${path}.${randomUUID()}`;
      await rename(path, grave).catch(ignoring('ENOENT'));
      await rm(grave, { recursive: true, force: true });
    } else {
      await sleep(POLL_MS);
    }
  }
  await writeFile(owner, `${process.pid} ${hostname()}`);
  const heartbeat = setInterval(() => {
    const now = new Date();
    // If the lock was taken over, there is nothing to keep alive.
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    await rm(path, { recursive: true, force: true });
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  try {
    const [pid, host] = (await readFile(join(path, 'owner'), 'utf8').catch(ignoring('ENOENT')))?.split(' ') ?? [];
    if (pid !== undefined && host === hostname() && !isAlive(Number(pid))) return true;
    return Date.now() - (await stat(path)).mtimeMs > SILENCE_MS;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === 'EPERM';
  }
}

function ignoring(code: string): (error: unknown) => undefined {
  return (error) => {
    if (systemErrorCode(error) !== code) throw error;
    return undefined;
  };
}

/** Writes what was written to a file or folder through to the disk, so that a rename after it can't come before it. */
async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function flushTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await flush(join(entry.parentPath, entry.name));
  }
}

/** Writes a file in one step: readers see the old contents or the new. */
export async function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(unfinished, data);
    await flush(unfinished);
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
}

/**
 * Makes a finished folder the entry at `path`, in one step. An entry that is there already is taken to be the same and
 * left alone, unless `isWhole` says that it is damaged; then it is replaced.
 */
export async function publish(
  finished: string,
  path: string,
  isWhole: (path: string) => Promise<boolean>,
): Promise<void> {
  await flushTree(finished);
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    try {
      await rename(finished, path);
      return;
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(systemErrorCode(error) ?? '')) throw error;
    }
    if (await isWhole(path)) return;
    const grave = `${path}.${randomUUID()}.tmp`;
    await rename(path, grave).catch(ignoring('ENOENT'));
    await rm(grave, { recursive: true, force: true });
  }
}

/**
 * Runs a function with an empty folder of its own in `parent`, which is removed afterwards. What earlier runs left that
 * were killed is removed as well: the caller holds a lock under which nobody else works in `parent`.
 */
export async function withWorkFolder<T>(parent: string, work: (folder: string) => Promise<T>): Promise<T> {
  await rm(parent, { recursive: true, force: true });
  const folder = join(parent, randomUUID());
  await mkdir(folder, { recursive: true });
  try {
    return await work(folder);
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}

/** Turns errors of the disk that the cache is on into ones that say so. */
export async function namingCacheErrors<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined || !/^(EACCES|EPERM|EROFS|ENOSPC|EDQUOT|ENOTDIR)$/.test(code)) throw error;
    const what = /^(ENOSPC|EDQUOT)$/.test(code) ? 'is on a full disk' : 'cannot be written';
    const right = 'set XDG_CACHE_HOME to a folder that can be written and has 500 MB free';
    throw new GuestImageError('disk', `the cache folder ${folder} ${what} (${code}); ${right}`, { cause: error });
  }
}
