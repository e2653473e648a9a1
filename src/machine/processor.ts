import { Aclint } from '../devices/aclint.ts';
import type { Clock } from '../devices/clock.ts';
import type { HartLines } from '../devices/hart-lines.ts';
import { Hart } from '../engine/hart.ts';
import type { EngineObserver } from '../engine/observer.ts';
import { EXIT } from '../engine/state.ts';
import type { Translator } from '../engine/translate/translations.ts';
import { Sbi } from '../firmware/sbi/sbi.ts';
import { StealTime } from '../firmware/sbi/sta.ts';
import { HART_STATE, type HartEntry, type SbiPlatform } from '../firmware/sbi/types.ts';
import { GuestStoppedError } from '../memory/errors.ts';
import { FaultHandler } from '../memory/fault.ts';
import type { Guest } from '../memory/guest.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { HART_REQUEST_INTERRUPT, HART_REQUEST_IPI, HART_REQUEST_START } from '../memory/layout.ts';
import { COUNT_LOST_US, GUEST_CODE_CHANGES, GUEST_RUNNING, GUEST_STATE } from '../memory/layout-guest.ts';
import { HartControl } from '../memory/shootdown.ts';
import type { SlotStore } from '../memory/swap.ts';
import { LASTING_DECODED_BLOCKS, MEMORY_CONSTANTS, moreBlocks } from './engine.ts';
import { fencePart, forgetPart, writesPart } from './flush-part.ts';
import { HartBlock, type StartEntry } from './hart-block.ts';
import type { Services } from './mailbox.ts';
import { RemoteLines } from './remote-lines.ts';

/** What the thread of each hart is given. */
export interface ThreadOptions {
  readonly wasmMemory: WebAssembly.Memory;
  /** The engine (`compileEngine`). */
  readonly engine: WebAssembly.Module;
  /** Translates hot guest code; without it all is interpreted. */
  readonly translator?: Translator | undefined;
  /** The guest, attached by this thread. */
  readonly guest: Guest;
  /** This thread's access to the swap. */
  readonly store?: SlotStore;
  /** Is told why the hart stands still, when a page can't be read from swap. */
  readonly onReadError?: (error: Error) => void;
  /** A monotonic clock in milliseconds: the same for the threads of all harts. */
  readonly now: () => number;
  /** Processor time that this thread has had, milliseconds: what is missing of `now` is reported as steal time. */
  readonly processorTime?: () => number;
  /** Whether the processor keeps all orders of accesses but that of a store before a load, as x86-64 does. Default: no. */
  readonly totalStoreOrder?: boolean;
  /** Is told when the hart has become idle after work. */
  readonly rested?: () => void;
  /** Is told what the hart's engine does, as far as that is built for it. */
  readonly observer?: EngineObserver | undefined;
}

export interface ProcessorOptions extends ThreadOptions {
  readonly hart: number;
  readonly clock: Clock;
  /** Devices and the like: of this thread, or of the first hart's. */
  readonly services: Services;
}

/** What else a thread does between the instructions of its hart. */
export interface Around {
  /** At the start of `run`, unparked. */
  begin(): void;
  /**
   * Before instructions are executed.
   * @param requests HART_REQUEST bits that others have set
   * @returns time in ticks at which the hart has to stop
   */
  before(requests: number): number;
  /** Behind them. */
  after(): void;
  /** Whether the machine has come to its end. */
  ended(): boolean;
}

/** Instructions executed between two looks at the clock: a few milliseconds. */
const BUDGET = 400_000;

/** Time between two looks whether the guest was stopped, milliseconds. */
const LOOK_MS = 50;

/** Time in which code has to be executed often to be translated, milliseconds. */
const HOT_WITHIN_MS = 10_000;

/** Time between two looks whether the hart has become idle, milliseconds. */
const REST_MS = 5000;

/** A hart that executes fewer in that time is idle: some tens of milliseconds' worth. */
const BUSY_INSTRUCTIONS = 5e6;

/** Time that a spinning hart is not executed, milliseconds. */
const DOZE_MS = 0.1;

/** One hart with what belongs to its thread alone: faults, timer, hypercalls. Outside of `run` it is parked. */
export class Processor {
  readonly hart: Hart;
  readonly control: HartControl;
  /** The guest's memory as this thread accesses it. */
  readonly memory: GuestMemory;
  readonly aclint: Aclint;
  /** The interrupt inputs of all harts. */
  readonly lines: readonly HartLines[];
  readonly #options: ProcessorOptions;
  /** Serves the hart's faults; knows the guest's disks once it has been told. */
  readonly faults: FaultHandler;
  readonly #block: HartBlock;
  readonly #sbi: Sbi;
  readonly #stealTime: StealTime;
  /** It has executed WFI, and there was no interrupt yet. */
  #waiting = false;
  /** Time in the present `run` in which the hart was not executed because it was spinning, milliseconds. */
  #dozedMs = 0;
  #coolAt = Number.NEGATIVE_INFINITY;
  #restAt = Number.NEGATIVE_INFINITY;
  /** Instructions that had been executed at the last look, and whether the hart was busy then. */
  #restRetired = 0;
  #busy = false;
  /** Where a hart that is suspended goes on, if not behind the call. */
  #resume: HartEntry | undefined;

