import assert from 'node:assert/strict';
import type { MoreBlocks } from '../../src/engine/block-room.ts';
import { buildEngine } from '../../src/engine/build.ts';
import type { EngineCounters } from '../../src/engine/counters.ts';
import { readCounters } from '../../src/engine/counting.ts';
import { Hart } from '../../src/engine/hart.ts';
import type { HartEnvironment, HartOptions } from '../../src/engine/hart-options.ts';
import type { EngineObserver } from '../../src/engine/observer.ts';
import { CHUNK, EXIT, hartAreaBytes } from '../../src/engine/state.ts';
import { SynchronousTranslator } from '../../src/engine/translate/synchronous.ts';
import type { Translator } from '../../src/engine/translate/translations.ts';
import { MEMORY_CONSTANTS } from '../../src/machine/engine.ts';
import { FaultHandler } from '../../src/memory/fault.ts';
import { createGuest, Guest } from '../../src/memory/guest.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { HART_CONTROL_BYTES, PAGE_SIZE } from '../../src/memory/layout.ts';
import { GUEST_CODE_CHANGES } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { HartControl } from '../../src/memory/shootdown.ts';
import { Assembler, assemble } from './assembler.ts';
import { defaultTier, type Tier, translatorOf } from './tiers.ts';

/** Size of the machine memory of tests, in WebAssembly pages. */
export const WASM_PAGES = 224;
let engine: WebAssembly.Module | undefined;

export const RAM = 0x8000_0000;
/** Bytes of a trap handler up to where it waits. */
export const HANDLER_BYTES = 8;
/** Where `boot` puts its code, and the handler that traps go to unless the test has its own. */
const BOOT = RAM;
export const TRAP = RAM + 0x1000;
/** The program counter when the handler there waits. */
const TRAP_END = TRAP + HANDLER_BYTES;
/** Where a test's code and data go. */
export const CODE = RAM + 0x2000;
export const DATA = RAM + 0x8000;
/** Page tables. */
export const TABLES = RAM + 0x2_0000;

export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;
export const RWX = PTE.V | PTE.R | PTE.W | PTE.X | PTE.A | PTE.D;

export interface BareOptions {
  /** Configured memory in pages. */
  readonly pages?: number;
  readonly decodedBlocks?: number;
  /** Where the first hart gets room for more of them. */
  readonly moreBlocks?: (guest: Guest) => MoreBlocks;
  readonly environment?: Partial<HartEnvironment>;
  /** How it executes; what BALLONET_TEST_TIER says, or interpreted, if it is not given. */
  readonly tier?: Tier;
  /** Jumps to a place after which it is translated, if it is not the tier that says so. */
  readonly threshold?: number;
  /** Who translates, if it is not the tier that says so. */
  readonly translator?: () => Translator;
  /** Chooses among the ways of the tier `mixed`. */
  readonly seed?: number;
  /** Is told everything. */
  readonly observer?: EngineObserver;
  /** Harts of the guest; those behind the first are made by `sibling`. */
  readonly harts?: number;
}

/** One of several harts, all in the test's thread: it is parked but while it runs. */
export interface Sibling {
  readonly hart: Hart;
  readonly control: HartControl;
  /** Called instead of the shootdown of the other harts, and may make it. */
  onFlush: (shootDown: () => void) => void;
  /** Runs from `pc` in M-mode up to a WFI. */
  run(pc: number): void;
}

/** How `boot` leaves M-mode: CSRs by name in this order, then a return to `privilege` at `pc`. */
export interface Start {
  readonly pc?: number | bigint;
  readonly privilege?: 0 | 1 | 3;
  readonly csrs?: Readonly<Record<string, bigint | number>>;
}

/** A trap handler that disables interrupts, so that it can wait for ever. */
export const trapHandler =
  (enables: 'mie' | 'sie') =>
  (a: Assembler): void => {
    a.csr('csrrw', 0, enables).i('wfi').i('jal', { imm: -4 });
  };

/** One hart with memory of its own and no devices but what a test gives, in the test's thread. */
export class BareMachine {
  readonly hart: Hart;
  readonly memory: GuestMemory;
  readonly guest: Guest;
  readonly control: HartControl;
  readonly faults: FaultHandler;
  readonly machineMemory: MachineMemory;
  /** Time that the hart sees, in ticks. */
  time = 0;
  readonly #nextTable = { address: TABLES };
  readonly #hartOptions: Omit<HartOptions, 'id' | 'area' | 'environment'>;

