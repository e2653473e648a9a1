/**
 * What another policy would have done: the uses of pages that a host has recorded are run through a model of its memory. A
 * policy sees of the model what it sees of a host, in steps of STEP_MS. What it takes, by whatever way, goes at once, and the
 * page that was not used for longest goes first; pages are not shared. So figures are to be compared with those of other
 * policies on the same trace, not with those of the host: guests that wait for memory use less of it in the same time.
 */

import type { Decision, GuestObservation, Policy } from '../memory/decision.ts';
import { STATE_HARD, STATE_HIGH } from '../memory/layout.ts';
import { sampleOf, type Usage, UsageModel } from '../memory/usage.ts';
import { type GuestRecord, type LookRecord, TraceError, type TraceRecord } from './trace.ts';

/** What a replay is made with. */
export interface ReplayOptions {
  policy: Policy;
  /** Machine memory in frames, of which the VMM takes as much as on the recorded host; that of this host by default. */
  machine?: number;
}

/** What became of a guest in a replay; pages. */
export interface ReplayedGuest {
  name: string;
  configured: number;
  /** Uses that were seen, of them first ones, and those whose page had been taken away. */
  uses: number;
  firstUses: number;
  misses: number;
  /** Means over its time. */
  memory: number;
  target: number;
  seconds: number;
  /** Pages that the recorded host read from swap for it. */
  recordedSwapIns: number;
}

/** What a replay came to. */
export interface ReplayResult {
  frames: number;
  seconds: number;
  guests: ReplayedGuest[];
  misses: number;
  /** Sum of the changes of all targets from one second to the next, in pages. */
  targetChanges: number;
}

/** Time between two steps of the policy, milliseconds. */
const STEP_MS = 100;
/** Steps in which a policy may take memory while a look is taken in, if there is none. */
const MOST_STEPS = 50;

/** Where a sampled page is. */
const [UNTOUCHED, PRESENT, TAKEN] = [0, 1, 2];

class ReplayGuest {
  readonly record: GuestRecord;
  readonly result: ReplayedGuest;
  /** Pages that stand behind each sampled one. */
  readonly scale: number;
  readonly #model: UsageModel;
  readonly #places: ReadonlyMap<number, number>;
  readonly #state: Uint8Array;
  /** Places in the sample of the pages that are present; those used last are last. */
  readonly #order = new Set<number>();
  #usage: Usage;
  #free = -1;
  /** Misses in a second since the last look. */
  #returns = 0;
  /** Pages that were asked for and not taken, less than one sampled page. */
  #owed = 0;
  #memorySum = 0;
  #targetSum = 0;
  #timeMs = 0;

  constructor(record: GuestRecord) {
    this.record = record;
    const sample = sampleOf(record.configured, record.samples);
    this.scale = record.configured / sample.length;
    this.#model = new UsageModel(sample.length, record.configured);
    this.#places = new Map(Array.from(sample, (gfn, place) => [gfn, place]));
    this.#state = new Uint8Array(sample.length);
    this.#usage = { workingSet: 0, misses: [] };
    const { name, configured } = record;
    const none = { uses: 0, firstUses: 0, misses: 0, memory: 0, target: 0, seconds: 0, recordedSwapIns: 0 };
    this.result = { name, configured, ...none };
  }

  get resident(): number {
    return this.#order.size * this.scale;
  }

