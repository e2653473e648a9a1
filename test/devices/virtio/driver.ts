import assert from 'node:assert/strict';
import { STATUS, VIRTIO_F, type VirtioDevice } from '../../../src/devices/virtio/device.ts';
import { VirtioMmio } from '../../../src/devices/virtio/mmio.ts';
import { ArrayRam } from '../array-ram.ts';
import { RecordedLine } from '../lines.ts';

/** Register offsets as a driver knows them (virtio 1.2, table 4.1). */
export const REG = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueNumMax: 0x034,
  QueueNum: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** What the driver gives the device in one buffer: bytes to read, or a number of bytes to write. */
export type Piece = Uint8Array | number;

/** The driver's side of a slot. Memory is handed out once and never taken back. */
export class TestDriver {
  readonly ram: ArrayRam;
  readonly irq = new RecordedLine();
  readonly errors: Error[] = [];
  readonly mmio: VirtioMmio;
  #free: number;

  constructor(device: VirtioDevice | undefined, ramSize = 1024 * 1024) {
    this.ram = new ArrayRam(ramSize);
    this.#free = this.ram.base;
    this.mmio = new VirtioMmio({ device, ram: this.ram, irq: this.irq, log: (error) => this.errors.push(error) });
  }

  get(register: keyof typeof REG): number {
    return this.mmio.read(REG[register], 4);
  }

  set(register: keyof typeof REG, value: number): void {
    this.mmio.write(REG[register], 4, value);
  }

