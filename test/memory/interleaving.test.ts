import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addEvents, type EventCounts, noEvents, takeAccount } from '../../src/memory/account.ts';
import { checkMemory } from '../../src/memory/check.ts';
import { SwapReadError } from '../../src/memory/errors.ts';
import { Guest } from '../../src/memory/guest.ts';
import { LOCK_OWNER_MANAGER, PAGE_SIZE } from '../../src/memory/layout.ts';
import { GUEST_ENDED, GUEST_STATE } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { createPool } from '../../src/memory/pool.ts';
import { Reclaimer } from '../../src/memory/reclaim.ts';
import { removeGuest } from '../../src/memory/removal.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { createSwap } from '../../src/memory/swap.ts';
import { Transit } from '../../src/memory/transit.ts';
import { WorkingSetSampler } from '../../src/memory/working-set.ts';
import { DISK_BLOCKS, TestGuest, TestStore } from './model.ts';
import { noise } from './small.ts';

const PAGES = 8;
const GUESTS = 3;
/** Interleavings that are tried for each kind of guest. */
const RUNS = Number(process.env.BALLONET_TEST_RUNS ?? 250);
/** What they are made from, to have the same ones again. */
const { BALLONET_TEST_SEED: SEED } = process.env;

const OFTEN = [
  'share',
  'pageOut',
  'force',
  'write',
  'read',
  'execute',
  'pattern',
  'pattern',
  'noise',
  'noise',
] as const;

/** Events that have to happen often in these runs. */
const EVENTS = [
  'zeroFills',
  'copies',
  'swapIns',
  'rescues',
  'swapOuts',
  'cleanDrops',
  'merges',
  'zeroMerges',
  'balloonFrames',
  'reportedFrames',
  'swapFailures',
  'poolOuts',
  'poolIns',
  'readAhead',
  'diskDrops',
  'diskIns',
  'overwrites',
] as const;

/** One thing that can happen; numbers are taken modulo whatever there is. */
interface Step {
  what: (typeof STEPS)[number];
  guest: number;
  hart: number;
  page: number;
  value: number;
}

const HART_STEPS = [
  'read',
  'execute',
  'write',
  'pattern',
  'noise',
  'zeros',
  'dmaRead',
  'dmaWrite',
  'discard',
  'inflate',
  'report',
  'diskRead',
  'diskWrite',
  'stores',
] as const;
const STEPS = [
  ...HART_STEPS,
  'share',
  'pageOut',
  'force',
  'sample',
  'freeze',
  'exit',
  'failWrite',
  'failRead',
  'check',
] as const;

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(...STEPS, ...HART_STEPS, ...HART_STEPS, ...HART_STEPS, ...OFTEN, ...OFTEN, ...OFTEN),
  guest: fc.nat(GUESTS - 1),
  hart: fc.nat(1),
  page: fc.nat(PAGES - 1),
  value: fc.nat(255),
});

/** The machine that the steps are done on. Harts may act whenever the manager gives the mutex back. */
class Machine {
  readonly #host: MachineMemory;
  readonly #store = new TestStore();
  readonly #guests: TestGuest[] = [];
  readonly #harts: number;
  readonly #transit: Transit;
  readonly #sharing: Sharing;
  readonly #reclaimer: Reclaimer;
  readonly #sampler: WorkingSetSampler;
  readonly #managers: MachineMemory;
  readonly #frames: number;
  /** Steps that harts do in the middle of what the manager does, and the manager in the middle of a swap-in. */
  readonly #meanwhile: Step[];
  #inManager = false;
  /** A hart is in the middle of a fault; another one might have to wait for it, which one thread can't. */
  #inFault = false;
  #now = 0;
  #names = 0;