  /** Takes in a look; `room` is called before each page that needs a frame. */
  look(record: LookRecord, elapsed: number, room: () => void): void {
    const place = (gfn: number): number => {
      const found = this.#places.get(gfn);
      if (found === undefined) throw new TraceError(`guest ${this.record.name}: page ${gfn} is not in its sample`);
      return found;
    };
    const gone = Array.from(record.gone, place);
    for (const page of gone) {
      this.#state[page] = UNTOUCHED;
      this.#order.delete(page);
    }
    const used = Array.from(record.used, place);
    const missesBefore = this.result.misses;
    for (const page of used) {
      this.result.uses += this.scale;
      if (this.#state[page] !== PRESENT) {
        room();
        if (this.#state[page] === TAKEN) this.result.misses += this.scale;
        else this.result.firstUses += this.scale;
        this.#state[page] = PRESENT;
      }
      this.#order.delete(page);
      this.#order.add(page);
    }
    this.#usage = this.#model.look(Math.max(0, elapsed - record.lost), used, gone);
    this.#returns = ((this.result.misses - missesBefore) * 1000) / Math.max(1, elapsed);
    this.#free = record.free;
    this.result.recordedSwapIns += record.swapIns;
  }

  /** Takes pages that were not used for longest. */
  take(pages: number): void {
    this.#owed = Math.min(this.#owed + pages, this.resident);
    for (const page of this.#order) {
      if (this.#owed < this.scale) break;
      this.#owed -= this.scale;
      this.#order.delete(page);
      this.#state[page] = TAKEN;
    }
  }

  observe(): GuestObservation {
    const { slot, name, configured, minimum, maximum, shares, stallLimit } = this.record;
    const resident = this.resident;
    const usage = this.#usage.misses.length === 0 ? { workingSet: Math.round(resident), misses: [] } : this.#usage;
    // A guest without a driver: what is decided is taken at once. What it calls free can't be more than what it has.
    const balloon = {
      driver: false,
      target: 0,
      actual: 0,
      stuckMs: 0,
      available: -1,
      majorFaults: 0,
      ease: configured,
      manual: -1,
      free: this.#free,
    };
    return {
      ...{ slot, name, configured, minimum, maximum, shares, resident, balloon },
      ...{
        merged: 0,
        charged: resident,
        swapped: 0,
        starved: false,
        stalled: 0,
        returns: this.#returns,
        stallLimit: stallLimit / 1000,
      },
      ...usage,
    };
  }

  note(target: number, elapsed: number): void {
    this.#memorySum += this.resident * elapsed;
    this.#targetSum += target * elapsed;
    this.#timeMs += elapsed;
  }

  finish(): ReplayedGuest {
    const time = Math.max(1, this.#timeMs);
    return {
      ...this.result,
      memory: this.#memorySum / time,
      target: this.#targetSum / time,
      seconds: this.#timeMs / 1000,
    };
  }
}

/** Runs a trace through a policy. @throws TraceError if the trace makes no sense */
export function replay(records: Iterable<TraceRecord>, options: ReplayOptions): ReplayResult {
  const model = new ReplayHost(options);
  for (const record of records) {
    model.take(record);
  }
  return model.finish();
}

class ReplayHost {
  readonly #options: ReplayOptions;
  readonly #guests = new Map<number, ReplayGuest>();
  readonly #finished: ReplayedGuest[] = [];
  /** When each guest was looked at last. */
  readonly #looked = new Map<number, number>();
  #frames = 0;
  #now = 0;
  #stepped = 0;
  #state = STATE_HIGH as number;
  #targets = new Map<number, number>();
  #targetsSecond = 0;
  #targetsThen = new Map<number, number>();
  #targetChanges = 0;

  constructor(options: ReplayOptions) {
    this.#options = options;
  }

  take(record: TraceRecord): void {
    switch (record.kind) {
      case 'host':
        this.#frames = Math.max(1, record.frames + (this.#options.machine ?? record.machine) - record.machine);
        break;
      case 'guest':
        this.#guests.set(record.slot, new ReplayGuest(record));
        this.#looked.set(record.slot, this.#now);
        break;
      case 'end':
        this.#pass(record.elapsed);
        this.#finished.push(this.#guest(record.slot).finish());
        this.#guests.delete(record.slot);
        break;
      case 'look': {
        this.#pass(record.elapsed);
        const guest = this.#guest(record.slot);
        const since = this.#now - this.#looked.get(record.slot)!;
        this.#looked.set(record.slot, this.#now);
        guest.look(record, since, () => this.#makeRoom(guest.scale));
        break;
      }
    }
  }

  finish(): ReplayResult {
    for (const guest of this.#guests.values()) this.#finished.push(guest.finish());
    const misses = this.#finished.reduce((sum, guest) => sum + guest.misses, 0);
    return {
      frames: this.#frames,
      seconds: this.#now / 1000,
      guests: this.#finished,
      misses,
      targetChanges: this.#targetChanges,
    };
  }

  #guest(slot: number): ReplayGuest {
    const guest = this.#guests.get(slot);
    if (guest === undefined) throw new TraceError(`the trace has a look at slot ${slot}, in which there is no guest`);
    return guest;
  }

  get #free(): number {
    let used = 0;
    for (const guest of this.#guests.values()) used += guest.resident;
    return this.#frames - used;
  }

  /** Time passes. */
  #pass(elapsed: number): void {
    for (const [slot, guest] of this.#guests) guest.note(this.#targets.get(slot) ?? guest.record.maximum, elapsed);
    this.#now += elapsed;
    // A host that sleeps takes one long step, too.
    if (this.#now - this.#stepped >= STEP_MS) {
      this.#step(this.#now - this.#stepped);
      this.#stepped = this.#now;
    }
  }

  #step(elapsedMs: number): Decision {
    const guests = [...this.#guests.values()];
    const decision = this.#options.policy({
      elapsedMs,
      frames: this.#frames,
      free: Math.max(0, this.#free),
      state: this.#state,
      swapReady: true,
      guests: guests.map((guest) => guest.observe()),
    });
    this.#state = decision.state;
    for (const { slot, target, page } of decision.guests) {
      this.#targets.set(slot, target);
      if (page > 0) this.#guests.get(slot)?.take(page);
    }
    const second = Math.floor(this.#now / 1000);
    if (second > this.#targetsSecond) {
      for (const [slot, target] of this.#targets) {
        this.#targetChanges += Math.abs(target - (this.#targetsThen.get(slot) ?? target));
      }
      this.#targetsSecond = second;
      this.#targetsThen = new Map(this.#targets);
    }
    return decision;
  }

  /** Frames are taken away until there is one for a sampled page, as harts wait for the memory manager to do. */
  #makeRoom(pages: number): void {
    if (this.#free >= this.#frames * 0.02 + pages) return;
    for (let steps = 0; steps < MOST_STEPS && this.#free < pages; steps++) {
      const { state } = this.#step(STEP_MS);
      if (state < STATE_HARD && this.#free >= pages) return;
    }
  }
}
