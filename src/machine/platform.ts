import type { Aclint } from '../devices/aclint.ts';
import type { BlockBackend } from '../devices/block/backend.ts';
import { Bus, BusError } from '../devices/bus.ts';
import { GoldfishRtc } from '../devices/goldfish-rtc.ts';
import type { GuestRam } from '../devices/guest-ram.ts';
import type { HartLines } from '../devices/hart-lines.ts';
import {
  ACLINT,
  GOLDFISH_RTC,
  MAX_DISKS,
  PLIC,
  TEST_FINISHER,
  UART,
  VIRTIO_SLOTS,
  virtioSlot,
} from '../devices/map.ts';
import { Plic } from '../devices/plic.ts';
import { type Finish, TestFinisher } from '../devices/test-finisher.ts';
import { Uart16550 } from '../devices/uart16550.ts';
import { type BalloonBackend, VirtioBalloon } from '../devices/virtio/balloon.ts';
import { type BlockWatch, VirtioBlk } from '../devices/virtio/blk.ts';
import { VirtioConsole } from '../devices/virtio/console.ts';
import type { VirtioDevice } from '../devices/virtio/device.ts';
import { VirtioMmio } from '../devices/virtio/mmio.ts';
import { VirtioRng } from '../devices/virtio/rng.ts';

export interface Disk {
  readonly backend: BlockBackend;
  /** What the guest sees as the disk's serial number. */
  readonly id?: string;
  /** Is told of the disk's requests. */
  readonly watch?: BlockWatch;
}

export interface PlatformOptions {
  readonly aclint: Aclint;
  /** The interrupt inputs of hart 0, 1, ... */
  readonly harts: readonly HartLines[];
  readonly ram: GuestRam;
  readonly wallClockNs: () => bigint;
  readonly random: (target: Uint8Array) => void;
  readonly balloon: BalloonBackend;
  readonly disks: readonly Disk[];
  /** False: interrupt controllers, serial port and test finisher only. */
  readonly virtio: boolean;
  readonly output: (bytes: Uint8Array) => void;
  readonly finish: (finish: Finish) => void;
  readonly log: (error: Error) => void;
}

/** All devices of a virtual machine on one bus, at the places where QEMU's `virt` has them. */
export class Platform {
  readonly bus = new Bus();
  readonly uart: Uart16550;
  readonly rtc: GoldfishRtc;
  readonly console: VirtioConsole | undefined;
  readonly balloon: VirtioBalloon | undefined;
  /** The balloon's transport: it knows whether a driver is there. */
  readonly balloonTransport: VirtioMmio | undefined;
  /** Input of the console that the guest wrote to last. */
  #receive: (bytes: Uint8Array) => number;

  constructor(options: PlatformOptions) {
    const { bus } = this;
    const { ram, log, disks } = options;
    const outputOf = (receive: (bytes: Uint8Array) => number) => (bytes: Uint8Array) => {
      this.#receive = receive;
      options.output(bytes);
    };
    if (disks.length > MAX_DISKS) {
      throw new RangeError(`${disks.length} disks: a guest can have ${MAX_DISKS} at most`);
    }
    const plic = new Plic(options.harts);
    this.uart = new Uart16550({ irq: plic.line(UART.irq), output: outputOf((bytes) => this.uart.receive(bytes)) });
    this.#receive = (bytes) => this.uart.receive(bytes);
    this.rtc = new GoldfishRtc(options.wallClockNs, plic.line(GOLDFISH_RTC.irq));
    bus.map(TEST_FINISHER.base, TEST_FINISHER.size, new TestFinisher(options.finish));
    bus.map(GOLDFISH_RTC.base, GOLDFISH_RTC.size, this.rtc);
    bus.map(ACLINT.base, ACLINT.size, options.aclint);
    bus.map(PLIC.base, PLIC.size, plic);
    bus.map(UART.base, UART.size, this.uart);
    if (!options.virtio) return;
    const console = new VirtioConsole({ output: outputOf((bytes) => console.receive(bytes)) });
    this.console = console;
    this.balloon = new VirtioBalloon(options.balloon);
    const devices: VirtioDevice[] = [
      this.console,
      new VirtioRng(options.random),
      this.balloon,
      ...disks.map((disk) => new VirtioBlk(disk)),
    ];
    for (let slot = 0; slot < VIRTIO_SLOTS; slot++) {
      const { base, size, irq } = virtioSlot(slot);
      const device = devices[slot];
      const transport = new VirtioMmio({ ram, irq: plic.line(irq), log, ...(device === undefined ? {} : { device }) });
      if (device !== undefined && device === this.balloon) this.balloonTransport = transport;
      bus.map(base, size, transport);
    }
  }

  /** Hands console input to the guest; returns how many bytes it took. */
  receive(bytes: Uint8Array): number {
    return this.#receive(bytes);
  }
}

/** A load from a device; undefined where none answers. */
export function deviceRead(bus: Bus, address: bigint, bytes: number): bigint | undefined {
  try {
    return bus.read(Number(address), bytes as 1 | 2 | 4 | 8);
  } catch (error) {
    if (error instanceof BusError) return undefined;
    throw error;
  }
}

/** A store to a device; false where none answers. */
export function deviceWrite(bus: Bus, address: bigint, bytes: number, value: bigint): boolean {
  try {
    bus.write(Number(address), bytes as 1 | 2 | 4 | 8, value);
    return true;
  } catch (error) {
    if (error instanceof BusError) return false;
    throw error;
  }
}
