import type { BlockBackend } from '../block/backend.ts';
import { RegisterTable } from '../registers.ts';
import { configSpace, featureSet, VIRTIO_ID, type VirtioDevice, VirtioError, type VirtioTransport } from './device.ts';
import { type Chain, placesOf, type Segment } from './queue.ts';

/** Feature bits (virtio 1.2, section 5.2.3). */
export const VIRTIO_BLK_F = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;

/** Request types and status values (section 5.2.6). */
const VIRTIO_BLK_T = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;
const VIRTIO_BLK_S = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
const WRITE_ZEROES_FLAG_UNMAP = 1;

const SECTOR = 512;
const QUEUE_SIZE = 128;
const HEADER_SIZE = 16;
const ID_SIZE = 20;
/** Bytes of one segment of DISCARD and WRITE_ZEROES: u64 sector, u32 number of sectors, u32 flags. */
const RANGE_SIZE = 16;
const MAX_RANGES = 16;
/** Longest DISCARD or WRITE_ZEROES range in sectors (1 GiB). */
const MAX_RANGE_SECTORS = 2 ** 21;
/** A descriptor each for header and status; the rest of the queue may be data. */
const SEG_MAX = QUEUE_SIZE - 2;
/** Most data of one request, so that a hostile one can't hold the hart. Linux asks for 1.25 MiB at most by default. */
const MAX_DATA = 8 * 1024 * 1024;
/** Bytes moved between backend and guest at once. */
const BOUNCE = 256 * 1024;

/** Is told of a disk's requests; `gpa` is guest-physical, `offset` in bytes of the disk. */
export interface BlockWatch {
  /** Before bytes of the disk change. */
  changing(offset: number, length: number): void;
  /** Guest memory holds what the disk has: `bytes`. */
  same(gpa: number, offset: number, bytes: Uint8Array): void;
}

export interface VirtioBlkOptions {
  readonly watch?: BlockWatch;
  readonly backend: BlockBackend;
  /** Identity that the guest can ask for, at most 20 ASCII characters. */
  readonly id?: string;
}