  constructor({ pages = 256, decodedBlocks = 16, environment = {}, harts = 1, ...how }: BareOptions = {}) {
    const { tier = defaultTier(), threshold, translator, seed = 1, observer } = how;
    const instruments = { exits: observer !== undefined, samples: observer !== undefined };
    const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES, shared: true });
    const built = (): WebAssembly.Module => new WebAssembly.Module(buildEngine(MEMORY_CONSTANTS, instruments));
    if (observer === undefined) engine ??= built();
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    const created = createGuest(MachineMemory.format(buffer), {
      name: 'bare',
      memoryBytes: pages * PAGE_SIZE,
      harts,
      hartBytes: hartAreaBytes(decodedBlocks) - HART_CONTROL_BYTES,
    });
    this.guest = Guest.attach(MachineMemory.attach(buffer, created.slot + 1), created.slot);
    this.machineMemory = this.guest.memory;
    this.control = new HartControl(this.guest, 0, {
      flush: () => this.hart.flush(),
      forgetFrames: (frames) => this.hart.forgetFrames(frames),
    });
    this.faults = new FaultHandler(this.control);
    this.memory = new GuestMemory(this.faults);
    this.#hartOptions = {
      memory,
      engine: observer === undefined ? engine! : built(),
      observer,
      constants: MEMORY_CONSTANTS,
      decodedBlocks,
      npt: this.guest.nptAddress,
      ramPages: this.guest.pages,
      frameTable: this.machineMemory.frameTable * 4,
      zeroFrame: this.machineMemory.zeroFrame,
      translator:
        translator?.() ??
        (threshold === undefined
          ? translatorOf(tier, seed, () => this.hart.install.bind(this.hart))
          : new SynchronousTranslator(threshold, instruments)),
    };
    this.hart = new Hart({
      ...this.#hartOptions,
      id: 0,
      area: this.guest.hartArea(0),
      moreBlocks: how.moreBlocks?.(this.guest),
      siblings: harts === 1 ? undefined : { ...this.#siblings, forgetWrites: () => this.faults.flushOthers() },
      environment: {
        now: () => this.time,
        nestedFault: (gfn, write) => this.faults.fault(gfn, write),
        deviceRead: () => undefined,
        deviceWrite: () => false,
        ...environment,
      },
    });
    this.memory.onWrite = (mfn, offset, length) => this.hart.codeWritten(mfn, offset, length);
    this.control.unpark();
  }

  /** Makes a hart behind the first one. The first one has to be parked while it runs. */
  sibling(id: number): Sibling {
    const control = new HartControl(this.guest, id, {
      flush: () => hart.flush(),
      forgetFrames: (frames) => hart.forgetFrames(frames),
    });
    const faults = new FaultHandler(control);
    const hart: Hart = new Hart({
      ...this.#hartOptions,
      id,
      area: this.guest.hartArea(id),
      siblings: { ...this.#siblings, forgetWrites: () => sibling.onFlush(() => faults.flushOthers()) },
      environment: {
        now: () => this.time,
        nestedFault: (gfn, write) => faults.fault(gfn, write),
        deviceRead: () => undefined,
        deviceWrite: () => false,
      },
    });
    const sibling: Sibling = {
      hart,
      control,
      onFlush: (shootDown) => shootDown(),
      run: (pc) => {
        control.unpark();
        hart.resetMachineMode(BigInt(pc));
        const reason = hart.run(50 * CHUNK, Number.MAX_SAFE_INTEGER);
        control.park();
        assert.equal(reason, EXIT.wfi, `hart ${id} ended by ${reason} at pc ${hart.pc.toString(16)}`);
      },
    };
    return sibling;
  }

  get #siblings() {
    return { codeChanges: (this.guest.block + GUEST_CODE_CHANGES) * 4, totalStoreOrder: false };
  }

  /** Puts code or data into memory. */
  load(address: number, content: Uint8Array | ((a: Assembler) => void)): void {
    this.memory.write(address, typeof content === 'function' ? assemble(content) : content);
  }

  /** A program that ends in WFI: `load` at CODE, boot, run. */
  execute(write: (a: Assembler) => void, start: Start = {}): this {
    this.load(CODE, (a) => {
      write(a);
      a.i('wfi');
    });
    this.boot(start);
    this.run();
    return this;
  }

  /**
   * Starts at `pc` in a privilege mode, by code in M-mode that sets CSRs. Traps into M-mode end at TRAP with a WFI.
   * PMP entry 0 allows everything unless CSRs of the PMP are given.
   */
  boot({ pc = CODE, privilege = 3, csrs = {} }: Start = {}): void {
    const code = new Assembler();
    const hasPmp = Object.keys(csrs).some((name) => name.startsWith('pmp'));
    const all = {
      mtvec: TRAP,
      menvcfg: 1n << 61n,
      ...(hasPmp ? {} : { pmpaddr0: -1n, pmpcfg0: 0x1f }),
      ...csrs,
      mepc: pc,
    };
    for (const [name, value] of Object.entries(all)) code.setCsr(name, value, 31);
    code.li(31, 3 << 11).csr('csrrc', 0, 'mstatus', 31);
    code.li(31, privilege << 11).csr('csrrs', 0, 'mstatus', 31);
    code.li(31, 0).i('mret');
    this.load(BOOT, code.finish());
    this.load(TRAP, trapHandler('mie'));
    this.hart.resetMachineMode(BigInt(BOOT));
  }

  /** Runs until the hart waits for an interrupt, or until something else that is asked for. */
  run(wanted: number = EXIT.wfi, budget = 50 * CHUNK): void {
    const reason = this.hart.run(budget, Number.MAX_SAFE_INTEGER);
    assert.equal(reason, wanted, `ended by ${reason} at pc ${this.hart.pc.toString(16)}`);
  }

  /** Expects that a trap into M-mode has ended the program. */
  expectTrap(cause: number | bigint, pc: number | bigint, value: number | bigint = 0): void {
    const { hart } = this;
    assert.equal(hart.pc, BigInt(TRAP_END), 'no trap was taken');
    const seen = { cause: hart.field('mcause'), pc: hart.field('mepc'), value: hart.field('mtval') };
    const u64 = (v: number | bigint): bigint => BigInt.asUintN(64, BigInt(v));
    assert.deepEqual(seen, { cause: u64(cause), pc: u64(pc), value: u64(value) });
  }

  /** Expects that the program came to its own end. */
  expectNoTrap(): void {
    const { hart } = this;
    assert.notEqual(hart.pc, BigInt(TRAP_END), `trap ${hart.field('mcause')} at ${hart.field('mepc').toString(16)}`);
  }

  /** A register as an unsigned number. */
  x(n: number): bigint {
    return BigInt.asUintN(64, this.hart.x(n));
  }

  /** The mfn that holds a guest-physical address. */
  frameOf(address: number): number {
    const entry = Atomics.load(this.machineMemory.i32, this.guest.npt + ((address - RAM) >>> 12));
    return entry >>> 8;
  }

  /** What the first hart has counted. */
  get counters(): EngineCounters {
    return readCounters(this.machineMemory.buffer, this.guest.hartArea(0));
  }

  newTable(): number {
    const table = this.#nextTable.address;
    this.#nextTable.address += PAGE_SIZE;
    return table;
  }
}

