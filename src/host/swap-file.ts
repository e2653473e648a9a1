/** The VMM's swap file: machine pages that nothing else could make room for. */
import { rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PAGE_SIZE } from '../memory/layout.ts';
import type { SlotStore } from '../memory/swap.ts';
import { FileError } from './errors.ts';
import { openFile, RandomAccessFile } from './files.ts';
import { formatSize } from './size.ts';

/** Slots of a page each, in an open file. */
export class SwapFile implements SlotStore {
  readonly #file: RandomAccessFile;

  constructor(descriptor: number) {
    this.#file = new RandomAccessFile(descriptor, 'swap file');
  }

  read(slot: number, targets: readonly Uint8Array[]): void {
    this.#file.readParts(slot * PAGE_SIZE, targets);
  }

  write(slot: number, sources: readonly Uint8Array[]): void {
    this.#file.writeParts(slot * PAGE_SIZE, sources);
  }

  close(): void {
    this.#file.close();
  }
}

let made = 0;

/**
 * Makes the swap file, sparse, after a look whether its file system has the room. The file has no name any more when this
 * returns (unless the system keeps names of open files), so that nothing is left behind however the process ends.
 * @param path undefined for a file in the system's temporary folder
 * @param size in bytes
 * @returns its descriptor
 * @throws FileError
 */
export function openSwapFile(path: string | undefined, size: number): number {
  const place = path ?? join(tmpdir(), `ballonet-swap-${process.pid}-${made++}`);
  const use = 'swap file';
  const file = openFile(use, place, 'new');
  try {
    const { bavail, bsize } = statfsSync(dirname(place));
    const free = bavail * bsize;
    if (free < size) {
      throw new FileError(
        use,
        place,
        `needs ${formatSize(size)} and its file system has ${formatSize(free)} free; give a smaller swap size or another file`,
      );
    }
    file.truncate(size);
    return file.descriptor;
  } catch (error) {
    file.close();
    throw error;
  } finally {
    rmSync(place, { force: true });
  }
}
