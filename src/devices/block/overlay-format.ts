import type { RandomAccessFile } from './backend.ts';

/**
 * The file of a copy-on-write disk. All numbers are little endian.
 *
 *     0            header, one block (below)
 *     4096         table: 2 bits for each block of the disk, block 0 in bits 0 and 1 of byte 0; padded to whole blocks
 *     dataOffset   block n of the disk, if the file has it, at dataOffset + n * 4096; the rest are holes
 *
 *     header: +0  magic "BLNOVL\r\n"         +8  u32 version, 1       +12 u32 block size, 4096
 *             +16 u64 size of the disk       +24 u64 size of the base  +32 u64 fingerprint of the base
 *             +40 u64 dataOffset             +48 u32 checksum of bytes 0 to 47
 *
 * What a crash leaves: data is durable before the table says so, and the header is written last of all when a file is
 * made. So the table never points to a block that was not written, and a file that was being made begins with zeros
 * and can be made anew.
 */
export const BLOCK_SIZE = 4096;
export const HEADER_SIZE = BLOCK_SIZE;
const VERSION = 1;
const MAGIC = Uint8Array.of(0x42, 0x4c, 0x4e, 0x4f, 0x56, 0x4c, 0x0d, 0x0a);
const CHECKED = 48;

/** Two bits of the table: where the contents of a block are. */
export const BLOCK_STATE = {
  /** In the base; zeros beyond its end. */
  BASE: 0,
  /** In this file. */
  DATA: 1,
  /** Nowhere: zeros. */
  ZERO: 2,
} as const;

export type BlockState = 0 | 1 | 2;

export type OverlayProblem =
  | 'not an overlay'
  | 'unknown version'
  | 'damaged'
  | 'wrong base'
  | 'truncated'
  | 'wrong size';

/** A file that can't be used as an overlay of this base. */
export class OverlayError extends Error {
  override readonly name = 'OverlayError';
  readonly problem: OverlayProblem;

  constructor(problem: OverlayProblem, why: string) {
    super(`disk overlay: ${why}`);
    this.problem = problem;
  }
}

export interface OverlayHeader {
  readonly sizeBytes: number;
  readonly baseSize: number;
  readonly baseFingerprint: bigint;
}

/** Bytes of the table for a disk of `sizeBytes`, in whole blocks. */
export function tableLength(sizeBytes: number): number {
  const blocks = Math.ceil(sizeBytes / BLOCK_SIZE);
  return Math.ceil(blocks / 4 / BLOCK_SIZE) * BLOCK_SIZE;
}

/** Where block 0 of the disk is. */
export function dataOffset(sizeBytes: number): number {
  return HEADER_SIZE + tableLength(sizeBytes);
}

export function encodeHeader(header: OverlayHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, BLOCK_SIZE, true);
  view.setBigUint64(16, BigInt(header.sizeBytes), true);
  view.setBigUint64(24, BigInt(header.baseSize), true);
  view.setBigUint64(32, header.baseFingerprint, true);
  view.setBigUint64(40, BigInt(dataOffset(header.sizeBytes)), true);
  view.setUint32(CHECKED, checksum(bytes.subarray(0, CHECKED)), true);
  return bytes;
}

/** Reads a header; undefined if it is all zeros, as in a file that was being made. */
export function decodeHeader(bytes: Uint8Array): OverlayHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.every((byte) => byte === 0)) return undefined;
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) {
    throw new OverlayError(
      'not an overlay',
      'the file is something else; pass a file that Ballonet made, or a new name',
    );
  }
  const version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new OverlayError(
      'unknown version',
      `the file has version ${version}, this Ballonet knows version ${VERSION}`,
    );
  }
  const sizeBytes = Number(view.getBigUint64(16, true));
  if (
    view.getUint32(CHECKED, true) !== checksum(bytes.subarray(0, CHECKED)) ||
    view.getUint32(12, true) !== BLOCK_SIZE ||
    Number(view.getBigUint64(40, true)) !== dataOffset(sizeBytes)
  ) {
    throw new OverlayError('damaged', 'the header is damaged; restore the file from a backup or start a new one');
  }
  return {
    sizeBytes,
    baseSize: Number(view.getBigUint64(24, true)),
    baseFingerprint: view.getBigUint64(32, true),
  };
}

/** Blocks of a base that its fingerprint covers, spread evenly, the first and the last one among them. */
const SAMPLES = 64;

/**
 * 64 bits of a sample of the base's contents. It tells another image from the one that the overlay was made on; it is
 * no proof that nobody changed the base.
 */
export function fingerprint(base: RandomAccessFile): bigint {
  const blocks = Math.ceil(base.size / BLOCK_SIZE);
  const samples = Math.min(SAMPLES, blocks);
  let low = 0x811c_9dc5;
  let high = 0x3c6e_f372;
  const buffer = new Uint8Array(BLOCK_SIZE);
  for (let i = 0; i < samples; i++) {
    const block = samples === 1 ? 0 : Math.floor((i * (blocks - 1)) / (samples - 1));
    const bytes = buffer.subarray(0, Math.min(BLOCK_SIZE, base.size - block * BLOCK_SIZE));
    base.read(block * BLOCK_SIZE, bytes);
    low = mix(low, bytes, 0x0100_0193);
    high = mix(high, bytes, 0x85eb_ca6b);
  }
  return (BigInt(high) << 32n) | BigInt(low);
}

/** One pass of multiply and xor over `bytes`, with `factor` odd; unsigned 32-bit. */
function mix(start: number, bytes: Uint8Array, factor: number): number {
  let hash = start;
  for (const byte of bytes) {
    hash = Math.imul(hash ^ byte, factor);
    hash ^= hash >>> 15;
  }
  return hash >>> 0;
}

function checksum(bytes: Uint8Array): number {
  return mix(0x811c_9dc5, bytes, 0x0100_0193);
}
