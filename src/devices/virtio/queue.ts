import type { GuestRam } from '../guest-ram.ts';
import { VirtioError } from './device.ts';

/** Descriptor flags (virtio 1.2, section 2.7.5). */
const VIRTQ_DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;
const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
const DESCRIPTOR_SIZE = 16;
/**
 * Longest chain taken, direct or indirect. Linux builds far shorter ones; the bound keeps a loop from holding the
 * hart.
 */
const MAX_CHAIN = 1024;

/** A piece of guest memory of a chain, wholly inside of RAM. */
export interface Segment {
  readonly gpa: number;
  readonly length: number;
}

/** One buffer from the driver: what the device may read, then what it may write. */
export class Chain {
  /** Index of the first descriptor: the buffer's identity in the used ring. */
  readonly head: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  /** Bytes in `readable`. */
  readonly readableLength: number;
  /** Bytes in `writable`. */
  readonly writableLength: number;
  #ram: GuestRam;

  constructor(ram: GuestRam, head: number, readable: readonly Segment[], writable: readonly Segment[]) {
    this.#ram = ram;
    this.head = head;
    this.readable = readable;
    this.writable = writable;
    this.readableLength = totalLength(readable);
    this.writableLength = totalLength(writable);
  }

  /** Copies from the readable part, from byte `offset` on; returns how many bytes there were. */
  read(offset: number, target: Uint8Array): number {
    return eachPiece(this.readable, offset, target.length, (gpa, at, length) =>
      this.#ram.read(gpa, target.subarray(at, at + length)),
    );
  }

  /** Copies to the writable part, from byte `offset` on; returns how many bytes fitted. */
  write(offset: number, source: Uint8Array): number {
    return eachPiece(this.writable, offset, source.length, (gpa, at, length) =>
      this.#ram.write(gpa, source.subarray(at, at + length)),
    );
  }
}

/** Places in guest memory of a part of some segments, as far as they go. */
export function placesOf(segments: readonly Segment[], offset: number, length: number): Segment[] {
  const places: Segment[] = [];
  eachPiece(segments, offset, length, (gpa, _, piece) => void places.push({ gpa, length: piece }));
  return places;
}

function totalLength(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.length, 0);
}

function eachPiece(
  segments: readonly Segment[],
  offset: number,
  length: number,
  copy: (gpa: number, at: number, length: number) => void,
): number {
  let skip = offset;
  let done = 0;
  for (const segment of segments) {
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    if (done === length) break;
    const piece = Math.min(segment.length - skip, length - done);
    copy(segment.gpa + skip, done, piece);
    done += piece;
    skip = 0;
  }
  return done;
}

/** Where the driver put a queue, and what was negotiated for it. */
export interface QueueSetup {
  /** For messages: the device and the queue's index. */
  readonly name: string;
  readonly size: number;
  readonly descriptors: number;
  readonly driver: number;
  readonly device: number;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
}

/**
 * A split virtqueue (section 2.7), the device's side. Nothing that the driver wrote is believed: ring areas are
 * checked when the queue is made, each descriptor when its chain is taken, and what does not hold is a {@link
 * VirtioError}.
 *
 *     descriptors: 16 bytes each: u64 address, u32 length, u16 flags, u16 next
 *     driver area: u16 flags, u16 idx, u16 ring[size], u16 used_event
 *     device area: u16 flags, u16 idx, { u32 id, u32 length } ring[size], u16 avail_event
 */
export class Virtqueue {
  readonly size: number;
  #ram: GuestRam;
  #setup: QueueSetup;
  #interrupt: () => void;
  /** Next entry of the driver area to take; counts modulo 2^16. */
  #nextAvail = 0;
  /** Next entry of the device area to fill; counts modulo 2^16. */
  #nextUsed = 0;
  /** `#nextUsed` at the last {@link flush}. */
  #flushed = 0;
  #entry = new Uint8Array(DESCRIPTOR_SIZE);
  #view = new DataView(this.#entry.buffer);

  /**
   * `interrupt` raises the used-buffer interrupt. Throws {@link VirtioError} if an area is misaligned or not in RAM.
   */
  constructor(ram: GuestRam, setup: QueueSetup, interrupt: () => void) {
    const { name, size, descriptors, driver, device } = setup;
    if (!Number.isInteger(size) || size < 1 || size > 32768 || (size & (size - 1)) !== 0) {
      throw new VirtioError(name, `queue size ${size} is not a power of two up to 32768`);
    }
    for (const [area, gpa, length, alignment] of [
      ['descriptor table', descriptors, DESCRIPTOR_SIZE * size, 16],
      ['driver area', driver, 6 + 2 * size, 2],
      ['device area', device, 6 + 8 * size, 4],
    ] as const) {
      if (gpa % alignment !== 0)
        throw new VirtioError(name, `${area} at 0x${gpa.toString(16)} is not ${alignment}-byte aligned`);
      if (!ram.contains(gpa, length)) {
        throw new VirtioError(name, `${area} at 0x${gpa.toString(16)}, ${length} bytes, is not in the guest's memory`);
      }
    }
    this.#ram = ram;
    this.#setup = setup;
    this.#interrupt = interrupt;
    this.size = size;
  }

