import { HostClock } from '../devices/clock.ts';
import { HostTarget } from '../devices/htif.ts';
import type { Finish } from '../devices/test-finisher.ts';
import { VIRTIO_BALLOON_F } from '../devices/virtio/balloon.ts';
import { Hart } from '../engine/hart.ts';
import { EXIT } from '../engine/state.ts';
import type { Translation, Translator } from '../engine/translate/translations.ts';
import { type BootPlan, loadBoot, planBoot } from '../firmware/boot.ts';
import type { ImageSource } from '../firmware/image-error.ts';
import { EXTENSIONS, EXTENSIONS_WITHOUT_SSTC } from '../firmware/isa-string.ts';
import { Sbi } from '../firmware/sbi/sbi.ts';
import { StealTime } from '../firmware/sbi/sta.ts';
import { HART_STATE, type HartState, type ResetType, type SbiPlatform } from '../firmware/sbi/types.ts';
import { virtDeviceTree } from '../firmware/virt-tree.ts';
import { FaultHandler } from '../memory/fault.ts';
import type { Guest } from '../memory/guest.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { HART_REQUEST_CONTROL, PAGE_SIZE } from '../memory/layout.ts';
import {
  BALLOON_DEFLATE_ON_OOM,
  BALLOON_DRIVER,
  BALLOON_REPORTING,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_FLAGS,
} from '../memory/layout-guest.ts';
import { HartControl } from '../memory/shootdown.ts';
import type { SlotStore } from '../memory/swap.ts';
import { GuestBalloon } from './balloon.ts';
import { decodedBlocks, MEMORY_CONSTANTS } from './engine.ts';
import { InputQueue } from './input.ts';
import { type Disk, Platform } from './platform.ts';

/** How a guest ended its machine. */
export type MachineExit =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset'; readonly failure: boolean }
  | { readonly kind: 'status'; readonly status: number };

export interface MachineOptions {
  readonly wasmMemory: WebAssembly.Memory;
  /** The engine for that memory (`compileEngine`). */
  readonly engine: WebAssembly.Module;
  /** Translates hot guest code; without it all is interpreted. */
  readonly translator?: Translator | undefined;
  /** The guest, attached by this thread. */
  readonly guest: Guest;
  /** This thread's access to the swap. */
  readonly store?: SlotStore;
  /** A monotonic clock in milliseconds. */
  readonly now: () => number;
  /** Processor time that this thread has had, milliseconds: what is missing of `now` is reported as steal time. */
  readonly processorTime?: () => number;
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

/** Instructions executed between two looks at the clock: a few milliseconds. */
const BUDGET = 400_000;
/** Time between two requests for balloon statistics, milliseconds. */
const STATISTICS_MS = 1000;
const RNG_SEED_BYTES = 48;

/**
 * One virtual machine: hart, memory, devices, firmware. It belongs to one thread, which calls `run` again and again and
 * sleeps as it likes in between; outside of `run` the hart is parked.
 */
export class Machine {
  /** How the guest ended; undefined while it goes on. */
  exit: MachineExit | undefined;
  readonly #options: MachineOptions;
  readonly #hart: Hart;
  readonly #control: HartControl;
  readonly #memory: GuestMemory;
  readonly #clock: HostClock;
  readonly #platform: Platform;
  readonly #sbi: Sbi;
  readonly #stealTime: StealTime;
  readonly #hostTarget: HostTarget | undefined;
  readonly #input: InputQueue;
  #hartState: HartState = HART_STATE.STARTED;
  #statisticsDue = 0;