  allocate(length: number, alignment = 16): number {
    const gpa = Math.ceil(this.#free / alignment) * alignment;
    this.#free = gpa + length;
    assert.ok(this.ram.contains(gpa, length), 'the test needs more RAM');
    return gpa;
  }

  /** Bytes that {@link allocate} still has. */
  get room(): number {
    return this.ram.base + this.ram.size - this.#free;
  }

  get offered(): bigint {
    this.set('DeviceFeaturesSel', 1);
    const high = BigInt(this.get('DeviceFeatures'));
    this.set('DeviceFeaturesSel', 0);
    return (high << 32n) | BigInt(this.get('DeviceFeatures'));
  }

  /** Reset to FEATURES_OK with VERSION_1 and the given features. */
  negotiate(...features: number[]): void {
    this.set('Status', 0);
    this.set('Status', STATUS.ACKNOWLEDGE);
    this.set('Status', STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    const bits = [VIRTIO_F.VERSION_1, ...features].reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
    for (const half of [0, 1]) {
      this.set('DriverFeaturesSel', half);
      this.set('DriverFeatures', Number((bits >> BigInt(32 * half)) & 0xffff_ffffn));
    }
    this.set('Status', STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
    assert.ok((this.get('Status') & STATUS.FEATURES_OK) !== 0, 'features are accepted');
  }

  addQueue(
    index: number,
    size = 8,
    options: { readonly indirect?: boolean; readonly eventIndex?: boolean } = {},
  ): TestQueue {
    const queue = new TestQueue(this, index, size, options);
    this.set('QueueSel', index);
    this.set('QueueNum', size);
    for (const [register, gpa] of [
      ['QueueDescLow', queue.descriptors],
      ['QueueDriverLow', queue.available],
      ['QueueDeviceLow', queue.used],
    ] as const) {
      this.set(register, gpa);
    }
    this.set('QueueDescHigh', 0);
    this.set('QueueReady', 1);
    return queue;
  }

  start(): void {
    this.set('Status', STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK);
  }

  get needsReset(): boolean {
    return (this.get('Status') & STATUS.DEVICE_NEEDS_RESET) !== 0;
  }
}

/** The driver's side of a split queue. */
export class TestQueue {
  readonly driver: TestDriver;
  readonly index: number;
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  #indirect: boolean;
  #eventIndex: boolean;
  #nextDescriptor = 0;
  #nextAvailable = 0;
  #seenUsed = 0;
  /** Addresses of the pieces of a buffer by its head. */
  #buffers = new Map<number, { gpa: number; length: number; writable: boolean }[]>();

  constructor(driver: TestDriver, index: number, size: number, options: { indirect?: boolean; eventIndex?: boolean }) {
    this.driver = driver;
    this.index = index;
    this.size = size;
    this.#indirect = options.indirect ?? false;
    this.#eventIndex = options.eventIndex ?? false;
    this.descriptors = driver.allocate(16 * size);
    this.available = driver.allocate(6 + 2 * size);
    this.used = driver.allocate(6 + 8 * size);
  }

  writeDescriptor(
    index: number,
    gpa: number | bigint,
    length: number,
    flags: number,
    next: number,
    table = this.descriptors,
  ): void {
    const { ram } = this.driver;
    ram.writeU64(table + 16 * index, BigInt(gpa));
    ram.writeU32(table + 16 * index + 8, length);
    ram.writeU16(table + 16 * index + 12, flags);
    ram.writeU16(table + 16 * index + 14, next);
  }

  /** Puts a buffer into the queue without making a kick; returns its head. */
  add(...pieces: Piece[]): number {
    const { driver } = this;
    const placed = pieces.map((piece) => {
      const length = typeof piece === 'number' ? piece : piece.length;
      const gpa = driver.allocate(length);
      if (typeof piece !== 'number') driver.ram.write(gpa, piece);
      return { gpa, length, writable: typeof piece === 'number' };
    });
    const flags = (i: number) => (placed[i]!.writable ? WRITE : 0) | (i + 1 < placed.length ? NEXT : 0);
    const head = this.#nextDescriptor;
    if (this.#indirect) {
      const table = driver.allocate(16 * placed.length);
      for (const [i, { gpa, length }] of placed.entries()) this.writeDescriptor(i, gpa, length, flags(i), i + 1, table);
      this.writeDescriptor(head, table, 16 * placed.length, INDIRECT, 0);
      this.#nextDescriptor = (head + 1) % this.size;
    } else {
      for (const [i, { gpa, length }] of placed.entries()) {
        this.writeDescriptor((head + i) % this.size, gpa, length, flags(i), (head + i + 1) % this.size);
      }
      this.#nextDescriptor = (head + placed.length) % this.size;
    }
    this.#buffers.set(head, placed);
    this.makeAvailable(head);
    return head;
  }

  makeAvailable(head: number): void {
    this.driver.ram.writeU16(this.available + 4 + 2 * (this.#nextAvailable % this.size), head);
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    this.driver.ram.writeU16(this.available + 2, this.#nextAvailable);
  }

  setAvailableIndex(value: number): void {
    this.#nextAvailable = value;
    this.driver.ram.writeU16(this.available + 2, value);
  }

  kick(): void {
    this.driver.set('QueueNotify', this.index);
  }

  /** Asks for the next interrupt, where event indices are in use. */
  armInterrupt(after = 0): void {
    assert.ok(this.#eventIndex);
    this.driver.ram.writeU16(this.available + 4 + 2 * this.size, (this.#seenUsed + after) & 0xffff);
  }

  suppressInterrupts(on: boolean): void {
    this.driver.ram.writeU16(this.available, on ? 1 : 0);
  }

  get availableEvent(): number {
    return this.driver.ram.readU16(this.used + 4 + 8 * this.size);
  }

  /** The buffers that came back since the last time: head, length written, contents of the writable pieces. */
  take(): { head: number; length: number; bytes: Uint8Array }[] {
    const { ram } = this.driver;
    const result = [];
    while (this.#seenUsed !== ram.readU16(this.used + 2)) {
      const at = this.used + 4 + 8 * (this.#seenUsed % this.size);
      this.#seenUsed = (this.#seenUsed + 1) & 0xffff;
      const head = ram.readU32(at);
      const parts = (this.#buffers.get(head) ?? []).filter(({ writable }) => writable);
      const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let offset = 0;
      for (const { gpa, length } of parts) {
        ram.read(gpa, bytes.subarray(offset, offset + length));
        offset += length;
      }
      result.push({ head, length: ram.readU32(at + 4), bytes });
    }
    return result;
  }

  /** One buffer there and back. */
  exchange(...pieces: Piece[]): { length: number; bytes: Uint8Array } {
    const head = this.add(...pieces);
    this.kick();
    const [back] = this.take();
    assert.equal(back?.head, head, 'the buffer came back');
    return back;
  }
}

/** A little-endian record: [width in bytes, value] for each field. */
export function record(...fields: (readonly [1 | 2 | 4 | 8, number | bigint])[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 8) view.setBigUint64(at, BigInt(value), true);
    else if (width === 4) view.setUint32(at, Number(value), true);
    else if (width === 2) view.setUint16(at, Number(value), true);
    else view.setUint8(at, Number(value));
    at += width;
  }
  return bytes;
}