/** Block device (virtio 1.2, section 5.2). */
export class VirtioBlk implements VirtioDevice {
  /** Configuration space (section 5.2.4). */
  static readonly #fields = new RegisterTable<VirtioBlk>([
    { offset: 0, name: 'capacity', width: 4, access: 'r', read: (d) => d.capacity % 2 ** 32 },
    { offset: 4, name: 'capacity_high', width: 4, access: 'r', read: (d) => Math.floor(d.capacity / 2 ** 32) },
    { offset: 8, name: 'size_max', width: 4, access: 'r' },
    { offset: 12, name: 'seg_max', width: 4, access: 'r', read: () => SEG_MAX },
    { offset: 16, name: 'geometry', width: 4, access: 'r' },
    { offset: 20, name: 'blk_size', width: 4, access: 'r', read: () => SECTOR },
    { offset: 24, name: 'topology', width: 4, access: 'r' },
    { offset: 28, name: 'topology.opt_io_size', width: 4, access: 'r' },
    { offset: 32, name: 'writeback', width: 1, access: 'r' },
    { offset: 34, name: 'num_queues', width: 2, access: 'r', read: () => 1 },
    { offset: 36, name: 'max_discard_sectors', width: 4, access: 'r', read: () => MAX_RANGE_SECTORS },
    { offset: 40, name: 'max_discard_seg', width: 4, access: 'r', read: () => MAX_RANGES },
    { offset: 44, name: 'discard_sector_alignment', width: 4, access: 'r', read: () => 8 },
    { offset: 48, name: 'max_write_zeroes_sectors', width: 4, access: 'r', read: () => MAX_RANGE_SECTORS },
    { offset: 52, name: 'max_write_zeroes_seg', width: 4, access: 'r', read: () => MAX_RANGES },
    { offset: 56, name: 'write_zeroes_may_unmap', width: 1, access: 'r', read: () => 1 },
  ]);

  readonly name = 'virtio-blk';
  readonly deviceId = VIRTIO_ID.BLOCK;
  readonly features: bigint;
  readonly queueSizes = [QUEUE_SIZE];
  readonly config = configSpace(VirtioBlk.#fields, this);
  #backend: BlockBackend;
  #id: Uint8Array;
  #watch: BlockWatch | undefined;
  #bounce = new Uint8Array(BOUNCE);
  #transport: VirtioTransport | undefined;

  constructor(options: VirtioBlkOptions) {
    const { backend, id = 'ballonet' } = options;
    this.#backend = backend;
    this.#watch = options.watch;
    this.#id = new Uint8Array(ID_SIZE);
    for (let i = 0; i < Math.min(ID_SIZE, id.length); i++) this.#id[i] = id.charCodeAt(i);
    this.features = featureSet(
      VIRTIO_BLK_F.SEG_MAX,
      VIRTIO_BLK_F.BLK_SIZE,
      VIRTIO_BLK_F.FLUSH,
      ...(backend.readOnly === true ? [VIRTIO_BLK_F.RO] : []),
      ...(backend.discard !== undefined ? [VIRTIO_BLK_F.DISCARD] : []),
      ...(backend.writeZeroes !== undefined ? [VIRTIO_BLK_F.WRITE_ZEROES] : []),
    );
  }

  /** Size in sectors of 512 bytes. */
  get capacity(): number {
    return Math.floor(this.#backend.sizeBytes / SECTOR);
  }

  attach(transport: VirtioTransport): void {
    this.#transport = transport;
    this.notify(0);
  }

  reset(): void {
    this.#transport = undefined;
  }

  notify(queue: number): void {
    this.#transport?.queue(queue)?.drain((chain) => this.#request(chain));
  }

  /** Serves one request; returns the number of bytes written, the status byte included. */
  #request(chain: Chain): number {
    if (chain.writableLength < 1) throw new VirtioError(this.name, 'a request without a byte for its status');
    const header = new Uint8Array(HEADER_SIZE);
    if (chain.read(0, header) < HEADER_SIZE) {
      throw new VirtioError(
        this.name,
        `a request with a header of ${chain.readableLength} bytes, it has ${HEADER_SIZE}`,
      );
    }
    const view = new DataView(header.buffer);
    const dataLength = chain.writableLength - 1;
    let status: number;
    try {
      status = this.#serve(view.getUint32(0, true), Number(view.getBigUint64(8, true)), chain);
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      this.#transport?.log(error);
      status = VIRTIO_BLK_S.IOERR;
    }
    chain.write(dataLength, Uint8Array.of(status));
    return chain.writableLength;
  }

  #serve(type: number, sector: number, chain: Chain): number {
    const input = chain.writableLength - 1;
    const output = chain.readableLength - HEADER_SIZE;
    switch (type) {
      case VIRTIO_BLK_T.IN:
        if (!this.#inside(sector, input)) return VIRTIO_BLK_S.IOERR;
        this.#eachPiece(input, (at, bytes) => {
          this.#try('read', () => this.#backend.read(sector * SECTOR + at, bytes));
          chain.write(at, bytes);
          this.#same(chain.writable, at, sector * SECTOR + at, bytes);
        });
        return VIRTIO_BLK_S.OK;
      case VIRTIO_BLK_T.OUT:
        if (this.#backend.readOnly === true || !this.#inside(sector, output)) return VIRTIO_BLK_S.IOERR;
        this.#watch?.changing(sector * SECTOR, output);
        this.#eachPiece(output, (at, bytes) => {
          chain.read(HEADER_SIZE + at, bytes);
          this.#try('write', () => this.#backend.write(sector * SECTOR + at, bytes));
          this.#same(chain.readable, HEADER_SIZE + at, sector * SECTOR + at, bytes);
        });
        this.#writeThrough();
        return VIRTIO_BLK_S.OK;
      case VIRTIO_BLK_T.FLUSH:
        this.#try('flush', () => this.#backend.flush());
        return VIRTIO_BLK_S.OK;
      case VIRTIO_BLK_T.GET_ID:
        // The status byte is the last one, whatever the length of the buffer for the identity.
        chain.write(0, this.#id.subarray(0, Math.min(ID_SIZE, input)));
        return VIRTIO_BLK_S.OK;
      case VIRTIO_BLK_T.DISCARD:
      case VIRTIO_BLK_T.WRITE_ZEROES:
        return this.#ranges(type, chain, output);
      default:
        return VIRTIO_BLK_S.UNSUPP;
    }
  }

  #ranges(type: number, chain: Chain, length: number): number {
    const backend = this.#backend;
    const discard = type === VIRTIO_BLK_T.DISCARD;
    if ((discard ? backend.discard : backend.writeZeroes) === undefined) return VIRTIO_BLK_S.UNSUPP;
    if (backend.readOnly === true || length === 0 || length % RANGE_SIZE !== 0) return VIRTIO_BLK_S.IOERR;
    if (length > RANGE_SIZE * MAX_RANGES) return VIRTIO_BLK_S.IOERR;
    const bytes = new Uint8Array(length);
    chain.read(HEADER_SIZE, bytes);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < length; at += RANGE_SIZE) {
      const sector = Number(view.getBigUint64(at, true));
      const sectors = view.getUint32(at + 8, true);
      const flags = view.getUint32(at + 12, true);
      // Unknown flags, and unmap with DISCARD, are not supported (section 5.2.6.2).
      if ((flags & ~(discard ? 0 : WRITE_ZEROES_FLAG_UNMAP)) !== 0) return VIRTIO_BLK_S.UNSUPP;
      if (sectors > MAX_RANGE_SECTORS || sector + sectors > this.capacity) return VIRTIO_BLK_S.IOERR;
      this.#watch?.changing(sector * SECTOR, sectors * SECTOR);
      if (discard) this.#try('discard', () => backend.discard?.(sector * SECTOR, sectors * SECTOR));
      else {
        this.#try('write zeroes', () => backend.writeZeroes?.(sector * SECTOR, sectors * SECTOR, (flags & 1) !== 0));
      }
    }
    this.#writeThrough();
    return VIRTIO_BLK_S.OK;
  }

  /** A request's memory, from a byte of its segments on, now has what the disk has from `offset` on. */
  #same(segments: readonly Segment[], from: number, offset: number, bytes: Uint8Array): void {
    if (this.#watch === undefined) return;
    let at = 0;
    for (const { gpa, length } of placesOf(segments, from, bytes.length)) {
      this.#watch.same(gpa, offset + at, bytes.subarray(at, at + length));
      at += length;
    }
  }

  #inside(sector: number, length: number): boolean {
    return length % SECTOR === 0 && length <= MAX_DATA && sector + length / SECTOR <= this.capacity;
  }

  /** A driver that did not negotiate FLUSH can't ask for durability, so each write gets it (section 5.2.5.2). */
  #writeThrough(): void {
    if (this.#transport?.hasFeature(VIRTIO_BLK_F.FLUSH) === false) this.#try('flush', () => this.#backend.flush());
  }

  #eachPiece(length: number, move: (at: number, bytes: Uint8Array) => void): void {
    for (let at = 0; at < length; at += BOUNCE) move(at, this.#bounce.subarray(0, Math.min(BOUNCE, length - at)));
  }

  /** Errors of the backend, and only those, are the guest's I/O errors. */
  #try(what: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      throw new BackendError(what, error);
    }
  }
}

/** The host's side of a disk failed; the guest got an I/O error. */
export class BackendError extends Error {
  override readonly name = 'BackendError';

  constructor(what: string, cause: unknown) {
    super(`virtio-blk: ${what} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
