import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT } from '../../src/engine/state.ts';
import { allocateFrame, copyFrame, referenceFrame, releaseFrame, setFrameFlag } from '../../src/memory/frames.ts';
import {
  FRAME_SHARED,
  NPT_ACCESSED,
  NPT_KIND_LEAVING,
  NPT_KIND_MASK,
  NPT_MERGED,
  NPT_PRESENT,
  NPT_WRITABLE,
} from '../../src/memory/layout.ts';
import { GUEST_LEFT_OVER } from '../../src/memory/layout-guest.ts';
import { absentEntry, clearEntryBits, loadEntry, payloadOf, presentEntry, replaceEntry } from '../../src/memory/npt.ts';
import { requestShootdown } from '../../src/memory/shootdown.ts';
import { restoredBits } from '../../src/memory/transit.ts';
import { Random } from '../differential/random.ts';
import { BareMachine, DATA, PageTables, PTE, RAM } from './bare-machine.ts';
import { CODE_PAGES, codePages, DEVICE, deviceContents, hammerProgram, PAGES } from './hammer-program.ts';
import { TIERS, type Tier } from './tiers.ts';

/** Instructions that each program executes, programs of each kind, and the seed of the first one; more finds more. */
const INSTRUCTIONS = Number(process.env.BALLONET_MOVED_INSTRUCTIONS ?? 2e6);
const PROGRAMS = Number(process.env.BALLONET_MOVED_PROGRAMS ?? 3);
const FIRST_SEED = Number(process.env.BALLONET_MOVED_SEED ?? 4224);
/** Instructions at most between two pauses. */
const MOST_AT_ONCE = 100_000;
/** Pages at most that begin to leave with one shootdown, or whose ways end while the hart sleeps. */
const MOST_IN_BATCH = 6;

/** The program's pages, and page tables behind them. */
const PROGRAM = RAM + 0x2000;
const TABLES_AT = RAM + 0x4000;
const CODE_AT = DATA;
const DATA_AT = CODE_AT + CODE_PAGES * 4096;
const PAGE_TABLES = DATA_AT + PAGES * 4096;
const gfn = (address: number): number => (address - RAM) / 4096;

/** A page that is not written to now, as far as is known, and its frame. */
interface Protected {
  readonly page: number;
  readonly frame: number;
}

/** What the memory manager does to pages while the hart sleeps, a few steps at a time, in one thread with the hart. */
class Mover {
  readonly #machine: BareMachine;
  readonly #random: Random;
  readonly #shares: boolean;
  /** Pages that have begun to leave, and that are to be merged. */
  readonly #leaving: number[] = [];
  readonly #protected: Protected[] = [];
  /** Frames that pages had before they were merged, and those that others have, too. */
  #leftOver: number[] = [];
  readonly #shared: number[] = [];

  /** @param shares pages are merged, too, which has the hart forget all frames more often */
  constructor(machine: BareMachine, random: Random, shares: boolean) {
    this.#machine = machine;
    this.#random = random;
    this.#shares = shares;
  }

  /** The hart pauses: some pages begin to leave, and perhaps some are merged with a frame of the same contents. */
  pause(): void {
    this.#machine.control.park();
    for (let pages = this.#random.between(1, MOST_IN_BATCH); pages > 0; pages--) this.#begin(this.#choose());
    this.#shootDown();
    if (this.#shares) for (let steps = this.#random.below(4); steps > 0; steps--) this.#share();
    this.#machine.control.unpark();
  }

  /** The hart waits in a fault: some of the pages that were leaving come to another frame, to the same one anew, or stay. */
  wait(): void {
    this.#machine.control.park();
    for (let pages = this.#random.below(MOST_IN_BATCH); pages > 0 && this.#leaving.length > 0; pages--) {
      this.#settle(this.#draw(this.#leaving));
    }
    this.#machine.control.unpark();
  }

  #draw<T>(list: T[]): T {
    return list.splice(this.#random.below(list.length), 1)[0]!;
  }

  /** Half of the time the program or what it calls. */
  #choose(): number {
    const random = this.#random;
    if (!random.chance(2)) return random.between(gfn(PROGRAM), gfn(PAGE_TABLES) - 1);
    return random.chance(2) ? gfn(PROGRAM) : gfn(CODE_AT) + random.below(CODE_PAGES);
  }

  #begin(page: number): void {
    const { guest } = this.#machine;
    const entry = loadEntry(guest, page);
    if ((entry & NPT_PRESENT) === 0) return;
    replaceEntry(guest, page, absentEntry(NPT_KIND_LEAVING, payloadOf(entry)));
    this.#leaving.push(page);
  }

  #settle(page: number): void {
    const { guest, machineMemory: memory } = this.#machine;
    const entry = loadEntry(guest, page);
    // The hart may have taken it back.
    if ((entry & (NPT_PRESENT | NPT_KIND_MASK)) !== NPT_KIND_LEAVING) return;
    let frame = payloadOf(entry);
    if (!this.#random.chance(3)) {
      const other = allocateFrame(memory);
      copyFrame(memory, frame, other);
      if (!releaseFrame(memory, frame) || this.#random.chance(2)) frame = other;
      else {
        assert.equal(allocateFrame(memory), frame, 'the frame that was freed last is used next');
        copyFrame(memory, other, frame);
        releaseFrame(memory, other);
      }
    }
    replaceEntry(guest, page, presentEntry(frame, restoredBits(memory, frame)));
  }

