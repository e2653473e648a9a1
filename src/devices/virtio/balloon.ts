import { PAGE_SIZE } from '../guest-ram.ts';
import { RegisterTable } from '../registers.ts';
import { configSpace, featureSet, VIRTIO_ID, type VirtioDevice, VirtioError, type VirtioTransport } from './device.ts';
import type { Chain, Virtqueue } from './queue.ts';

/** Feature bits (virtio 1.2, section 5.5.3). */
export const VIRTIO_BALLOON_F = {
  MUST_TELL_HOST: 0,
  STATS_VQ: 1,
  DEFLATE_ON_OOM: 2,
  FREE_PAGE_HINT: 3,
  PAGE_POISON: 4,
  REPORTING: 5,
} as const;

/**
 * Statistics by tag (section 5.5.6.3; tags from 10 on as Linux has them since 6.12). Memory is in bytes, the others
 * count events.
 */
export const BALLOON_STATISTICS = [
  'swapIn',
  'swapOut',
  'majorFaults',
  'minorFaults',
  'freeMemory',
  'totalMemory',
  'availableMemory',
  'diskCaches',
  'hugetlbAllocations',
  'hugetlbFailures',
  'oomKills',
  'allocationStalls',
  'asyncScan',
  'directScan',
  'asyncReclaim',
  'directReclaim',
] as const;

export type BalloonStatistic = (typeof BALLOON_STATISTICS)[number];
export type BalloonStatistics = Readonly<Partial<Record<BalloonStatistic, number>>>;

/**
 * What the memory manager gives the balloon. A gfn here counts from the start of RAM, as in the nested page table.
 * The device has checked each one: it is RAM, and it is not in the balloon yet (inflate) or it is (deflate).
 */
export interface BalloonBackend {
  /** Pages that the host wants in the balloon. */
  readonly targetPages: number;
  /** The guest gave these pages up: their contents are not needed, their frames may be freed. */
  inflate(gfns: Uint32Array): void;
  /** The guest takes these pages back; they hold zeros or anything the guest wrote meanwhile. */
  deflate(gfns: Uint32Array): void;
  /** The guest reports that it does not use these pages now; it may touch them any time without a word. */
  report?(gfn: number, count: number): void;
  /** What the guest says about itself. A guest may lie. */
  statistics?(statistics: BalloonStatistics): void;
  /** The driver is gone, and with it the balloon: no page is in it any more. */
  reset?(): void;
}

/** Most page numbers taken from one buffer. Linux sends 256. */
const MAX_PFNS = 16 * 1024;
/** Bytes of one statistic: u16 tag, u64 value, packed. */
const STATISTIC_SIZE = 10;
/** Most statistics read from one buffer. */
const MAX_STATISTICS = 64;

type Role = 'inflateq' | 'deflateq' | 'statsq' | 'free_page_vq' | 'reporting_vq';
const SPECIFIED_ROLES: readonly Role[] = ['inflateq', 'deflateq', 'statsq', 'free_page_vq', 'reporting_vq'];