  constructor(harts: number, slots: number, pool: number, meanwhile: Step[]) {
    this.#harts = harts;
    this.#meanwhile = meanwhile;
    // Enough frames for every page, what is kept of it, and one copy in flight for each, as one thread can't wait for itself.
    const heapPages = 64;
    const frames = 2 * GUESTS * PAGES + 8 + pool;
    const pages = 1 + 1 + heapPages + 1 + frames;
    this.#host = MachineMemory.format(new SharedArrayBuffer(pages * PAGE_SIZE), {
      heapBytes: heapPages * PAGE_SIZE,
      reserveFrames: 1,
    });
    createSwap(this.#host, slots, 20);
    createPool(this.#host, pool);
    this.#frames = this.#host.freeFrames;
    const manager = MachineMemory.attach(this.#host.buffer, LOCK_OWNER_MANAGER);
    this.#managers = manager;
    const unlock = manager.unlock.bind(manager);
    manager.unlock = () => {
      unlock();
      this.#interrupt();
    };
    this.#store.onWrite = () => this.#interrupt();
    this.#store.onRead = () => {
      const next = this.#inManager ? undefined : this.#meanwhile.pop();
      if (next !== undefined) {
        this.#inFault = true;
        this.#manage(next.value % 2 === 0 ? 'share' : 'force', next.guest);
        this.#inFault = false;
      }
    };
    let seed = 1;
    const random = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fff_ffff;
      return seed / 0x8000_0000;
    };
    const late = (error: Error) => assert.fail(error);
    this.#transit = new Transit(manager, late, 100);
    this.#sharing = new Sharing(manager, this.#transit, random, () => 0);
    this.#reclaimer = new Reclaimer(manager, this.#transit, this.#sharing, this.#store);
    this.#sampler = new WorkingSetSampler({ samples: 8, lookMs: 3 });
    for (let i = 0; i < GUESTS; i++) {
      this.#guests.push(this.#create());
    }
  }

  #create(): TestGuest {
    const guest = new TestGuest(this.#host, `guest ${this.#names++}`, PAGES, this.#harts, this.#store);
    guest.disk.onRead = this.#store.onRead;
    return guest;
  }

  /** A hart does something while the manager is busy. */
  #interrupt(): void {
    const next = this.#inFault ? undefined : this.#meanwhile.pop();
    if (next !== undefined && (HART_STEPS as readonly string[]).includes(next.what)) {
      this.#hartStep(next);
    }
  }

  do(next: Step): void {
    switch (next.what) {
      case 'share':
      case 'pageOut':
      case 'force':
      case 'sample':
        this.#manage(next.what, next.guest);
        break;
      case 'freeze': {
        const guest = this.#guests[next.guest]!;
        if (guest.frozen) this.#again(() => guest.thaw());
        else guest.freeze();
        break;
      }
      case 'exit': {
        const guest = this.#guests[next.guest]!;
        guest.end();
        const handle = Guest.attach(this.#host, guest.slot);
        assert.equal(handle.get(GUEST_STATE), GUEST_ENDED);
        removeGuest(handle);
        this.#reclaimer.forget(guest.slot);
        this.#sampler.forget(guest.slot);
        this.#sharing.forget(guest.slot);
        this.#guests[next.guest] = this.#create();
        break;
      }
      case 'failWrite':
        this.#store.failWrites.push(
          next.value % 2 === 0 ? new Error('I/O error') : Object.assign(new Error('no space'), { code: 'ENOSPC' }),
        );
        break;
      case 'failRead':
        (next.value % 2 === 0 ? this.#store : this.#guests[next.guest]!.disk).failReads.push(new Error('I/O error'));
        break;
      case 'check':
        checkMemory(this.#host);
        break;
      default:
        this.#hartStep(next);
    }
  }

  #manage(what: 'share' | 'pageOut' | 'force' | 'sample', index: number): void {
    this.#inManager = true;
    // The handle belongs to the manager's view of the memory.
    const guests = this.#guests.map(({ slot }) => Guest.attach(this.#managers, slot));
    const guest = guests[index]!;
    if (what === 'share') {
      this.#sharing.scan(guests, 30, 1);
    } else if (what === 'sample') {
      this.#sampler.observe(guest, this.#now++);
    } else {
      this.#reclaimer.take(guest, 3, what === 'force', () => false);
    }
    this.#inManager = false;
  }

  /** Does something until no page fails to come back from swap. */
  #again(action: () => void): void {
    try {
      action();
    } catch (error) {
      // The page is still in swap, and the access can be tried again.
      if (!(error instanceof SwapReadError)) {
        throw error;
      }
      this.#again(action);
    }
  }

  #hartStep(next: Step): void {
    const guest = this.#guests[next.guest]!;
    this.#again(() => {
      if (guest.frozen) guest.snapshot();
      else this.#guestStep(guest, next);
    });
  }

  #guestStep(guest: TestGuest, { what, hart, page, value }: Step): void {
    switch (what) {
      case 'read':
        guest.read(hart, page, value % 2);
        break;
      case 'execute':
        guest.execute(hart, page);
        break;
      case 'write':
        guest.write(hart, page, (value * 16) % PAGE_SIZE, value, value % 2);
        break;
      case 'pattern':
        guest.dmaWrite(hart, page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(1 + (value % 2)));
        break;
      case 'noise':
        guest.dmaWrite(hart, page * PAGE_SIZE, noise(value % 8));
        break;
      case 'zeros':
        guest.dmaWrite(hart, page * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
        break;
      case 'dmaRead':
        guest.dmaRead(hart, page);
        break;
      case 'dmaWrite': {
        const start = page * PAGE_SIZE + value * 8;
        guest.dmaWrite(hart, start, new Uint8Array(Math.min(5000, PAGES * PAGE_SIZE - start)).fill(value));
        break;
      }
      case 'stores': {
        // All of a page, or a part of it, in an order of its own.
        const length = value % 3 === 0 ? PAGE_SIZE : 1 + value * 8;
        const start = value % 3 === 0 ? 0 : (value * 5) % (PAGE_SIZE - length);
        guest.stores(hart, page, start, new Uint8Array(length).fill(value));
        break;
      }
      case 'diskRead':
        guest.diskRead(page, value % (DISK_BLOCKS - 3), Math.min(1 + (value % 3), PAGES - page));
        break;
      case 'diskWrite': {
        const length = Math.min(value % 4 === 0 ? 1000 : PAGE_SIZE * (1 + (value % 2)), (PAGES - page) * PAGE_SIZE);
        guest.diskWrite(page, (value % (DISK_BLOCKS - 3)) * PAGE_SIZE + (value % 3 === 0 ? 512 : 0), length);
        break;
      }
      case 'discard':
        guest.discard(hart, page, Math.min(1 + (value % 5), PAGES - page));
        break;
      case 'inflate':
        // Some of them adjacent, the last one first.
        guest.inflate(Array.from({ length: PAGES }, (_, i) => PAGES - 1 - i).filter((i) => (value & (1 << i)) !== 0));
        break;
      case 'report':
        guest.report(page, Math.min(1 + (value % 5), PAGES - page));
        break;
    }
  }

  /** Adds what has happened to `sum`. */
  addEvents(sum: EventCounts): void {
    for (const { events } of takeAccount(this.#host).guests) {
      addEvents(sum, events);
    }
  }

  /** All guests still see what they must, and nothing is left when they are gone. */
  finish(): void {
    this.#meanwhile.length = 0;
    this.#store.failReads.length = 0;
    for (const { disk } of this.#guests) disk.failReads.length = 0;
    checkMemory(this.#host);
    for (const guest of this.#guests) {
      if (guest.frozen) guest.thaw();
      guest.verify();
    }
    checkMemory(this.#host);
    for (const guest of this.#guests) {
      guest.end();
      removeGuest(Guest.attach(this.#host, guest.slot));
    }
    checkMemory(this.#host);
    assert.equal(this.#host.freeFrames, this.#frames);
  }
}

for (const harts of [1, 2]) {
  test(`any interleaving keeps contents and account exact (${harts} harts)`, () => {
    const happened = noEvents();
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 100, maxLength: 300 }),
        fc.array(step, { minLength: 50, maxLength: 200 }),
        fc.integer({ min: 3, max: 40 }),
        fc.integer({ min: 0, max: 4 }),
        (steps, meanwhile, slots, pool) => {
          const machine = new Machine(harts, slots, pool, [...meanwhile]);
          for (const next of steps) {
            machine.do(next);
          }
          machine.addEvents(happened);
          machine.finish();
        },
      ),
      { numRuns: RUNS, endOnFailure: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    );
    // The property means nothing if the machines have hardly done anything.
    for (const event of EVENTS) {
      assert.ok(happened[event] > RUNS / 10, `${event} happened ${happened[event]} times only`);
    }
  });
}
