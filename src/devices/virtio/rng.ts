import { NO_CONFIG, VIRTIO_ID, type VirtioDevice, type VirtioTransport } from './device.ts';

/** Most random bytes given for one buffer: the device may fill less than it was offered (virtio 1.2, section 5.4.6). */
const MAX_FILL = 64 * 1024;
const REQUESTQ = 0;

/** Entropy device (virtio 1.2, section 5.4). */
export class VirtioRng implements VirtioDevice {
  readonly name = 'virtio-rng';
  readonly deviceId = VIRTIO_ID.RNG;
  readonly features = 0n;
  readonly queueSizes = [64];
  readonly config = NO_CONFIG;
  #fill: (target: Uint8Array) => void;
  #transport: VirtioTransport | undefined;

  /** `fill` puts random bytes fit for cryptography into all of `target`. */
  constructor(fill: (target: Uint8Array) => void) {
    this.#fill = fill;
  }

  attach(transport: VirtioTransport): void {
    this.#transport = transport;
    this.notify(REQUESTQ);
  }

  reset(): void {
    this.#transport = undefined;
  }

  notify(queue: number): void {
    this.#transport?.queue(queue)?.drain((chain) => {
      const bytes = new Uint8Array(Math.min(chain.writableLength, MAX_FILL));
      this.#fill(bytes);
      return chain.write(0, bytes);
    });
  }
}