/** Memory balloon device (virtio 1.2, section 5.5). */
export class VirtioBalloon implements VirtioDevice {
  /** Configuration space (section 5.5.4). */
  static readonly #fields = new RegisterTable<VirtioBalloon>([
    {
      offset: 0,
      name: 'num_pages',
      width: 4,
      access: 'r',
      read: (d) => Math.max(0, Math.min(0xffff_ffff, Math.floor(d.#backend.targetPages))),
    },
    {
      offset: 4,
      name: 'actual',
      width: 4,
      access: 'rw',
      read: (d) => d.#actual,
      write: (d, value) => {
        d.#actual = value;
      },
    },
    { offset: 8, name: 'free_page_hint_cmd_id', width: 4, access: 'r' },
    {
      offset: 12,
      name: 'poison_val',
      width: 4,
      access: 'rw',
      read: (d) => d.#poison,
      write: (d, value) => {
        d.#poison = value;
      },
    },
  ]);

  readonly name = 'virtio-balloon';
  readonly deviceId = VIRTIO_ID.BALLOON;
  readonly features: bigint;
  // Which queue an index is depends on the features that are negotiated, and Linux wants 32 entries for reporting.
  readonly queueSizes = [128, 128, 128, 128, 128];
  readonly config = configSpace(VirtioBalloon.#fields, this);
  #backend: BalloonBackend;
  #transport: VirtioTransport | undefined;
  #roles: readonly Role[] = [];
  /** One bit per page of RAM that is in the balloon. */
  #inside = new Uint32Array(0);
  #pages = 0;
  #actual = 0;
  /** Value that the guest fills free pages with, if PAGE_POISON was negotiated. */
  #poison = 0;
  /** The driver's statistics buffer, held until the host asks for new ones. */
  #statisticsChain: Chain | undefined;

  constructor(backend: BalloonBackend) {
    this.#backend = backend;
    this.features = featureSet(
      VIRTIO_BALLOON_F.STATS_VQ,
      VIRTIO_BALLOON_F.DEFLATE_ON_OOM,
      VIRTIO_BALLOON_F.PAGE_POISON,
      ...(backend.report !== undefined ? [VIRTIO_BALLOON_F.REPORTING] : []),
    );
  }

  /** Pages in the balloon, by what was inflated and deflated. */
  get pages(): number {
    return this.#pages;
  }

  /** Pages in the balloon as the driver says. */
  get actual(): number {
    return this.#actual;
  }

  /** Whether a driver is attached, so that a target can be reached. */
  get attached(): boolean {
    return this.#transport !== undefined;
  }

  /** Whether the page `gfn`, counted from the start of RAM, is in the balloon. */
  contains(gfn: number): boolean {
    return ((this.#inside[gfn >>> 5] ?? 0) & (1 << (gfn & 31))) !== 0;
  }

  attach(transport: VirtioTransport): void {
    this.#transport = transport;
    this.#inside = new Uint32Array(Math.ceil(transport.ram.size / PAGE_SIZE / 32));
    this.#pages = 0;
    this.#roles = this.#assignRoles(transport);
    // A driver may have filled its queues before DRIVER_OK; Linux has a statistics buffer in place by then.
    for (const queue of this.#roles.keys()) this.notify(queue);
  }

  /** The guest has its pages back: a driver that starts anew, or another kernel, does not know of any balloon. */
  reset(): void {
    if (this.#pages > 0) this.#backend.reset?.();
    this.#transport = undefined;
    this.#statisticsChain = undefined;
    this.#roles = [];
    this.#inside = new Uint32Array(0);
    this.#pages = 0;
    this.#actual = 0;
    this.#poison = 0;
  }

  notify(index: number): void {
    const transport = this.#transport;
    const queue = transport?.queue(index);
    if (transport === undefined || queue === undefined) return;
    switch (this.#roles[index]) {
      case 'inflateq':
        queue.drain((chain) => this.#pfns(transport, chain, true));
        break;
      case 'deflateq':
        queue.drain((chain) => this.#pfns(transport, chain, false));
        break;
      case 'statsq':
        this.#takeStatistics(queue);
        break;
      case 'reporting_vq':
        queue.drain((chain) => this.#report(transport, chain));
        break;
      default:
        break;
    }
  }

  /** Tells the driver that {@link BalloonBackend.targetPages} changed. */
  targetChanged(): void {
    this.#transport?.perform(() => this.#transport?.configChanged());
  }

  /** Asks the driver for statistics; they come to {@link BalloonBackend.statistics}. False if it can't be asked now. */
  requestStatistics(): boolean {
    const transport = this.#transport;
    const chain = this.#statisticsChain;
    const queue = transport?.queue(this.#roles.indexOf('statsq'));
    if (transport === undefined || chain === undefined || queue === undefined) return false;
    return transport.perform(() => {
      this.#statisticsChain = undefined;
      queue.push(chain, 0);
      queue.flush();
    });
  }

  /**
   * Which queue has which role. The specification numbers all five; Linux (and with it QEMU) numbers only those whose
   * feature was negotiated, without gaps. A queue that is set up beyond the second numbering shows a driver that
   * means the first.
   */
  #assignRoles(transport: VirtioTransport): readonly Role[] {
    const dense: Role[] = ['inflateq', 'deflateq'];
    if (transport.hasFeature(VIRTIO_BALLOON_F.STATS_VQ)) dense.push('statsq');
    if (transport.hasFeature(VIRTIO_BALLOON_F.REPORTING)) dense.push('reporting_vq');
    const beyond = SPECIFIED_ROLES.some((_, index) => index >= dense.length && transport.queue(index) !== undefined);
    return beyond ? SPECIFIED_ROLES : dense;
  }

  /** A buffer of little-endian u32 page numbers, counted from guest-physical 0. */
  #pfns(transport: VirtioTransport, chain: Chain, inflate: boolean): number {
    const length = chain.readableLength;
    if (length > 4 * MAX_PFNS) {
      throw new VirtioError(
        this.name,
        `a buffer of ${length} bytes of page numbers, at most ${4 * MAX_PFNS} are taken at once`,
      );
    }
    const bytes = new Uint8Array(length);
    chain.read(0, bytes);
    const view = new DataView(bytes.buffer);
    const count = Math.floor(length / 4);
    const accepted = new Uint32Array(count);
    let taken = 0;
    let outside = 0;
    const first = transport.ram.base / PAGE_SIZE;
    const pages = Math.floor(transport.ram.size / PAGE_SIZE);
    for (let i = 0; i < count; i++) {
      const gfn = view.getUint32(4 * i, true) - first;
      if (gfn < 0 || gfn >= pages) outside++;
      else if (this.contains(gfn) !== inflate) {
        this.#inside[gfn >>> 5]! ^= 1 << (gfn & 31);
        accepted[taken++] = gfn;
      }
    }
    this.#pages += inflate ? taken : -taken;
    if (taken > 0) {
      if (inflate) this.#backend.inflate(accepted.subarray(0, taken));
      else this.#backend.deflate(accepted.subarray(0, taken));
    }
    const repeated = count - taken - outside;
    if (outside > 0 || repeated > 0 || length % 4 !== 0) {
      const verb = inflate ? 'inflate' : 'deflate';
      const state = inflate ? 'are already in the balloon' : 'are not in the balloon';
      transport.log(
        new VirtioError(
          this.name,
          `${verb}: ignored ${outside} pages that the guest does not have, ${repeated} that ${state}, ${length % 4} odd bytes`,
        ),
      );
    }
    return 0;
  }

  /** A buffer whose writable pieces are free memory (section 5.5.6.7). */
  #report(transport: VirtioTransport, chain: Chain): number {
    // With a poison value the pages would have to keep it: leaving them as they are is allowed, and safe.
    if (transport.hasFeature(VIRTIO_BALLOON_F.PAGE_POISON) && this.#poison !== 0) return 0;
    for (const { gpa, length } of chain.writable) {
      const offset = gpa - transport.ram.base;
      const start = Math.ceil(offset / PAGE_SIZE);
      const end = Math.floor((offset + length) / PAGE_SIZE);
      if (end > start) this.#backend.report?.(start, end - start);
    }
    return 0;
  }

  /** Keeps the newest buffer for the next request and gives any other one back. */
  #takeStatistics(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      if (this.#statisticsChain !== undefined) queue.push(this.#statisticsChain, 0);
      this.#statisticsChain = chain;
      const statistics = readStatistics(chain);
      if (statistics !== undefined) this.#backend.statistics?.(statistics);
    }
    queue.flush();
  }
}

/** Unknown tags are passed over; undefined if the buffer has no known one. */
function readStatistics(chain: Chain): BalloonStatistics | undefined {
  const bytes = new Uint8Array(Math.min(chain.readableLength, STATISTIC_SIZE * MAX_STATISTICS));
  chain.read(0, bytes);
  const view = new DataView(bytes.buffer);
  const statistics: Partial<Record<BalloonStatistic, number>> = {};
  let known = 0;
  for (let at = 0; at + STATISTIC_SIZE <= bytes.length; at += STATISTIC_SIZE) {
    const name = BALLOON_STATISTICS[view.getUint16(at, true)];
    if (name === undefined) continue;
    statistics[name] = Number(view.getBigUint64(at + 2, true));
    known++;
  }
  return known > 0 ? statistics : undefined;
}