  /** @throws ImageError and what the memory manager throws when the images don't fit. */
  constructor(options: MachineOptions) {
    this.#options = options;
    const { guest, now, output, log } = options;
    const { memory } = guest;
    this.#clock = new HostClock(now);
    this.#control = new HartControl(guest, 0, () => this.#hart.flush());
    const faults = new FaultHandler(this.#control, { store: options.store, now });
    this.#hart = new Hart({
      memory: options.wasmMemory,
      engine: options.engine,
      constants: MEMORY_CONSTANTS,
      id: 0,
      area: guest.hartArea(0),
      decodedBlocks: decodedBlocks(guest.pages * PAGE_SIZE),
      npt: guest.nptAddress,
      ramPages: guest.pages,
      frameTable: memory.frameTable * 4,
      zeroFrame: memory.zeroFrame,
      translator: options.translator,
      environment: {
        now: () => this.#clock.ticks(),
        nestedFault: (gfn, write) => faults.fault(gfn, write),
        deviceRead: (address, bytes) => this.#platform.read(address, bytes),
        deviceWrite: (address, bytes, value) => this.#platform.write(address, bytes, value),
      },
    });
    this.#memory = new GuestMemory(faults);
    this.#memory.onWrite = (mfn, offset, length) => this.#hart.codeWritten(mfn, offset, length);
    this.#platform = new Platform({
      clock: this.#clock,
      harts: [this.#hart],
      ram: this.#memory,
      wallClockNs: options.wallClockNs,
      random: options.random,
      balloon: new GuestBalloon(guest, this.#memory),
      disks: options.disks,
      virtio: options.devices,
      output,
      finish: (finish) => this.#finish(finish),
      log,
    });
    this.#input = new InputQueue((bytes) => this.#platform.receive(bytes));
    this.#stealTime = new StealTime(this.#memory, 1);
    this.#sbi = new Sbi(this.#sbiPlatform());
    this.#control.unpark();
    const plan = this.#boot();
    this.#control.park();
    const { htif } = plan;
    if (htif !== undefined) {
      this.#hostTarget = new HostTarget({ ram: this.#memory, ...htif, output, input: () => this.#input.take(), log });
    }
  }

  /** Instructions executed so far. */
  get instructions(): number {
    return this.#hart.retired;
  }

  /** The hart, for debuggers and tests. */
  get hart(): Hart {
    return this.#hart;
  }

