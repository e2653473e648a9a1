import { type BlockBackend, type RandomAccessFile, writeZeros } from './backend.ts';
import {
  BLOCK_SIZE,
  BLOCK_STATE,
  type BlockState,
  dataOffset,
  decodeHeader,
  encodeHeader,
  fingerprint,
  HEADER_SIZE,
  OverlayError,
  type OverlayHeader,
  tableLength,
} from './overlay-format.ts';

export interface OverlayOptions {
  /**
   * Size of the disk in bytes, a multiple of 512. Default: that of the base, or of the overlay if there is one
   * already.
   */
  readonly sizeBytes?: number;
}

/**
 * Opens the copy-on-write disk in `file` over `base`, or makes it there if the file is empty. `base` is only read;
 * without one the disk starts as zeros. Throws {@link OverlayError} if the file is something else, damaged, cut off,
 * or was made over another base.
 */
export function openOverlay(
  file: RandomAccessFile,
  base: RandomAccessFile | undefined,
  options: OverlayOptions = {},
): OverlayBlock {
  const baseSize = base?.size ?? 0;
  const baseFingerprint = base === undefined ? 0n : fingerprint(base);
  let header = file.size === 0 ? undefined : readHeader(file);
  if (header === undefined) {
    header = { sizeBytes: options.sizeBytes ?? Math.ceil(baseSize / 512) * 512, baseSize, baseFingerprint };
    format(file, header);
  }
  if (header.baseSize !== baseSize || header.baseFingerprint !== baseFingerprint) {
    throw new OverlayError(
      'wrong base',
      `made over a base of ${header.baseSize} bytes with other contents than this one of ${baseSize}; pass the base it was made over`,
    );
  }
  if (options.sizeBytes !== undefined && options.sizeBytes !== header.sizeBytes) {
    throw new OverlayError(
      'wrong size',
      `the disk has ${header.sizeBytes} bytes, not ${options.sizeBytes}; leave the size out`,
    );
  }
  return new OverlayBlock(file, base, header.sizeBytes);
}

function readHeader(file: RandomAccessFile): OverlayHeader | undefined {
  if (file.size < HEADER_SIZE) {
    throw new OverlayError('not an overlay', `the file has ${file.size} bytes, an overlay at least ${HEADER_SIZE}`);
  }
  const bytes = new Uint8Array(HEADER_SIZE);
  file.read(0, bytes);
  return decodeHeader(bytes);
}

function format(file: RandomAccessFile, header: OverlayHeader): void {
  const { sizeBytes } = header;
  if (!Number.isInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
    throw new OverlayError('wrong size', `a disk of ${sizeBytes} bytes; the size has to be a positive multiple of 512`);
  }
  if (file.truncate === undefined) writeZeros(file, 0, dataOffset(sizeBytes));
  else {
    file.truncate(0);
    file.truncate(dataOffset(sizeBytes));
  }
  file.flush();
  file.write(0, encodeHeader(header));
  file.flush();
}

/**
 * A disk whose changes are in a sparse file over a base that stays as it is. Format and crash behaviour:
 * overlay-format.ts.
 */
export class OverlayBlock implements BlockBackend {
  readonly sizeBytes: number;
  #file: RandomAccessFile;
  #base: RandomAccessFile | undefined;
  #table: Uint8Array;
  #dataOffset: number;
  /** Blocks of the table that differ from the file's. */
  #dirty = new Set<number>();
  #block = new Uint8Array(BLOCK_SIZE);