  /** Takes the next buffer that the driver made available, undefined if there is none. */
  pop(): Chain | undefined {
    const { driver, name } = this.#setup;
    const waiting = (this.#ram.readU16(driver + 2) - this.#nextAvail) & 0xffff;
    if (waiting === 0) {
      if (!this.#armKick()) return undefined;
    } else if (waiting > this.size) {
      throw new VirtioError(name, `the driver made ${waiting} buffers available in a queue of ${this.size}`);
    }
    const head = this.#ram.readU16(driver + 4 + 2 * (this.#nextAvail & (this.size - 1)));
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    return this.#walk(head);
  }

  /**
   * Gives a buffer back, with the number of bytes written into it. The driver hears of it at the next {@link flush}.
   */
  push(chain: Chain, written: number): void {
    const { device } = this.#setup;
    this.#view.setUint32(0, chain.head, true);
    this.#view.setUint32(4, written, true);
    this.#ram.write(device + 4 + 8 * (this.#nextUsed & (this.size - 1)), this.#entry.subarray(0, 8));
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    // The entry has to be there before the index says so.
    this.#ram.writeU16(device + 2, this.#nextUsed);
  }

  /** Interrupts the driver if buffers were pushed since the last time and it wants to know (section 2.7.7). */
  flush(): void {
    const before = this.#flushed;
    if (before === this.#nextUsed) return;
    this.#flushed = this.#nextUsed;
    const { driver, eventIndex } = this.#setup;
    if (eventIndex) {
      const event = this.#ram.readU16(driver + 4 + 2 * this.size);
      // Wanted if `event` is one of the entries from `before` up to, not including, the next one.
      if (((this.#nextUsed - event - 1) & 0xffff) >= ((this.#nextUsed - before) & 0xffff)) return;
    } else if ((this.#ram.readU16(driver) & VIRTQ_AVAIL_F_NO_INTERRUPT) !== 0) return;
    this.#interrupt();
  }

  /** Pops, handles and pushes until the queue is empty; `handle` returns the number of bytes it wrote. */
  drain(handle: (chain: Chain) => number): void {
    try {
      for (let chain = this.pop(); chain !== undefined; chain = this.pop()) this.push(chain, handle(chain));
    } finally {
      this.flush();
    }
  }

  /** Asks for a kick with the next buffer; true if one slipped in meanwhile. */
  #armKick(): boolean {
    const { driver, device, eventIndex } = this.#setup;
    if (!eventIndex) return false;
    this.#ram.writeU16(device + 4 + 8 * this.size, this.#nextAvail);
    return this.#ram.readU16(driver + 2) !== this.#nextAvail;
  }

  #walk(head: number): Chain {
    const { name, descriptors, indirect } = this.#setup;
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let table = descriptors;
    let entries = this.size;
    let nested = false;
    let index = head;
    let steps = 0;
    for (;;) {
      if (index >= entries) throw new VirtioError(name, `descriptor ${index} of a table of ${entries}`);
      if (++steps > Math.min(entries, MAX_CHAIN)) {
        throw new VirtioError(
          name,
          `the descriptor chain from ${head} loops or has more than ${MAX_CHAIN} descriptors`,
        );
      }
      this.#ram.read(table + DESCRIPTOR_SIZE * index, this.#entry);
      const gpa = this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32;
      const length = this.#view.getUint32(8, true);
      const flags = this.#view.getUint16(12, true);
      const next = this.#view.getUint16(14, true);
      if (!this.#ram.contains(gpa, length) && length !== 0) {
        throw new VirtioError(
          name,
          `descriptor ${index} at 0x${gpa.toString(16)}, ${length} bytes, is not in the guest's memory`,
        );
      }
      if ((flags & VIRTQ_DESC_F.INDIRECT) !== 0) {
        if (!indirect) throw new VirtioError(name, 'an indirect descriptor, but RING_INDIRECT_DESC was not negotiated');
        if (nested) throw new VirtioError(name, 'an indirect descriptor in an indirect table');
        if ((flags & VIRTQ_DESC_F.NEXT) !== 0) throw new VirtioError(name, 'an indirect descriptor with a next one');
        if (length === 0 || length % DESCRIPTOR_SIZE !== 0) {
          throw new VirtioError(
            name,
            `an indirect table of ${length} bytes, which is no multiple of ${DESCRIPTOR_SIZE}`,
          );
        }
        nested = true;
        table = gpa;
        entries = length / DESCRIPTOR_SIZE;
        index = 0;
        steps = 0;
        continue;
      }
      if ((flags & VIRTQ_DESC_F.WRITE) !== 0) {
        if (length !== 0) writable.push({ gpa, length });
      } else {
        if (writable.length > 0)
          throw new VirtioError(name, 'a device-readable descriptor after a device-writable one');
        if (length !== 0) readable.push({ gpa, length });
      }
      if ((flags & VIRTQ_DESC_F.NEXT) === 0) return new Chain(this.#ram, head, readable, writable);
      index = next;
    }
  }
}