  #share(): void {
    const { guest, machineMemory: memory } = this.#machine;
    switch (this.#random.below(4)) {
      case 0: {
        const page = this.#choose();
        const entry = loadEntry(guest, page);
        if ((entry & NPT_PRESENT) === 0) return;
        clearEntryBits(guest, page, NPT_WRITABLE);
        this.#shootDown();
        this.#protected.push({ page, frame: payloadOf(entry) });
        return;
      }
      case 1:
        if (this.#protected.length > 0) this.#merge(this.#draw(this.#protected));
        return;
      case 2:
        // The other guest has written to its page.
        if (this.#shared.length > 0) releaseFrame(memory, this.#draw(this.#shared));
        return;
      default:
        this.#shootDown();
        guest.add(GUEST_LEFT_OVER, -this.#leftOver.length);
        for (const frame of this.#leftOver) releaseFrame(memory, frame);
        this.#leftOver = [];
    }
  }

  /** With a page of another guest, if the page still is what it was. */
  #merge({ page, frame }: Protected): void {
    const { guest, machineMemory: memory } = this.#machine;
    const entry = loadEntry(guest, page);
    if ((entry & (NPT_PRESENT | NPT_WRITABLE)) !== NPT_PRESENT || payloadOf(entry) !== frame) return;
    const shared = allocateFrame(memory);
    copyFrame(memory, frame, shared);
    setFrameFlag(memory, shared, FRAME_SHARED);
    referenceFrame(memory, shared);
    this.#shared.push(shared);
    replaceEntry(guest, page, presentEntry(shared, NPT_MERGED | (entry & NPT_ACCESSED)));
    guest.add(GUEST_LEFT_OVER, 1);
    this.#leftOver.push(frame);
  }

  /** The hart sleeps, so that it need not be waited for. */
  #shootDown(): void {
    requestShootdown(this.#machine.guest, new Int32Array(1));
  }
}

/** Runs the hammer's program while its pages are moved, whenever the hart waits in a fault, or has a pause. */
function run(tier: Tier, privilege: 0 | 1 | 3, seed: number): void {
  const random = new Random(seed);
  let failure = '';
  const machine: BareMachine = new BareMachine({
    tier,
    seed,
    pages: 256,
    environment: {
      nestedFault: (page, write) => {
        machine.faults.fault(page, write);
        mover.wait();
      },
      deviceWrite: (address, _bytes, value) => {
        const offset = Number(address) - DEVICE.address;
        const page = Number(value);
        if (offset === DEVICE.discard) machine.memory.discard(gfn(DATA_AT) + page, 1);
        else if (offset === DEVICE.write) machine.memory.write(DATA_AT + page * 4096, deviceContents());
        else failure = `mismatch at ${value.toString(16)}: ${[10, 11, 15, 17].map((n) => machine.x(n))}`;
        return true;
      },
    },
  });
  const mover = new Mover(machine, random, seed % 2 === 1);
  let satp = 0n;
  if (privilege !== 3) {
    let used = 0;
    const tables = new PageTables({ memory: machine.memory, newTable: () => PAGE_TABLES + 4096 * used++ });
    const flags = PTE.V | PTE.R | PTE.W | PTE.X | (privilege === 0 ? PTE.U : 0);
    for (let address = PROGRAM; address < PAGE_TABLES; address += 4096) tables.map(address, address, flags);
    tables.map(DEVICE.address, DEVICE.address, flags);
    satp = tables.satp;
  }
  machine.load(CODE_AT, codePages());
  const places = { tables: TABLES_AT, data: DATA_AT, code: CODE_AT };
  machine.load(PROGRAM, hammerProgram({ ...places, seed: BigInt(seed), tag: 1n << 60n }));
  machine.boot({ pc: PROGRAM, privilege, csrs: { satp } });
  for (let left = INSTRUCTIONS; left > 0 && failure === ''; ) {
    const instructions = random.between(1, MOST_AT_ONCE);
    const reason = machine.hart.run(instructions, Number.MAX_SAFE_INTEGER);
    if (reason === EXIT.request) machine.control.takeRequests();
    else assert.equal(reason, EXIT.budget);
    machine.expectNoTrap();
    left -= instructions;
    mover.pause();
  }
  assert.equal(failure, '', `seed ${seed}, round ${machine.x(8)}`);
  assert.ok(machine.x(8) > 100n, `only ${machine.x(8)} rounds`);
}

for (const tier of TIERS) {
  for (const privilege of [0, 1, 3] as const) {
    test(`code and data keep their contents while they get other frames (${tier}, privilege ${privilege})`, () => {
      for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) run(tier, privilege, seed);
    });
  }
}
