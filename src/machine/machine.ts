import { HostClock } from '../devices/clock.ts';
import { HostTarget } from '../devices/htif.ts';
import type { Finish } from '../devices/test-finisher.ts';
import { VIRTIO_BALLOON_F } from '../devices/virtio/balloon.ts';
import type { Hart } from '../engine/hart.ts';
import type { Translation } from '../engine/translate/translations.ts';
import { type BootPlan, loadBoot, planBoot } from '../firmware/boot.ts';
import type { ImageSource } from '../firmware/image-source.ts';
import { EXTENSIONS, EXTENSIONS_WITHOUT_SSTC } from '../firmware/isa-string.ts';
import { virtDeviceTree } from '../firmware/virt-tree.ts';
import { DiskMap } from '../memory/disk-map.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { HART_REQUEST_CONTROL, HART_REQUEST_SERVICE } from '../memory/layout.ts';
import {
  BALLOON_DEFLATE_ON_OOM,
  BALLOON_DRIVER,
  BALLOON_REPORTING,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_FLAGS,
  GUEST_SIBLINGS_HALT,
} from '../memory/layout-guest.ts';
import { GuestBalloon } from './balloon.ts';
import { HartBlock, timeOrigin } from './hart-block.ts';
import { InputQueue } from './input.ts';
import { MailboxServer, type Services } from './mailbox.ts';
import { type Disk, deviceRead, deviceWrite, Platform } from './platform.ts';
import { type Around, Processor, type ThreadOptions } from './processor.ts';
import { StatisticsClock } from './statistics-clock.ts';

/** How a guest ended its machine. */
export type MachineExit =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset'; readonly failure: boolean }
  | { readonly kind: 'status'; readonly status: number };

export interface MachineOptions extends ThreadOptions {
  /** Nanoseconds since 1970. */
  readonly wallClockNs: () => bigint;
  readonly random: (target: Uint8Array) => void;
  readonly kernel?: ImageSource;
  readonly initrd?: ImageSource;
  /** Given: full virtualization, starting in M-mode with this firmware. Not given: the kernel starts in S-mode. */
  readonly firmware?: ImageSource;
  /** The kernel's command line. */
  readonly append: string;
  /** False: no virtio devices, real-time clock or balloon in the device tree. */
  readonly devices: boolean;
  readonly disks: readonly Disk[];
  readonly output: (bytes: Uint8Array) => void;
  readonly log: (error: Error) => void;
}

const RNG_SEED_BYTES = 48;
/** Time between two looks at the host-target interface while the first hart waits and others may write there. */
const HOST_TARGET_MS = 5;

/**
 * One virtual machine: its first hart, memory, devices, firmware. It belongs to one thread, which calls `run` again and
 * again and sleeps as it likes in between; outside of `run` the hart is parked. The other harts (`Sibling`) have threads of
 * their own.
 */
export class Machine {
  /** How the guest ended; undefined while it goes on. */
  exit: MachineExit | undefined;
  readonly #options: MachineOptions;
  readonly #processor: Processor;
  readonly #memory: GuestMemory;
  readonly #clock: HostClock;
  readonly #platform: Platform;
  readonly #mailboxes: MailboxServer;
  /** The parts of the other harts' control blocks that are the machine's. */
  readonly #siblings: readonly HartBlock[];
  readonly #siblingNumbers: readonly number[];
  readonly #plan: BootPlan;
  readonly #hostTarget: HostTarget | undefined;
  readonly #input: InputQueue;
  readonly #around: Around;
  readonly #statistics: StatisticsClock;
  readonly #balloon: GuestBalloon;

