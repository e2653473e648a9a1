import type { DeviceLog, IrqLine, MmioDevice, Width } from '../bus.ts';
import type { GuestRam } from '../guest-ram.ts';
import { type Register, RegisterTable } from '../registers.ts';
import { featureSet, STATUS, VIRTIO_F, type VirtioDevice, VirtioError, type VirtioTransport } from './device.ts';
import { Virtqueue } from './queue.ts';

const MAGIC = 0x7472_6976; // "virt"
const VERSION = 2;
const VENDOR = 0x4e4c_4c42; // "BLLN"
const CONFIG_OFFSET = 0x100;
const TRANSPORT_FEATURES = featureSet(VIRTIO_F.VERSION_1, VIRTIO_F.RING_INDIRECT_DESC, VIRTIO_F.RING_EVENT_IDX);
/** Bits of InterruptStatus. */
const INTERRUPT = { USED_BUFFER: 1, CONFIG_CHANGE: 2 } as const;

/** What the driver has written of a queue. Addresses stay in halves until the queue is made ready. */
interface QueueRegisters {
  size: number;
  /** Descriptor table, driver area, device area: low and high word of each. */
  readonly words: Uint32Array;
  ready: boolean;
  queue: Virtqueue | undefined;
}

const QUEUE_AREAS = [
  { offset: 0x080, name: 'QueueDesc' },
  { offset: 0x090, name: 'QueueDriver' },
  { offset: 0x0a0, name: 'QueueDevice' },
] as const;

export interface VirtioMmioOptions {
  /** Undefined: an empty slot, which drivers pass over. */
  readonly device?: VirtioDevice | undefined;
  readonly ram: GuestRam;
  readonly irq: IrqLine;
  readonly log?: DeviceLog;
}

/**
 * The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): registers, feature negotiation, queues and
 * interrupts of one slot. Errors of the driver end in DEVICE_NEEDS_RESET and the log, never in an exception.
 */
export class VirtioMmio implements MmioDevice, VirtioTransport {
  readonly name: string;
  readonly ram: GuestRam;
  #device: VirtioDevice | undefined;
  #irq: IrqLine;
  #log: DeviceLog | undefined;
  #status = 0;
  #interruptStatus = 0;
  #deviceFeaturesSel = 0;
  #driverFeaturesSel = 0;
  #driverFeatures = 0n;
  #queueSel = 0;
  #queues: QueueRegisters[];
  #configGeneration = 0;
  #attached = false;

