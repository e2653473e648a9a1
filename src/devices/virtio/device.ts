import type { GuestRam } from '../guest-ram.ts';
import type { RegisterTable } from '../registers.ts';
import type { Virtqueue } from './queue.ts';

/** Device types (virtio 1.2, section 5). */
export const VIRTIO_ID = { NET: 1, BLOCK: 2, CONSOLE: 3, RNG: 4, BALLOON: 5 } as const;

/** Reserved feature bits (section 6) that the transport and the queues know. */
export const VIRTIO_F = {
  RING_INDIRECT_DESC: 28,
  RING_EVENT_IDX: 29,
  VERSION_1: 32,
} as const;

/** Bits of the device status (section 2.1). */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** A set of feature bits from their numbers. */
export function featureSet(...bits: number[]): bigint {
  return bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
}

/** A driver broke the protocol in a way that the device can't go on from: it asks to be reset. */
export class VirtioError extends Error {
  override readonly name = 'VirtioError';

  constructor(device: string, why: string) {
    super(`${device}: ${why}`);
  }
}

/** What a device sees of its transport while a driver is attached (from DRIVER_OK to the reset). */
export interface VirtioTransport {
  readonly ram: GuestRam;
  /** Whether feature bit `bit` was negotiated. */
  hasFeature(bit: number): boolean;
  /** Queue `index`, undefined if the driver did not set it up. */
  queue(index: number): Virtqueue | undefined;
  /** Tells the driver that configuration space changed (section 2.3). */
  configChanged(): void;
  /**
   * Runs `action`, something the host wants of the device, under the same rule as what the driver asks for: a
   * {@link VirtioError} becomes DEVICE_NEEDS_RESET. Does nothing and returns false once the driver is gone.
   */
  perform(action: () => void): boolean;
  /** Reports something odd that the device goes on from. */
  log(error: Error): void;
}

/**
 * A virtio device without its transport. `attach` comes with DRIVER_OK, `notify` when the driver kicked a
 * queue, `reset` when it starts anew; a {@link VirtioError} thrown from `attach` or `notify` sets DEVICE_NEEDS_RESET.
 * Whatever the host wants of the device while no driver is attached has to wait or be refused.
 */
export interface VirtioDevice {
  readonly name: string;
  /** One of {@link VIRTIO_ID}. */
  readonly deviceId: number;
  /** Device-specific feature bits on offer (0 to 23); the transport adds its own. */
  readonly features: bigint;
  /** Largest size of each queue, in descriptors; powers of two. */
  readonly queueSizes: readonly number[];
  /** Configuration space (section 2.5): offsets count from its start. */
  readonly config: ConfigSpace;
  attach(transport: VirtioTransport): void;
  notify(queue: number): void;
  reset(): void;
}

/** Configuration space bound to its device. */
export interface ConfigSpace {
  read(offset: number, width: 1 | 2 | 4): number;
  write(offset: number, width: 1 | 2 | 4, value: number): void;
}

/** Binds a table of configuration fields to its device. */
export function configSpace<D>(table: RegisterTable<D>, device: D): ConfigSpace {
  return {
    read: (offset, width) => table.read(device, offset, width),
    write: (offset, width, value) => table.write(device, offset, width, value),
  };
}

/** The configuration space of a device that has none. */
export const NO_CONFIG: ConfigSpace = { read: () => 0, write: () => {} };