/** Where page tables are made. */
export interface TableMemory {
  readonly memory: GuestMemory;
  /** Address of a page for a table, full of zeros. */
  newTable(): number;
}

/** Page tables of a guest, for Sv39 (3 levels) or Sv48 (4). */
export class PageTables {
  readonly #machine: TableMemory;
  readonly #levels: number;
  readonly root: number;

  constructor(machine: TableMemory, levels: 3 | 4 = 3) {
    this.#machine = machine;
    this.#levels = levels;
    this.root = machine.newTable();
  }

  get satp(): bigint {
    return (BigInt(this.#levels + 5) << 60n) | BigInt(this.root / PAGE_SIZE);
  }

  /** Maps a page of 4 KiB (level 0), 2 MiB (1), 1 GiB (2); gives the address of the page table entry. */
  map(gva: bigint | number, gpa: number, flags: number, level = 0): number {
    const { memory } = this.#machine;
    let table = this.root;
    for (let at = this.#levels - 1; at > level; at--) {
      const address = table + this.#index(gva, at) * 8;
      let entry = memory.readU64(address);
      if (entry === 0n) {
        entry = (BigInt(this.#machine.newTable() / PAGE_SIZE) << 10n) | 1n;
        memory.writeU64(address, entry);
      }
      table = Number(entry >> 10n) * PAGE_SIZE;
    }
    const address = table + this.#index(gva, level) * 8;
    memory.writeU64(address, (BigInt(gpa / PAGE_SIZE) << 10n) | BigInt(flags));
    return address;
  }

  #index(gva: bigint | number, level: number): number {
    return Number((BigInt.asUintN(64, BigInt(gva)) >> BigInt(12 + 9 * level)) & 511n);
  }
}