  /** Use {@link openOverlay}. */
  constructor(file: RandomAccessFile, base: RandomAccessFile | undefined, sizeBytes: number) {
    this.#file = file;
    this.#base = base;
    this.sizeBytes = sizeBytes;
    this.#dataOffset = dataOffset(sizeBytes);
    this.#table = new Uint8Array(tableLength(sizeBytes));
    if (file.size < this.#dataOffset) {
      throw new OverlayError('truncated', `cut off in its table: ${file.size} bytes of at least ${this.#dataOffset}`);
    }
    file.read(HEADER_SIZE, this.#table);
    this.#check();
  }

  /** Bytes of the disk that are in the overlay's file. */
  get storedBytes(): number {
    let blocks = 0;
    for (const byte of this.#table) {
      for (let bits = byte; bits !== 0; bits >>>= 2) if ((bits & 3) === BLOCK_STATE.DATA) blocks++;
    }
    return blocks * BLOCK_SIZE;
  }

  read(offset: number, target: Uint8Array): void {
    for (let at = 0; at < target.length; ) {
      const position = offset + at;
      const state = this.#state(Math.floor(position / BLOCK_SIZE));
      const length = this.#run(position, target.length - at, state);
      const piece = target.subarray(at, at + length);
      if (state === BLOCK_STATE.DATA) this.#file.read(this.#dataOffset + position, piece);
      else if (state === BLOCK_STATE.ZERO) piece.fill(0);
      else this.#readBase(position, piece);
      at += length;
    }
  }

  write(offset: number, source: Uint8Array): void {
    for (let at = 0; at < source.length; ) {
      const position = offset + at;
      const inside = position % BLOCK_SIZE;
      const left = source.length - at;
      const block = (position - inside) / BLOCK_SIZE;
      if (inside === 0 && left >= BLOCK_SIZE) {
        const length = left - (left % BLOCK_SIZE);
        this.#file.write(this.#dataOffset + position, source.subarray(at, at + length));
        for (let i = 0; i < length / BLOCK_SIZE; i++) this.#setState(block + i, BLOCK_STATE.DATA);
        at += length;
      } else {
        const length = Math.min(BLOCK_SIZE - inside, left);
        this.#writePart(block, inside, source.subarray(at, at + length));
        at += length;
      }
    }
  }

  /** Data first, then the table that points to it. */
  flush(): void {
    this.#file.flush();
    if (this.#dirty.size === 0) return;
    for (const at of this.#dirty) {
      this.#file.write(HEADER_SIZE + at * BLOCK_SIZE, this.#table.subarray(at * BLOCK_SIZE, (at + 1) * BLOCK_SIZE));
    }
    this.#file.flush();
    this.#dirty.clear();
  }

  /** Whole blocks in the range become zeros and their storage is given back. */
  discard(offset: number, length: number): void {
    const first = Math.ceil(offset / BLOCK_SIZE);
    const end = Math.floor((offset + length) / BLOCK_SIZE);
    if (end > first) this.#zeroBlocks(first, end);
  }

  writeZeroes(offset: number, length: number, _mayUnmap: boolean): void {
    const first = Math.ceil(offset / BLOCK_SIZE);
    const end = Math.floor((offset + length) / BLOCK_SIZE);
    if (end < first) {
      this.write(offset, new Uint8Array(length));
      return;
    }
    const head = first * BLOCK_SIZE - offset;
    const tail = offset + length - end * BLOCK_SIZE;
    if (head > 0) this.write(offset, new Uint8Array(head));
    if (end > first) this.#zeroBlocks(first, end);
    if (tail > 0) this.write(end * BLOCK_SIZE, new Uint8Array(tail));
  }

  #zeroBlocks(first: number, end: number): void {
    for (let block = first; block < end; block++) this.#setState(block, BLOCK_STATE.ZERO);
    // Before the table is durable a crash may bring zeros or the old contents back: neither was promised yet.
    const from = this.#dataOffset + first * BLOCK_SIZE;
    const to = Math.min(this.#dataOffset + end * BLOCK_SIZE, this.#file.size);
    if (to > from) this.#file.punch?.(from, to - from);
  }

  /** Writes inside of one block, filling the rest of it first if it is not in the file yet. */
  #writePart(block: number, inside: number, bytes: Uint8Array): void {
    const at = this.#dataOffset + block * BLOCK_SIZE;
    if (this.#state(block) === BLOCK_STATE.DATA) {
      this.#file.write(at + inside, bytes);
      return;
    }
    if (this.#state(block) === BLOCK_STATE.ZERO) this.#block.fill(0);
    else this.#readBase(block * BLOCK_SIZE, this.#block);
    this.#block.set(bytes, inside);
    this.#file.write(at, this.#block);
    this.#setState(block, BLOCK_STATE.DATA);
  }

  #readBase(offset: number, target: Uint8Array): void {
    const there = Math.max(0, Math.min(target.length, (this.#base?.size ?? 0) - offset));
    if (there > 0) this.#base?.read(offset, target.subarray(0, there));
    target.fill(0, there);
  }

  /** How many of `length` bytes from `position` on are in blocks of `state`. */
  #run(position: number, length: number, state: BlockState): number {
    let end = (Math.floor(position / BLOCK_SIZE) + 1) * BLOCK_SIZE;
    while (end < position + length && this.#state(end / BLOCK_SIZE) === state) end += BLOCK_SIZE;
    return Math.min(length, end - position);
  }

  #state(block: number): BlockState {
    return ((this.#table[block >>> 2]! >>> (2 * (block & 3))) & 3) as BlockState;
  }

  #setState(block: number, state: BlockState): void {
    const index = block >>> 2;
    const shift = 2 * (block & 3);
    const byte = (this.#table[index]! & ~(3 << shift)) | (state << shift);
    if (byte === this.#table[index]) return;
    this.#table[index] = byte;
    this.#dirty.add(Math.floor(index / BLOCK_SIZE));
  }

  /** No entry has the fourth state, and the file is as long as its last stored block needs. */
  #check(): void {
    let last = -1;
    for (const [index, byte] of this.#table.entries()) {
      if (byte === 0) continue;
      if ((byte & (byte >>> 1) & 0x55) !== 0) {
        throw new OverlayError(
          'damaged',
          `the table is damaged at byte ${index}; restore the file from a backup or start a new one`,
        );
      }
      for (let i = 0; i < 4; i++) if (((byte >>> (2 * i)) & 3) === BLOCK_STATE.DATA) last = 4 * index + i;
    }
    const needed = this.#dataOffset + (last + 1) * BLOCK_SIZE;
    if (last >= 0 && this.#file.size < needed) {
      throw new OverlayError(
        'truncated',
        `cut off: ${this.#file.size} bytes of at least ${needed}; restore the file from a backup`,
      );
    }
  }
}