  constructor(options: ProcessorOptions) {
    this.#options = options;
    const { guest, now, clock, services, hart: id } = options;
    const { memory } = guest;
    this.control = new HartControl(guest, id, {
      flush: () => this.hart.flush(),
      forgetFrames: (frames) => this.hart.forgetFrames(frames),
      forgetData: () => this.hart.forgetData(),
      forgetPart: (part) => forgetPart(this.hart, part),
    });
    this.faults = new FaultHandler(this.control, {
      store: options.store,
      now,
      onReadError: options.onReadError,
      // The first hart's thread has the disks.
      bringIn: id === 0 ? undefined : (gfn) => services.bringIn(gfn),
    });
    this.hart = new Hart({
      memory: options.wasmMemory,
      engine: options.engine,
      constants: MEMORY_CONSTANTS,
      id,
      area: guest.hartArea(id),
      decodedBlocks: LASTING_DECODED_BLOCKS,
      moreBlocks: moreBlocks(guest, id),
      npt: guest.nptAddress,
      ramPages: guest.pages,
      frameTable: memory.frameTable * 4,
      zeroFrame: memory.zeroFrame,
      translator: options.translator,
      observer: options.observer,
      environment: {
        now: () => clock.ticks(),
        nestedFault: (gfn, write) => this.faults.fault(gfn, write),
        store: (gfn, offset) => this.faults.store(gfn, offset),
        stored: (bytes) => this.faults.noteStore(bytes),
        deviceRead: (address, bytes) => services.deviceRead(address, bytes),
        deviceWrite: (address, bytes, value) => services.deviceWrite(address, bytes, value),
      },
      siblings:
        guest.harts === 1
          ? undefined
          : {
              forgetWrites: (mfn) => this.faults.flushOthers(undefined, writesPart(mfn)),
              codeChanges: (guest.block + GUEST_CODE_CHANGES) * 4,
              totalStoreOrder: options.totalStoreOrder ?? false,
            },
    });
    this.memory = new GuestMemory(this.faults);
    this.memory.onWrite = (mfn, offset, length) => this.hart.codeWritten(mfn, offset, length);
    const blocks = guest.allHarts.map((hart) => new HartBlock(guest, hart));
    this.#block = blocks[id]!;
    this.lines = guest.allHarts.map((hart) => (hart === id ? this.hart : new RemoteLines(guest, hart)));
    this.aclint = new Aclint({
      clock,
      harts: this.lines,
      compare: { words: memory.i32, at: blocks.map((block) => block.compare) },
      watched: id,
      deadlineChanged: (hart) => {
        if (hart !== id) guest.request(HART_REQUEST_INTERRUPT, [hart]);
      },
    });
    this.#stealTime = new StealTime(this.memory, guest.harts);
    this.#sbi = new Sbi(this.#sbiPlatform(blocks));
    const never = [this.#block.compare, this.#block.compare + 1];
    for (const word of never) Atomics.store(memory.i32, word, -1);
    this.#block.getReady();
  }

  /** Ticks at which something happens by itself to a hart that waits. Infinity: nothing will. */
  get nextTimer(): number {
    if (this.#block.state === HART_STATE.STOPPED) return Infinity;
    return Math.min(this.aclint.nextDeadline(), this.hart.timer);
  }

  /**
   * Executes until a time, or until there is something else to do.
   * @param deadlineMs by the clock that `now` shows
   * @returns `slice`: call again; `wait`: sleep until the hart's WAKE word is raised, or until `nextTimer`; `stopped`
   * @throws GuestStoppedError and the errors of memory and swap
   */
  run(deadlineMs: number, around: Around): 'slice' | 'wait' | 'stopped' {
    const { guest, now, processorTime } = this.#options;
    const start = now();
    if (start >= this.#coolAt) {
      this.#coolAt = start + HOT_WITHIN_MS;
      this.hart.cool();
    }
    if (start >= this.#restAt) {
      this.#restAt = start + REST_MS;
      this.#rest();
    }
    this.#dozedMs = 0;
    let processorMs = 0;
    this.control.unpark();
    try {
      around.begin();
      const before = processorTime?.() ?? 0;
      const result = this.#loop(deadlineMs, around);
      if (processorTime !== undefined) {
        processorMs = processorTime() - before;
        const stolen = now() - start - this.#dozedMs - processorMs;
        if (stolen > 0) {
          this.#stealTime.add(this.hart.id, BigInt(Math.round(stolen * 1e6)));
          guest.add(COUNT_LOST_US, Math.round(stolen * 1000));
        }
      }
      return result;
    } finally {
      this.control.park();
      const { counts } = this.#block;
      this.#block.counts = {
        instructions: this.hart.retired,
        busyMs: counts.busyMs + now() - start - this.#dozedMs,
        processorMs: counts.processorMs + processorMs,
      };
    }
  }

  /** A hart that has become idle keeps little of the code that it executed. */
  #rest(): void {
    const busy = this.hart.retired - this.#restRetired >= BUSY_INSTRUCTIONS;
    this.#restRetired = this.hart.retired;
    if (this.#busy && !busy) {
      this.hart.shrink();
      this.#options.rested?.();
    }
    this.#busy = busy;
  }

