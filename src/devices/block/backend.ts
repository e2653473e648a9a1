/**
 * The contents of a disk. All calls are synchronous; offsets and lengths are in bytes and inside of `[0, sizeBytes)`.
 * An error thrown by any of them becomes an I/O error for the guest.
 */
export interface BlockBackend {
  readonly sizeBytes: number;
  /** The guest may only read. */
  readonly readOnly?: boolean;
  read(offset: number, target: Uint8Array): void;
  write(offset: number, source: Uint8Array): void;
  /** All that was written before is durable when this returns. */
  flush(): void;
  /** The contents of the range are not needed any more. */
  discard?(offset: number, length: number): void;
  /** The range reads as zeros from now on; `mayUnmap`: its storage may be given back. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): void;
}

/** A file of the host, handed in; all calls are synchronous and throw on failure. */
export interface RandomAccessFile {
  /** Length in bytes now. */
  readonly size: number;
  /** Fills all of `target`; throws if the file ends before. */
  read(offset: number, target: Uint8Array): void;
  /** Stores all of `source`, making the file longer if need be. */
  write(offset: number, source: Uint8Array): void;
  /** All that was written before is durable when this returns. */
  flush(): void;
  /** Sets the length; new bytes read as zeros and take no space. */
  truncate?(size: number): void;
  /** Gives the storage of a range back; it reads as zeros from now on. */
  punch?(offset: number, length: number): void;
}

/** A raw disk image: byte n of the file is byte n of the disk. */
export class RawBlock implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  #file: RandomAccessFile;

  /** A length that is no multiple of 512 is rounded down, the rest can't be reached by sectors. */
  constructor(file: RandomAccessFile, options: { readonly readOnly?: boolean } = {}) {
    this.#file = file;
    this.sizeBytes = file.size - (file.size % 512);
    this.readOnly = options.readOnly ?? false;
    if (file.punch !== undefined && !this.readOnly) {
      const punch = (offset: number, length: number) => file.punch?.(offset, length);
      this.discard = punch;
      this.writeZeroes = (offset, length, mayUnmap) => {
        if (mayUnmap) punch(offset, length);
        else writeZeros(file, offset, length);
      };
    }
  }

  readonly discard?: (offset: number, length: number) => void;
  readonly writeZeroes?: (offset: number, length: number, mayUnmap: boolean) => void;

  read(offset: number, target: Uint8Array): void {
    this.#file.read(offset, target);
  }

  write(offset: number, source: Uint8Array): void {
    this.#file.write(offset, source);
  }

  flush(): void {
    this.#file.flush();
  }
}

const ZEROS = new Uint8Array(64 * 1024);

/** Writes `length` zero bytes at `offset`. */
export function writeZeros(file: Pick<RandomAccessFile, 'write'>, offset: number, length: number): void {
  for (let at = 0; at < length; at += ZEROS.length) {
    file.write(offset + at, ZEROS.subarray(0, Math.min(ZEROS.length, length - at)));
  }
}
