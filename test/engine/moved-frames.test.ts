import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT } from '../../src/engine/state.ts';
import { allocateFrame, copyFrame, releaseFrame } from '../../src/memory/frames.ts';
import { NPT_KIND_LEAVING, NPT_KIND_MASK, NPT_PRESENT, NPT_WRITABLE } from '../../src/memory/layout.ts';
import { absentEntry, loadEntry, payloadOf, presentEntry, replaceEntry } from '../../src/memory/npt.ts';
import { requestShootdown } from '../../src/memory/shootdown.ts';
import { Random } from '../differential/random.ts';
import { BareMachine, DATA, PageTables, PTE, RAM } from './bare-machine.ts';
import { CODE_PAGES, codePages, DEVICE, deviceContents, hammerProgram, PAGES } from './hammer-program.ts';
import { TIERS, type Tier } from './tiers.ts';

/** Instructions that each program executes, programs of each kind, and the seed of the first one; more finds more. */
const INSTRUCTIONS = Number(process.env.BALLONET_MOVED_INSTRUCTIONS ?? 1e6);
const PROGRAMS = Number(process.env.BALLONET_MOVED_PROGRAMS ?? 3);
const FIRST_SEED = Number(process.env.BALLONET_MOVED_SEED ?? 100);
/** Instructions at most between two pauses. */
const MOST_AT_ONCE = 30_000;

/** The program's pages, and page tables behind them. */
const PROGRAM = RAM + 0x2000;
const TABLES_AT = RAM + 0x4000;
const CODE_AT = DATA;
const DATA_AT = CODE_AT + CODE_PAGES * 4096;
const PAGE_TABLES = DATA_AT + PAGES * 4096;
const gfn = (address: number): number => (address - RAM) / 4096;

/** What the memory manager does to pages while the hart sleeps, a few steps at a time, in one thread with the hart. */
class Mover {
  readonly #machine: BareMachine;
  readonly #random: Random;
  /** Pages that have begun to leave. */
  readonly #leaving: number[] = [];

  constructor(machine: BareMachine, random: Random) {
    this.#machine = machine;
    this.#random = random;
  }

  /** Some pages begin to leave, and some of those that were leaving come to another frame, to the same one anew, or stay. */
  move(): void {
    const random = this.#random;
    this.#machine.control.park();
    for (let steps = random.between(1, 4); steps > 0; steps--) {
      if (this.#leaving.length > 0 && random.chance(2)) {
        this.#settle(this.#leaving.splice(random.below(this.#leaving.length), 1)[0]!);
      } else this.#begin(this.#choose());
    }
    this.#machine.control.unpark();
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
    requestShootdown(guest, new Int32Array(1));
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
      releaseFrame(memory, frame);
      if (this.#random.chance(2)) frame = other;
      else {
        assert.equal(allocateFrame(memory), frame, 'the frame that was freed last is used next');
        copyFrame(memory, other, frame);
        releaseFrame(memory, other);
      }
    }
    replaceEntry(guest, page, presentEntry(frame, NPT_WRITABLE));
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
        if (random.chance(3)) mover.move();
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
  const mover = new Mover(machine, random);
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
    mover.move();
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
