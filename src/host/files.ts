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
  statSync,
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
  throw new FileError(use, path, fileProblem(failure, mode), { cause: failure });
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
    throw new FileError(use, path, fileProblem(error, 'create'), { cause: error });
  }
}

/**
 * The whole of a file, in memory that threads can share.
 * @throws FileError
 */
export function readWhole(use: string, path: string): Uint8Array<SharedArrayBuffer> {
  try {
    const file = new RandomAccessFile(openSync(path, 'r'), `${use} ${path}`);
    try {
      const { size } = file;
      // What a pipe holds, or a file of /proc, is known only when it has been read; others are read where they are to stand.
      const read = size > 0 && fstatSync(file.descriptor).isFile() ? undefined : readFileSync(file.descriptor);
      const shared = new Uint8Array(new SharedArrayBuffer(read?.length ?? size));
      if (read === undefined) file.read(0, shared);
      else shared.set(read);
      return shared;
    } finally {
      file.close();
    }
  } catch (error) {
    throw new FileError(use, path, fileProblem(error, 'read'), { cause: error });
  }
}

/** Files as they were last read: guests that boot the same ones share one copy of them. */
export class WholeFiles {
  readonly #most: number;
  /** By path, the one used last at the end: contents, and what the file was when it was read. */
  readonly #files = new Map<string, { readonly version: string; readonly contents: Uint8Array<SharedArrayBuffer> }>();

  /** @param most files that are kept */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * The whole of a file as it is now.
   * @throws FileError
   */
  read(use: string, path: string): Uint8Array<SharedArrayBuffer> {
    const version = fileVersion(path);
    const known = this.#files.get(path);
    const contents = known !== undefined && known.version === version ? known.contents : readWhole(use, path);
    this.#files.delete(path);
    // A file that nothing is known of is not kept.
    if (version !== undefined) this.#files.set(path, { version, contents });
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= this.#most) break;
      this.#files.delete(oldest);
    }
    return contents;
  }
}

/** Differs when a file has been replaced or written; undefined if there is none. */
function fileVersion(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
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