  /** @throws ImageError and what the memory manager throws when the images don't fit. */
  constructor(options: MachineOptions) {
    this.#options = options;
    const { guest, now, output, log } = options;
    this.#clock = HostClock.start(now, timeOrigin(guest));
    this.#statistics = new StatisticsClock(guest, now);
    const services = this.#services();
    this.#processor = new Processor({ ...options, hart: 0, clock: this.#clock, services });
    this.#memory = this.#processor.memory;
    const map = new DiskMap(
      this.#processor.faults,
      options.disks.map(({ backend }) => backend),
    );
    this.#balloon = new GuestBalloon(guest, this.#memory, now);
    this.#platform = new Platform({
      aclint: this.#processor.aclint,
      harts: this.#processor.lines,
      ram: this.#memory,
      wallClockNs: options.wallClockNs,
      random: options.random,
      balloon: this.#balloon,
      disks: options.disks.map((disk, number) => ({ ...disk, watch: map.watch(number) })),
      virtio: options.devices,
      output,
      finish: (finish) => this.#finish(finish),
      log,
    });
    this.#input = new InputQueue((bytes) => this.#platform.receive(bytes));
    this.#mailboxes = new MailboxServer(guest, services);
    this.#siblingNumbers = guest.allHarts.slice(1);
    this.#siblings = this.#siblingNumbers.map((hart) => new HartBlock(guest, hart));
    const { control } = this.#processor;
    control.unpark();
    this.#plan = this.#boot();
    control.park();
    const { htif } = this.#plan;
    if (htif !== undefined) {
      this.#hostTarget = new HostTarget({ ram: this.#memory, ...htif, output, input: () => this.#input.take(), log });
    }
    this.#around = {
      begin: () => {
        this.#input.offer();
        this.#lookAfterBalloon();
      },
      before: (requests) => this.#before(requests),
      after: () => this.#serveHostTarget(),
      ended: () => this.exit !== undefined,
    };
  }

  /** Instructions executed so far by the first hart. */
  get instructions(): number {
    return this.hart.retired;
  }

  /** The first hart, for debuggers and tests. */
  get hart(): Hart {
    return this.#processor.hart;
  }

  /** Milliseconds until something happens by itself, after `run` has returned `wait`. Infinity: nothing will. */
  get waitMs(): number {
    const { balloon, rtc } = this.#platform;
    const untilStatistics = balloon?.attached ? this.#statistics.msUntil : Infinity;
    const untilBalloon = this.#balloon.msUntil;
    // A sibling that ends the machine by a word in its memory tells nobody.
    const untilLook = this.#hostTarget !== undefined && this.#siblings.length > 0 ? HOST_TARGET_MS : Infinity;
    const untilTimer = this.#clock.msUntil(this.#processor.nextTimer);
    return Math.max(0, Math.min(untilTimer, rtc.msToAlarm(), untilStatistics, untilBalloon, untilLook));
  }

  /**
   * Has the other harts stand still and serves them until they do; then time stands still as well.
   * @returns false if one does not yet: call again, at the latest when the hart's WAKE word is raised
   */
  halt(): boolean {
    const { guest } = this.#options;
    if (guest.get(GUEST_SIBLINGS_HALT) === 0) {
      guest.set(GUEST_SIBLINGS_HALT, 1);
      guest.request(HART_REQUEST_CONTROL, this.#siblingNumbers);
    }
    this.#unparked(() => this.#mailboxes.serve());
    if (!this.#siblings.every((sibling) => sibling.halted)) return false;
    this.#clock.halt();
    return true;
  }

  /** Lets the other harts and time go on after `halt`. */
  resume(): void {
    const { guest } = this.#options;
    this.#clock.resume();
    guest.set(GUEST_SIBLINGS_HALT, 0);
    for (const hart of this.#siblingNumbers) guest.wake(hart);
  }

  /**
   * Starts the harts that start together with the first one: all in M-mode, where their threads have to be there already.
   * @returns false if one is not yet: call again
   */
  start(): boolean {
    const { mode, pc, a1, a2 } = this.#plan;
    if (mode === 'M') {
      if (!this.#siblings.every((sibling) => sibling.ready)) return false;
      for (const sibling of this.#siblings) sibling.start({ mode, pc: BigInt(pc), a1: BigInt(a1), a2: BigInt(a2) });
    }
    this.resume();
    return true;
  }

  /**
   * Executes until a time, or until there is something else to do.
   * @param deadlineMs by the clock that `now` shows
   * @returns `slice`: call again; `wait`: sleep until the hart's WAKE word is raised, or for `waitMs`; `stopped`: see `exit`
   * @throws GuestStoppedError and the errors of memory and swap
   */
  run(deadlineMs: number): 'slice' | 'wait' | 'stopped' {
    const result = this.#processor.run(deadlineMs, this.#around);
    this.#platform.uart.flush();
    if (result === 'wait' && this.#balloon.rest()) this.#unparked(() => this.#platform.balloon?.targetChanged());
    return result;
  }

  /** Console input; what the guest does not take yet is kept. */
  input(bytes: Uint8Array): void {
    this.#input.add(bytes);
  }

  /** A translation that the translator had put off. */
  install(key: string, translation: Translation): void {
    this.hart.install(key, translation);
  }

  resize(columns: number, rows: number): void {
    this.#unparked(() => this.#platform.console?.resize(columns, rows));
  }

  /** Copies guest memory. @throws GuestAddressError */
  read(gpa: number, target: Uint8Array): void {
    this.#unparked(() => this.#memory.read(gpa, target));
  }

  #unparked(action: () => void): void {
    const { control } = this.#processor;
    control.unpark();
    try {
      action();
    } finally {
      control.park();
    }
  }

  #before(requests: number): number {
    const { rtc } = this.#platform;
    if ((requests & HART_REQUEST_CONTROL) !== 0) this.#controlRequested();
    if ((requests & HART_REQUEST_SERVICE) !== 0) this.#mailboxes.serve();
    rtc.update();
    return this.#clock.ticks() + rtc.msToAlarm() * 10_000;
  }

  #serveHostTarget(): void {
    const status = this.#hostTarget?.poll();
    if (status !== undefined) this.exit = { kind: 'status', status };
  }

  #finish(finish: Finish): void {
    if (finish.kind === 'reset') this.exit = { kind: 'reset', failure: false };
    else if (finish.kind === 'pass') this.exit = { kind: 'poweroff' };
    else this.exit = { kind: 'status', status: finish.code };
    // The device access that ended the machine is followed by a look at the request word.
    this.#options.guest.request(HART_REQUEST_CONTROL, [0]);
  }

  /** Something in the guest block has changed, such as the balloon's target. */
  #controlRequested(): void {
    this.#platform.balloon?.targetChanged();
  }

  /** Brings the guest block up to date and asks the balloon driver for statistics from time to time. */
  #lookAfterBalloon(): void {
    const { balloon, balloonTransport } = this.#platform;
    if (balloon === undefined) return;
    const { guest } = this.#options;
    const has = (feature: number, flag: number): number => (balloonTransport?.hasFeature(feature) ? flag : 0);
    const flags = balloon.attached
      ? BALLOON_DRIVER |
        has(VIRTIO_BALLOON_F.REPORTING, BALLOON_REPORTING) |
        has(VIRTIO_BALLOON_F.DEFLATE_ON_OOM, BALLOON_DEFLATE_ON_OOM)
      : 0;
    guest.set(GUEST_BALLOON_FLAGS, flags);
    guest.set(GUEST_BALLOON_ACTUAL, this.#balloon.pages);
    if (this.#balloon.look()) balloon.targetChanged();
    if (balloon.attached && this.#statistics.take()) balloon.requestStatistics();
  }

  #boot(): BootPlan {
    const { kernel, initrd, firmware, append, devices, random } = this.#options;
    const rngSeed = new Uint8Array(RNG_SEED_BYTES);
    random(rngSeed);
    const extensions = firmware === undefined ? EXTENSIONS : EXTENSIONS_WITHOUT_SSTC;
    const plan = planBoot(this.#memory, {
      ...(kernel === undefined ? {} : { kernel }),
      ...(initrd === undefined ? {} : { initrd }),
      ...(firmware === undefined ? {} : { firmware }),
      deviceTree: (place) =>
        virtDeviceTree({
          memoryBytes: this.#memory.size,
          harts: this.#options.guest.harts,
          extensions,
          bootargs: append,
          initrd: place,
          rngSeed,
          devices,
        }),
    });
    loadBoot(this.#memory, plan);
    const { mode, pc, a1, a2 } = plan;
    this.#processor.start({ mode, pc: BigInt(pc), a1: BigInt(a1), a2: BigInt(a2) });
    return plan;
  }

  /** What harts of other threads want as well. */
  #services(): Services {
    return {
      deviceRead: (address, bytes) => deviceRead(this.#platform.bus, address, bytes),
      deviceWrite: (address, bytes, value) => deviceWrite(this.#platform.bus, address, bytes, value),
      reset: (type, failure) => {
        this.exit = type === 'shutdown' && !failure ? { kind: 'poweroff' } : { kind: 'reset', failure };
      },
      consoleWrite: (bytes) => {
        this.#options.output(bytes);
        return bytes.length;
      },
      consoleRead: (length) => this.#input.takeUpTo(length),
      bringIn: (gfn) => this.#processor.faults.fault(gfn, false),
    };
  }
}
