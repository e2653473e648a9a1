import { RegisterTable } from '../registers.ts';
import { configSpace, featureSet, VIRTIO_ID, type VirtioDevice, VirtioError, type VirtioTransport } from './device.ts';

/** Feature bits (virtio 1.2, section 5.3.3). */
export const VIRTIO_CONSOLE_F = { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 } as const;

const RECEIVEQ = 0;
const TRANSMITQ = 1;
/** Bytes of input held for a guest that offers no buffers, before more is refused. */
const INPUT_QUEUE = 4096;
/**
 * Longest buffer taken from the driver in one piece, so that a hostile one can't hold the hart. Linux sends a page at
 * most.
 */
const MAX_TRANSMIT = 1024 * 1024;

export interface VirtioConsoleOptions {
  /** Takes what the guest wrote. The array is the receiver's. */
  readonly output: (bytes: Uint8Array) => void;
  /** Called when input was refused and there is room again. */
  readonly drained?: () => void;
  readonly columns?: number;
  readonly rows?: number;
}

/** Console device with one port (virtio 1.2, section 5.3). */
export class VirtioConsole implements VirtioDevice {
  /** Configuration space (section 5.3.4). */
  static readonly #fields = new RegisterTable<VirtioConsole>([
    { offset: 0, name: 'cols', width: 2, access: 'r', read: (d) => d.#columns },
    { offset: 2, name: 'rows', width: 2, access: 'r', read: (d) => d.#rows },
    { offset: 4, name: 'max_nr_ports', width: 4, access: 'r', read: () => 1 },
    // Output before, or without, a driver's queues.
    { offset: 8, name: 'emerg_wr', width: 4, access: 'w', write: (d, value) => d.#output(Uint8Array.of(value)) },
  ]);

  readonly name = 'virtio-console';
  readonly deviceId = VIRTIO_ID.CONSOLE;
  readonly features = featureSet(VIRTIO_CONSOLE_F.SIZE, VIRTIO_CONSOLE_F.EMERG_WRITE);
  readonly queueSizes = [256, 256];
  readonly config = configSpace(VirtioConsole.#fields, this);
  #output: (bytes: Uint8Array) => void;
  #drained: (() => void) | undefined;
  #columns: number;
  #rows: number;
  #input: Uint8Array[] = [];
  #inputLength = 0;
  #refused = false;
  #transport: VirtioTransport | undefined;

  constructor(options: VirtioConsoleOptions) {
    this.#output = options.output;
    this.#drained = options.drained;
    this.#columns = options.columns ?? 80;
    this.#rows = options.rows ?? 25;
  }

  attach(transport: VirtioTransport): void {
    this.#transport = transport;
    this.notify(TRANSMITQ);
    this.notify(RECEIVEQ);
  }

  reset(): void {
    this.#transport = undefined;
  }

  notify(queue: number): void {
    if (queue === RECEIVEQ) this.#deliver();
    else this.#transmit();
  }

  /**
   * Offers input; returns how many bytes of it were taken. After fewer than all, `drained` is called once there is
   * room.
   */
  receive(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, INPUT_QUEUE - this.#inputLength);
    if (taken > 0) {
      this.#input.push(bytes.slice(0, taken));
      this.#inputLength += taken;
    }
    this.#refused ||= taken < bytes.length;
    this.#transport?.perform(() => this.#deliver());
    return taken;
  }

  /** Tells the guest a new size of the terminal, in characters. */
  resize(columns: number, rows: number): void {
    if (columns === this.#columns && rows === this.#rows) return;
    this.#columns = columns;
    this.#rows = rows;
    this.#transport?.perform(() => this.#transport?.configChanged());
  }

  #transmit(): void {
    this.#transport?.queue(TRANSMITQ)?.drain((chain) => {
      if (chain.readableLength > MAX_TRANSMIT) {
        throw new VirtioError(
          this.name,
          `a buffer of ${chain.readableLength} bytes, at most ${MAX_TRANSMIT} are taken at once`,
        );
      }
      const bytes = new Uint8Array(chain.readableLength);
      chain.read(0, bytes);
      if (bytes.length > 0) this.#output(bytes);
      return 0;
    });
  }

  #deliver(): void {
    const queue = this.#transport?.queue(RECEIVEQ);
    if (queue === undefined) return;
    while (this.#inputLength > 0) {
      const chain = queue.pop();
      if (chain === undefined) break;
      let written = 0;
      while (this.#inputLength > 0 && written < chain.writableLength) {
        const bytes = this.#input[0]!;
        const taken = chain.write(written, bytes);
        written += taken;
        this.#inputLength -= taken;
        if (taken === bytes.length) this.#input.shift();
        else this.#input[0] = bytes.subarray(taken);
      }
      queue.push(chain, written);
    }
    queue.flush();
    if (this.#refused && this.#inputLength <= INPUT_QUEUE / 2) {
      this.#refused = false;
      this.#drained?.();
    }
  }
}