  /** Milliseconds until something happens by itself, after `run` has returned `wait`. Infinity: nothing will. */
  get waitMs(): number {
    const ticks = Math.min(this.#platform.aclint.nextDeadline(), this.#hart.timer);
    const untilStatistics = this.#platform.balloon?.attached ? this.#statisticsDue - this.#options.now() : Infinity;
    return Math.max(0, Math.min(this.#clock.msUntil(ticks), this.#platform.rtc.msToAlarm(), untilStatistics));
  }

  /**
   * Executes until a time, or until there is something else to do.
   * @param deadlineMs by the clock that `now` shows
   * @returns `slice`: call again; `wait`: sleep until the hart's WAKE word is raised, or for `waitMs`; `stopped`: see `exit`
   * @throws GuestStoppedError and the errors of memory and swap
   */
  run(deadlineMs: number): 'slice' | 'wait' | 'stopped' {
    this.#control.unpark();
    try {
      this.#input.offer();
      this.#everySecond();
      const { now, processorTime } = this.#options;
      const start = now() - (processorTime?.() ?? 0);
      const result = this.#loop(deadlineMs);
      this.#platform.uart.flush();
      if (processorTime !== undefined) {
        const stolen = now() - processorTime() - start;
        if (stolen > 0) this.#stealTime.add(0, BigInt(Math.round(stolen * 1e6)));
      }
      return result;
    } finally {
      this.#control.park();
    }
  }

  /** Console input; what the guest does not take yet is kept. */
  input(bytes: Uint8Array): void {
    this.#input.add(bytes);
  }

  /** A translation that the translator had put off. */
  install(key: string, translation: Translation): void {
    this.#hart.install(key, translation);
  }

  resize(columns: number, rows: number): void {
    this.#control.unpark();
    this.#platform.console?.resize(columns, rows);
    this.#control.park();
  }

  /** Copies guest memory. @throws GuestAddressError */
  read(gpa: number, target: Uint8Array): void {
    this.#control.unpark();
    try {
      this.#memory.read(gpa, target);
    } finally {
      this.#control.park();
    }
  }

  haltClock(): void {
    this.#clock.halt();
  }

  resumeClock(): void {
    this.#clock.resume();
  }

  #loop(deadlineMs: number): 'slice' | 'wait' | 'stopped' {
    const { aclint, rtc } = this.#platform;
    for (;;) {
      aclint.update();
      this.#hart.updateTimer();
      rtc.update();
      if ((this.#control.takeRequests() & HART_REQUEST_CONTROL) !== 0) this.#controlRequested();
      const timers = Math.min(aclint.nextDeadline(), this.#clock.ticks() + rtc.msToAlarm() * 10_000);
      let reason = this.#hart.run(BUDGET, timers);
      // Hypercalls come in numbers: the guest goes on at once, within the same budget.
      while (reason === EXIT.hypercall && this.#hypercall()) reason = this.#hart.resume();
      this.#serveHostTarget();
      if (this.exit !== undefined) return 'stopped';
      if (reason === EXIT.wfi || this.#hartState !== HART_STATE.STARTED) {
        aclint.update();
        this.#hart.updateTimer();
        if (this.#hartState === HART_STATE.STOPPED) return 'wait';
        if (!this.#hart.hasPendingInterrupt) return 'wait';
        this.#hartState = HART_STATE.STARTED;
      }
      if (this.#options.now() >= deadlineMs) return 'slice';
    }
  }

  /** False if the hart does not go on behind the call. */
  #hypercall(): boolean {
    this.#hart.pc += 4n;
    return this.#sbi.call(this.#hart) && this.#hartState === HART_STATE.STARTED;
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
    this.#options.guest.request(HART_REQUEST_CONTROL);
  }

  /** Something in the guest block has changed, such as the balloon's target. */
  #controlRequested(): void {
    this.#platform.balloon?.targetChanged();
  }

  /** Brings the guest block up to date and asks the balloon driver for statistics. */
  #everySecond(): void {
    const { balloon, balloonTransport } = this.#platform;
    if (balloon === undefined) return;
    const { guest, now } = this.#options;
    const has = (feature: number, flag: number): number => (balloonTransport?.hasFeature(feature) ? flag : 0);
    const flags = balloon.attached
      ? BALLOON_DRIVER |
        has(VIRTIO_BALLOON_F.REPORTING, BALLOON_REPORTING) |
        has(VIRTIO_BALLOON_F.DEFLATE_ON_OOM, BALLOON_DEFLATE_ON_OOM)
      : 0;
    guest.set(GUEST_BALLOON_FLAGS, flags);
    guest.set(GUEST_BALLOON_ACTUAL, balloon.pages);
    if (balloon.attached && now() >= this.#statisticsDue) {
      this.#statisticsDue = now() + STATISTICS_MS;
      balloon.requestStatistics();
    }
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
          harts: 1,
          extensions,
          bootargs: append,
          initrd: place,
          rngSeed,
          devices,
        }),
    });
    loadBoot(this.#memory, plan);
    if (plan.mode === 'M') this.#hart.resetMachineMode(BigInt(plan.pc));
    else this.#hart.resetSupervisorMode(BigInt(plan.pc));
    this.#hart.setX(10, BigInt(plan.a0));
    this.#hart.setX(11, BigInt(plan.a1));
    this.#hart.setX(12, BigInt(plan.a2));
    return plan;
  }

  #sbiPlatform(): SbiPlatform {
    const hart = this.#hart;
    return {
      hartCount: 1,
      ram: this.#memory,
      stealTime: this.#stealTime,
      setTimer: (_hart, deadline) => hart.setTimer(deadline),
      sendIpi: () => hart.raiseSoftwareInterrupt(),
      // Stores to code are seen at once, so that a remote fence.i has no more to do than the other kind.
      remoteFence: () => hart.flush(),
      hartState: () => this.#hartState,
      startHart: () => {
        this.#hartState = HART_STATE.STARTED;
      },
      stopHart: () => {
        this.#hartState = HART_STATE.STOPPED;
      },
      suspendHart: (_hart, resume) => {
        this.#hartState = HART_STATE.SUSPENDED;
        if (resume === undefined) return;
        hart.resetSupervisorMode(resume.pc);
        hart.setX(10, BigInt(hart.id));
        hart.setX(11, resume.opaque);
      },
      reset: (type: ResetType, failure: boolean) => {
        this.exit = type === 'shutdown' && !failure ? { kind: 'poweroff' } : { kind: 'reset', failure };
      },
      consoleWrite: (bytes) => {
        this.#options.output(bytes);
        return bytes.length;
      },
      consoleRead: (length) => this.#input.takeUpTo(length),
    };
  }
}
