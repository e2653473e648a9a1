/**
 * Files as the core wants them handed in. The host opens them once, so that all that is wrong with a path is said before
 * anything starts, and its worker threads use the same descriptors.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { FileError, hasCode, messageOf } from './errors.ts';

/** A file that can be read and written anywhere, with a descriptor that any thread of this process may use. */
export class RandomAccessFile {
  readonly descriptor: number;
  /** What the file is called in messages. */
  readonly label: string;

  constructor(descriptor: number, label: string) {
    this.descriptor = descriptor;
    this.label = label;
  }

  /** Its size now, in bytes. */
  get size(): number {
    return fstatSync(this.descriptor).size;
  }

  /** Fills all of `target` from byte `offset`; throws if the file ends before. */
  read(offset: number, target: Uint8Array): void {
    let done = 0;
    while (done < target.length) {
      const count = readSync(this.descriptor, target, done, target.length - done, offset + done);
      if (count === 0)
        throw new Error(`${this.label} ends before byte ${offset + target.length}; it has become shorter`);
      done += count;
    }
  }

  /** Stores all of `source` at byte `offset`. */
  write(offset: number, source: Uint8Array): void {
    let done = 0;
    while (done < source.length) {
      done += writeSync(this.descriptor, source, done, source.length - done, offset + done);
    }
  }

  /** Fills all of `targets`, one behind the other, from byte `offset`; throws if the file ends before. */
  readParts(offset: number, targets: readonly Uint8Array[]): void {
    const length = targets.reduce((sum, target) => sum + target.length, 0);
    if (targets.length === 1 || readvSync(this.descriptor, targets, offset) !== length) {
      let at = offset;
      for (const target of targets) {
        this.read(at, target);
        at += target.length;
      }
    }
  }

  /** Stores all of `sources`, one behind the other, at byte `offset`. */
  writeParts(offset: number, sources: readonly Uint8Array[]): void {
    const length = sources.reduce((sum, source) => sum + source.length, 0);
    if (sources.length === 1 || writevSync(this.descriptor, sources, offset) !== length) {
      let at = offset;
      for (const source of sources) {
        this.write(at, source);
        at += source.length;
      }
    }
  }

  /** Returns when everything written is on stable storage. */
  flush(): void {
    fsyncSync(this.descriptor);
  }

  /** Sets its size in bytes; what is new reads as zeros and takes no room. */
  truncate(size: number): void {
    ftruncateSync(this.descriptor, size);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/** How a file is opened: `create` makes it when it is not there, `new` always. */
export type FileMode = 'read' | 'write' | 'create' | 'new';

const FLAGS: Record<FileMode, string[]> = { read: ['r'], write: ['r+'], create: ['r+', 'wx+'], new: ['wx+'] };

/**
 * Opens a file.
 * @param use what it is for, for messages
 * @throws FileError
 */
export function openFile(use: string, path: string, mode: FileMode): RandomAccessFile {
  let failure: unknown;
  for (const flags of FLAGS[mode]) {
    try {
      const file = new RandomAccessFile(openSync(path, flags, 0o600), `${use} ${path}`);
      if (fstatSync(file.descriptor).isFile()) return file;
      file.close();
      throw new FileError(use, path, 'is not a regular file');
    } catch (error) {
      if (error instanceof FileError) throw error;
      failure = error;
      if (!hasCode(error, 'ENOENT')) break;
    }
  }
  throw fileError(use, path, failure, mode);
}

/**
 * Opens a file that is written from its start, whatever is there: a regular one, a terminal, a pipe.
 * @returns its descriptor
 * @throws FileError
 */
export function openOutput(use: string, path: string): number {
  try {
    return openSync(path, 'w', 0o666);
  } catch (error) {
    throw fileError(use, path, error, 'create');
  }
}

/**
 * The whole of a file.
 * @throws FileError
 */
export function readWhole(use: string, path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw fileError(use, path, error, 'read');
  }
}

/** What a failure to open or read a file means for who gave its path. */
export function fileError(use: string, path: string, error: unknown, mode: FileMode): FileError {
  return new FileError(use, path, fileProblem(error, mode), { cause: error });
}

function fileProblem(error: unknown, mode: FileMode): string {
  if (hasCode(error, 'ENOENT')) {
    return mode === 'create' || mode === 'new'
      ? 'its folder does not exist; make it first'
      : 'does not exist; check the path';
  }
  if (hasCode(error, 'EACCES', 'EPERM', 'EROFS')) {
    return `may not be ${mode === 'read' ? 'read' : 'written'}; change its permissions or give another file`;
  }
  if (hasCode(error, 'EEXIST')) return 'exists, and its contents would be lost; remove it or give another path';
  if (hasCode(error, 'EISDIR')) return 'is a folder; give a file';
  return messageOf(error);
}
