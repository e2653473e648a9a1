import type { RandomAccessFile } from '../../../src/devices/block/backend.ts';

export class MachineDied extends Error {}

/**
 * A file in memory that counts what is done to it, and can die like a machine does: all that was not flushed may be
 * gone.
 */
export class MemoryFile implements RandomAccessFile {
  bytes: Uint8Array<ArrayBufferLike>;
  flushes = 0;
  punched = 0;
  /** The machine dies in the flush that comes after this many. */
  dieAtFlush = Infinity;
  /** Writes since the last flush, in order. */
  #pending: { offset: number; bytes: Uint8Array }[] = [];
  #durable: Uint8Array<ArrayBufferLike>;

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.bytes = bytes.slice();
    this.#durable = bytes.slice();
  }

  get size(): number {
    return this.bytes.length;
  }

  read(offset: number, target: Uint8Array): void {
    if (offset + target.length > this.bytes.length)
      throw new RangeError(`read at ${offset} beyond ${this.bytes.length}`);
    target.set(this.bytes.subarray(offset, offset + target.length));
  }

  write(offset: number, source: Uint8Array): void {
    this.#pending.push({ offset, bytes: source.slice() });
    this.bytes = stored(this.bytes, offset, source);
  }

  flush(): void {
    if (this.flushes === this.dieAtFlush) throw new MachineDied();
    this.flushes++;
    this.#pending = [];
    this.#durable = this.bytes.slice();
  }

  truncate(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }

  punch(offset: number, length: number): void {
    this.punched += length;
    this.#pending.push({ offset, bytes: new Uint8Array(length) });
    this.bytes.fill(0, offset, offset + length);
  }

  /** How many writes were made since the last flush. */
  get unflushed(): number {
    return this.#pending.length;
  }

  /**
   * The file after a crash of the machine in which, of the writes since the last flush, those that `survives` picks
   * got to the disk.
   */
  afterCrash(survives: (index: number) => boolean): MemoryFile {
    let bytes: Uint8Array<ArrayBufferLike> = this.#durable.slice();
    for (const [i, write] of this.#pending.entries()) {
      if (survives(i)) bytes = stored(bytes, write.offset, write.bytes);
    }
    return new MemoryFile(bytes);
  }
}

function stored(bytes: Uint8Array<ArrayBufferLike>, offset: number, source: Uint8Array): Uint8Array {
  let result: Uint8Array<ArrayBufferLike> = bytes;
  if (offset + source.length > bytes.length) {
    result = new Uint8Array(offset + source.length);
    result.set(bytes);
  }
  result.set(source, offset);
  return result;
}
