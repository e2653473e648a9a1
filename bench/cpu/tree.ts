/** Folders of this machine as entries of an archive. */
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { CpioEntry } from '../../src/guest/index.ts';

/**
 * What is in a folder: files, folders and symbolic links.
 * @param target path in the archive
 */
export async function treeEntries(folder: string, target: string): Promise<CpioEntry[]> {
  const entries: CpioEntry[] = [];
  for (const found of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const here = join(found.parentPath, found.name);
    const path = join(target, relative(folder, here));
    if (found.isSymbolicLink()) {
      entries.push({ kind: 'symlink', path, target: await readlink(here) });
    } else if (found.isDirectory()) {
      entries.push({ kind: 'directory', path, mode: (await stat(here)).mode & 0o7777 });
    } else if (found.isFile()) {
      entries.push({ kind: 'file', path, mode: (await stat(here)).mode & 0o7777, data: await readFile(here) });
    }
  }
  // Folders come before what is in them, whatever order the file system has.
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}