  /** Starts a hart that was not started. */
  start({ mode, pc, a1, a2 }: StartEntry): void {
    const { hart } = this;
    if (mode === 'M') hart.resetMachineMode(pc);
    else hart.resetSupervisorMode(pc);
    hart.setX(10, BigInt(hart.id));
    hart.setX(11, a1);
    hart.setX(12, a2);
    this.#waiting = false;
    this.#block.state = HART_STATE.STARTED;
  }

  #loop(deadlineMs: number, around: Around): 'slice' | 'wait' | 'stopped' {
    for (;;) {
      const { wakeups } = this.control;
      this.aclint.update();
      this.hart.updateTimer();
      const requests = this.control.takeRequests();
      if ((requests & HART_REQUEST_START) !== 0) this.start(this.#block.entry);
      if ((requests & HART_REQUEST_IPI) !== 0) this.hart.raiseSoftwareInterrupt();
      const stop = around.before(requests);
      if (around.ended()) return 'stopped';
      if (!this.#executes()) return 'wait';
      let reason = this.hart.run(BUDGET, Math.min(this.aclint.nextDeadline(), stop));
      // Hypercalls come in numbers: the guest goes on at once, within the same budget.
      while (reason === EXIT.hypercall && this.#hypercall()) reason = this.hart.resume();
      this.#waiting = reason === EXIT.wfi;
      // What it spins for may be done by a hart that needs this processor.
      if (reason === EXIT.pause) this.#doze(wakeups);
      around.after();
      if (around.ended()) return 'stopped';
      if (this.#options.now() >= deadlineMs) return 'slice';
    }
  }

  #doze(wakeups: number): void {
    const { now } = this.#options;
    const start = now();
    this.control.doze(wakeups, DOZE_MS);
    this.#dozedMs += now() - start;
  }

  /** False while the hart is stopped, or waits for an interrupt. */
  #executes(): boolean {
    const { state } = this.#block;
    if (state === HART_STATE.STOPPED) return false;
    if (state === HART_STATE.STARTED && !this.#waiting) return true;
    if (!this.hart.hasPendingInterrupt) return false;
    const entry = this.#resume;
    this.#resume = undefined;
    if (entry !== undefined) this.start({ mode: 'S', pc: entry.pc, a1: entry.opaque, a2: 0n });
    this.#waiting = false;
    this.#block.state = HART_STATE.STARTED;
    return true;
  }

  /** False if the hart does not go on behind the call. */
  #hypercall(): boolean {
    this.hart.pc += 4n;
    return this.#sbi.call(this.hart) && this.#block.state === HART_STATE.STARTED;
  }

  /** The guest is started while the threads of its other harts are still on their way. */
  #awaitThread(block: HartBlock): void {
    const { guest } = this.#options;
    if (block.ready) return;
    this.control.park();
    try {
      while (!block.ready) {
        block.awaitReady(LOOK_MS);
        if (guest.get(GUEST_STATE) !== GUEST_RUNNING) throw new GuestStoppedError(guest.name);
      }
    } finally {
      this.control.unpark();
    }
  }

  #sbiPlatform(blocks: readonly HartBlock[]): SbiPlatform {
    const { hart, memory } = this;
    const { guest, services } = this.#options;
    return {
      hartCount: guest.harts,
      ram: memory,
      stealTime: this.#stealTime,
      setTimer: (_hart, deadline) => hart.setTimer(deadline),
      sendIpi: (target) => {
        if (target === hart.id) hart.raiseSoftwareInterrupt();
        else guest.request(HART_REQUEST_IPI, [target]);
      },
      remoteFence: (harts, fence) => {
        const part = fencePart(fence);
        if (harts.includes(hart.id)) forgetPart(hart, part);
        this.faults.flushOthers(
          harts.filter((other) => other !== hart.id),
          part,
        );
      },
      hartState: (other) => blocks[other]!.state,
      startHart: (other, { pc, opaque }) => {
        this.#awaitThread(blocks[other]!);
        return blocks[other]!.start({ mode: 'S', pc, a1: opaque, a2: 0n });
      },
      stopHart: () => {
        this.#block.state = HART_STATE.STOPPED;
      },
      suspendHart: (_hart, resume) => {
        this.#resume = resume;
        this.#block.state = HART_STATE.SUSPENDED;
      },
      reset: (type, failure) => services.reset(type, failure),
      consoleWrite: (bytes) => services.consoleWrite(bytes),
      consoleRead: (length) => services.consoleRead(length),
    };
  }
}