  static readonly #registers = new RegisterTable<VirtioMmio>([
    { offset: 0x000, name: 'MagicValue', width: 4, access: 'r', read: () => MAGIC },
    { offset: 0x004, name: 'Version', width: 4, access: 'r', read: () => VERSION },
    { offset: 0x008, name: 'DeviceID', width: 4, access: 'r', read: (d) => d.#device?.deviceId ?? 0 },
    { offset: 0x00c, name: 'VendorID', width: 4, access: 'r', read: () => VENDOR },
    {
      offset: 0x010,
      name: 'DeviceFeatures',
      width: 4,
      access: 'r',
      read: (d) =>
        d.#deviceFeaturesSel > 1 ? 0 : Number((d.#offered >> BigInt(32 * d.#deviceFeaturesSel)) & 0xffff_ffffn),
    },
    {
      offset: 0x014,
      name: 'DeviceFeaturesSel',
      width: 4,
      access: 'w',
      write: (d, value) => {
        d.#deviceFeaturesSel = value;
      },
    },
    { offset: 0x020, name: 'DriverFeatures', width: 4, access: 'w', write: (d, value) => d.#acceptFeatures(value) },
    {
      offset: 0x024,
      name: 'DriverFeaturesSel',
      width: 4,
      access: 'w',
      write: (d, value) => {
        d.#driverFeaturesSel = value;
      },
    },
    {
      offset: 0x030,
      name: 'QueueSel',
      width: 4,
      access: 'w',
      write: (d, value) => {
        d.#queueSel = value;
      },
    },
    { offset: 0x034, name: 'QueueNumMax', width: 4, access: 'r', read: (d) => d.#device?.queueSizes[d.#queueSel] ?? 0 },
    {
      offset: 0x038,
      name: 'QueueNum',
      width: 4,
      access: 'w',
      write: (d, value) => {
        const queue = d.#idleQueue();
        if (queue !== undefined) queue.size = value;
      },
    },
    {
      offset: 0x044,
      name: 'QueueReady',
      width: 4,
      access: 'rw',
      read: (d) => (d.#queues[d.#queueSel]?.ready ? 1 : 0),
      write: (d, value) => d.#setReady((value & 1) !== 0),
    },
    { offset: 0x050, name: 'QueueNotify', width: 4, access: 'w', write: (d, value) => d.#kick(value) },
    { offset: 0x060, name: 'InterruptStatus', width: 4, access: 'r', read: (d) => d.#interruptStatus },
    {
      offset: 0x064,
      name: 'InterruptACK',
      width: 4,
      access: 'w',
      write: (d, value) => {
        d.#interruptStatus &= ~value;
        d.#drive();
      },
    },
    {
      offset: 0x070,
      name: 'Status',
      width: 4,
      access: 'rw',
      read: (d) => d.#status,
      write: (d, value) => d.#setStatus(value),
    },
    ...QUEUE_AREAS.flatMap(({ offset, name }, area) =>
      ['Low', 'High'].map(
        (half, high): Register<VirtioMmio> => ({
          offset: offset + 4 * high,
          name: name + half,
          width: 4,
          access: 'w',
          write: (d, value) => {
            const queue = d.#idleQueue();
            if (queue !== undefined) queue.words[2 * area + high] = value;
          },
        }),
      ),
    ),
    // There are no shared memory regions: all ones as length and base (section 4.2.2).
    { offset: 0x0b0, name: 'SHMLenLow', width: 4, access: 'r', read: () => 0xffff_ffff },
    { offset: 0x0b4, name: 'SHMLenHigh', width: 4, access: 'r', read: () => 0xffff_ffff },
    { offset: 0x0b8, name: 'SHMBaseLow', width: 4, access: 'r', read: () => 0xffff_ffff },
    { offset: 0x0bc, name: 'SHMBaseHigh', width: 4, access: 'r', read: () => 0xffff_ffff },
    { offset: 0x0fc, name: 'ConfigGeneration', width: 4, access: 'r', read: (d) => d.#configGeneration },
  ]);

  constructor(options: VirtioMmioOptions) {
    this.name = options.device === undefined ? 'virtio-mmio (empty)' : `virtio-mmio ${options.device.name}`;
    this.ram = options.ram;
    this.#device = options.device;
    this.#irq = options.irq;
    this.#log = options.log;
    this.#queues = this.#freshQueues();
  }

  read(offset: number, width: Width): number {
    if (offset < CONFIG_OFFSET) return VirtioMmio.#registers.read(this, offset, width);
    return this.#device?.config.read(offset - CONFIG_OFFSET, width) ?? 0;
  }

  write(offset: number, width: Width, value: number): void {
    if (offset < CONFIG_OFFSET) VirtioMmio.#registers.write(this, offset, width, value);
    else this.#device?.config.write(offset - CONFIG_OFFSET, width, value);
  }

  hasFeature(bit: number): boolean {
    return ((this.#driverFeatures >> BigInt(bit)) & 1n) !== 0n;
  }

  queue(index: number): Virtqueue | undefined {
    return this.#queues[index]?.queue;
  }

  configChanged(): void {
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
    if ((this.#status & STATUS.DRIVER_OK) !== 0) this.#interrupt(INTERRUPT.CONFIG_CHANGE);
  }

  log(error: Error): void {
    this.#log?.(error);
  }

  perform(action: () => void): boolean {
    if (!this.#attached) return false;
    this.#guard(action);
    return true;
  }

  /** Whether a driver is attached and has not broken the protocol. */
  get attached(): boolean {
    return this.#attached;
  }

  get #offered(): bigint {
    return this.#device === undefined ? 0n : this.#device.features | TRANSPORT_FEATURES;
  }

  #freshQueues(): QueueRegisters[] {
    return (this.#device?.queueSizes ?? []).map((size) => ({
      size,
      words: new Uint32Array(6),
      ready: false,
      queue: undefined,
    }));
  }

  /** The selected queue, unless it is ready and may not be changed (section 4.2.2.2). */
  #idleQueue(): QueueRegisters | undefined {
    const queue = this.#queues[this.#queueSel];
    return queue === undefined || queue.ready ? undefined : queue;
  }

  #acceptFeatures(value: number): void {
    if (this.#driverFeaturesSel > 1 || (this.#status & STATUS.FEATURES_OK) !== 0) return;
    const shift = BigInt(32 * this.#driverFeaturesSel);
    this.#driverFeatures = (this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value >>> 0) << shift);
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.#reset();
      return;
    }
    let status = (value & 0xff & ~STATUS.DEVICE_NEEDS_RESET) | (this.#status & STATUS.DEVICE_NEEDS_RESET);
    if ((status & ~this.#status & STATUS.FEATURES_OK) !== 0 && !this.#featuresFit()) status &= ~STATUS.FEATURES_OK;
    const started = (status & ~this.#status & STATUS.DRIVER_OK) !== 0;
    this.#status = status;
    if (!started || this.#device === undefined || (status & STATUS.DEVICE_NEEDS_RESET) !== 0) return;
    this.#guard(() => {
      if ((status & STATUS.FEATURES_OK) === 0) throw this.#error('DRIVER_OK without FEATURES_OK');
      this.#attached = true;
      this.#device?.attach(this);
    });
  }

  /** A subset of what was offered, with VERSION_1: this is no legacy device. */
  #featuresFit(): boolean {
    return (this.#driverFeatures & ~this.#offered) === 0n && this.hasFeature(VIRTIO_F.VERSION_1);
  }

  #reset(): void {
    this.#attached = false;
    this.#status = 0;
    this.#interruptStatus = 0;
    this.#driverFeatures = 0n;
    this.#deviceFeaturesSel = 0;
    this.#driverFeaturesSel = 0;
    this.#queueSel = 0;
    this.#queues = this.#freshQueues();
    this.#device?.reset();
    this.#drive();
  }

  #setReady(ready: boolean): void {
    const registers = this.#queues[this.#queueSel];
    if (registers === undefined || registers.ready === ready) return;
    registers.ready = ready;
    registers.queue = undefined;
    if (!ready) return;
    this.#guard(() => {
      const name = `${this.#device?.name} queue ${this.#queueSel}`;
      const most = this.#device?.queueSizes[this.#queueSel] ?? 0;
      if (registers.size > most) throw new VirtioError(name, `size ${registers.size}, at most ${most} are possible`);
      const address = (area: number) => registers.words[2 * area]! + registers.words[2 * area + 1]! * 2 ** 32;
      registers.queue = new Virtqueue(
        this.ram,
        {
          name,
          size: registers.size,
          descriptors: address(0),
          driver: address(1),
          device: address(2),
          indirect: this.hasFeature(VIRTIO_F.RING_INDIRECT_DESC),
          eventIndex: this.hasFeature(VIRTIO_F.RING_EVENT_IDX),
        },
        () => this.#interrupt(INTERRUPT.USED_BUFFER),
      );
    });
  }

  #kick(index: number): void {
    if (!this.#attached || this.#queues[index]?.queue === undefined) return;
    this.#guard(() => this.#device?.notify(index));
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof VirtioError)) throw error;
      this.#attached = false;
      this.#status |= STATUS.DEVICE_NEEDS_RESET;
      if ((this.#status & STATUS.DRIVER_OK) !== 0) this.#interrupt(INTERRUPT.CONFIG_CHANGE);
      this.log(error);
    }
  }

  #error(why: string): VirtioError {
    return new VirtioError(this.#device?.name ?? this.name, why);
  }

  #interrupt(cause: number): void {
    this.#interruptStatus |= cause;
    this.#drive();
  }

  #drive(): void {
    this.#irq.set(this.#interruptStatus !== 0);
  }
}
