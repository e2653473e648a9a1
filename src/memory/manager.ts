/**
 * The memory manager of a host: observes its guests, asks the policy, and carries out what it decides with the mechanisms
 * beside this file. It belongs to one thread, which calls `tick` from time to time and `wait` in between; the harts run on,
 * each shootdown aside.
 */

import { addEvents, guestSlots, type HostAccount, noEvents, takeAccount } from './account.ts';
import { checkMemory } from './check.ts';
import type { Decision, Explanation, GuestObservation, Observation, Policy } from './decision.ts';
import { Guest } from './guest.ts';
import {
  HART_REQUEST_CONTROL,
  HEADER_ARRIVALS_WANTED,
  HEADER_MANAGER_WAKE,
  HEADER_REPAIR,
  HEADER_STATE,
  HEADER_SWAP_SLOTS,
  HEADER_WATERMARK,
  HEADER_WITHHELD,
  STATE_HARD,
  STATE_HIGH,
} from './layout.ts';
import {
  COUNT_FAULTS,
  COUNT_MERGED,
  COUNT_RESIDENT,
  COUNT_STARVATIONS,
  GUEST_BALLOON_ACTUAL,
  GUEST_BALLOON_TARGET,
  GUEST_BLOCKED,
  GUEST_ENDED,
  GUEST_STARVED,
  GUEST_STATE,
  GUEST_TARGET,
  GUEST_WORKING_SET,
} from './layout-guest.ts';
import type { MachineMemory } from './machine-memory.ts';
import { type Managed, manage, takenPages } from './managed-guest.ts';
import type { HostSnapshot, ManagerOptions, ManagerWork } from './manager-options.ts';
import { Reclaimer } from './reclaim.ts';
import { removeGuest } from './removal.ts';
import { repairMemory } from './repair.ts';
import { Sharing } from './sharing.ts';
import { SharingPace } from './sharing-pace.ts';
import { Transit } from './transit.ts';
import { Withheld } from './withheld.ts';
import { WorkingSetSampler } from './working-set.ts';

/** Part of the machine memory that is looked at when it has been taken, though there was nothing to do. */
const NOTICEABLE = 1 / 64;
/** Milliseconds without paging after the swap has failed. */
const PAGING_PAUSE_MS = 1000;
/** The memory manager. */
export class MemoryManager {
  readonly #memory: MachineMemory;
  readonly #options: ManagerOptions;
  readonly #sampler: WorkingSetSampler;
  readonly #sharing: Sharing;
  readonly #pace: SharingPace;
  readonly #reclaimer: Reclaimer;
  readonly #withheld: Withheld;
  #policy: Policy;
  readonly #guests = new Map<number, Managed>();
  /** Events of guests that are gone. */
  readonly #departed = noEvents();
  #lastTick: number;
  #wakeSeen = 0;
  /** Nothing is to be done before something happens. */
  #quiet = false;
  /** Free frames at the last look. */
  #freeSeen = 0;
  /** What was observed and decided last. */
  #observation: Observation | undefined;
  #decision: Decision | undefined;
  #pagingPausedUntil = Number.NEGATIVE_INFINITY;
  #ticks = 0;
  #scanned = 0;
  #busyMs = 0;

  constructor(memory: MachineMemory, options: ManagerOptions) {
    this.#memory = memory;
    this.#options = options;
    const random = options.random ?? Math.random;
    const transit = new Transit(memory, (error) => this.#report(error), options.shootdownTimeoutMs);
    this.#sampler = new WorkingSetSampler(options.workingSet);
    this.#sharing = new Sharing(memory, transit, random, options.now, options.contents);
    this.#pace = new SharingPace(options.sharingLoad);
    this.#reclaimer = new Reclaimer(memory, transit, this.#sharing, options.store);
    this.#withheld = new Withheld(memory);
    this.#policy = options.policy;
    this.#lastTick = options.now();
  }

  /** Has another policy decide from now on. */
  set policy(policy: Policy) {
    this.#policy = policy;
    this.#quiet = false;
  }

  /** Keeps frames from guests, as many as are free now, and the rest as guests give them. */
  withhold(frames: number): void {
    this.#withheld.want(frames);
    this.#quiet = false;
  }

  /**
   * One step: guests that came and went, observation, decision, balloon targets, sharing, paging. Takes well under a
   * millisecond when there is nothing to do, and up to some tens of milliseconds under pressure.
   */
  tick(): void {
    const { now } = this.#options;
    this.#wakeSeen = Atomics.load(this.#memory.i32, HEADER_MANAGER_WAKE);
    const start = now();
    const elapsedMs = Math.max(0, start - this.#lastTick);
    this.#lastTick = start;
    this.#ticks++;
    if (Atomics.load(this.#memory.i32, HEADER_REPAIR) !== 0) {
      repairMemory(this.#memory, this.#held);
    }
    this.#meetGuests(start);
    this.#withheld.step();
    const observation = this.#observe(start, elapsedMs);
    const decision = this.#policy(observation);
    [this.#observation, this.#decision] = [observation, decision];
    this.#apply(decision);
    this.#share(decision.state, elapsedMs);
    this.#page(decision, elapsedMs);
    this.#quiet = this.#isQuiet(decision);
    this.#busyMs += now() - start;
  }

  /**
   * Sleeps until a hart starves, a guest comes or ends, or `timeoutMs` are over. While harts still starve after a tick that
   * could not help them, it sleeps a few milliseconds at least. As long as there is nothing to do, it sleeps `quietMs`, or
   * until some of the memory that was free has been taken.
   */
  wait(timeoutMs: number, quietMs: number = timeoutMs): void {
    const { i32 } = this.#memory;
    if (this.#quiet && quietMs > timeoutMs) {
      const watermark = Math.max(0, Math.floor(this.#freeSeen - this.#memory.guestFrames * NOTICEABLE));
      Atomics.store(i32, HEADER_WATERMARK, watermark);
      // Whoever takes a frame from now on looks at it; what was taken before shows here.
      if (this.#memory.freeFrames >= watermark) {
        Atomics.wait(i32, HEADER_MANAGER_WAKE, this.#wakeSeen, quietMs);
      }
      Atomics.store(i32, HEADER_WATERMARK, 0);
      return;
    }
    if (this.#runningGuests().some((guest) => guest.get(GUEST_STARVED) > 0)) {
      Atomics.wait(i32, HEADER_MANAGER_WAKE, Atomics.load(i32, HEADER_MANAGER_WAKE), Math.min(timeoutMs, 5));
    } else {
      Atomics.wait(i32, HEADER_MANAGER_WAKE, this.#wakeSeen, timeoutMs);
    }
  }

  /** Steps so far, pages hashed by page sharing, and milliseconds that the steps took. */
  get work(): ManagerWork {
    return { ticks: this.#ticks, scanned: this.#scanned, busyMs: Math.round(this.#busyMs) };
  }

  /** The account now, as an object that can be turned to JSON. */
  snapshot(): HostSnapshot {
    const account = this.#account();
    const totals = noEvents();
    addEvents(totals, this.#departed);
    const guests = account.guests.map((guest) => {
      addEvents(totals, guest.events);
      return guest;
    });
    return { ...account, guests, totals, manager: this.work };
  }

  /** Why a guest has what it has, undefined if it has not been looked at yet. */
  explain(slot: number): Explanation | undefined {
    const [observation, decision] = [this.#observation, this.#decision];
    const guest = observation?.guests.find((each) => each.slot === slot);
    const decided = decision?.guests.find((each) => each.slot === slot);
    const managed = this.#guests.get(slot);
    if (observation === undefined || decision === undefined || !guest || !decided || managed === undefined) {
      return undefined;
    }
    let configured = 0;
    for (const each of observation.guests) {
      configured += each.configured;
    }
    return {
      observation: { ...observation, guests: observation.guests.length, configured },
      guest,
      state: decision.state,
      decision: decided,
      taken: takenPages(managed),
    };
  }

  /** Throws InvariantError if the account of the memory is wrong. Takes milliseconds; not while a tick runs. */
  check(): void {
    checkMemory(this.#memory, this.#held);
  }

  /** Frames that the manager has a reference to. */
  get #held(): readonly number[] {
    return [...this.#sharing.merger.held, ...this.#withheld.frames];
  }

  /**
   * Takes pages from the guest in a slot without a decision of the policy. Returns the number of frames that became free.
   * Throws what went wrong; no page is lost then.
   */
  pageOut(slot: number, pages: number, force: boolean): number {
    const managed = this.#guests.get(slot);
    if (managed === undefined) {
      return 0;
    }
    const { freed, error } = this.#reclaimer.take(managed.guest, pages, force, () => false);
    if (error !== undefined) throw error;
    return freed;
  }

  /** Frees the guests that have ended, takes up those that are new. */
  #meetGuests(now: number): void {
    const memory = this.#memory;
    for (const slot of guestSlots(memory)) {
      let managed = this.#guests.get(slot);
      if (managed === undefined) {
        managed = manage(Guest.attach(memory, slot), now);
        this.#guests.set(slot, managed);
      }
      if (managed.guest.get(GUEST_STATE) === GUEST_ENDED) {
        const last = this.#account().guests.find((account) => account.slot === slot);
        removeGuest(managed.guest);
        if (last !== undefined) {
          addEvents(this.#departed, last.events);
        }
        this.#guests.delete(slot);
        this.#reclaimer.forget(slot);
        this.#sampler.forget(slot);
        this.#options.onGone?.(slot, now);
        this.#sharing.forget(slot);
      }
    }
  }

  #observe(now: number, elapsedMs: number): Observation {
    const { i32 } = this.#memory;
    const account = this.#account();
    this.#freeSeen = account.free;
    const guests: GuestObservation[] = [];
    for (const of of account.guests) {
      const managed = this.#guests.get(of.slot);
      if (managed === undefined) {
        continue;
      }
      const { guest } = managed;
      const { workingSet, misses } = this.#sampler.observe(guest, now);
      guest.set(GUEST_WORKING_SET, workingSet);
      const starvations = guest.get(COUNT_STARVATIONS);
      guests.push({
        slot: of.slot,
        name: of.name,
        configured: of.configured,
        minimum: of.minimum,
        maximum: of.maximum,
        shares: of.shares,
        resident: of.resident,
        merged: of.merged,
        charged: of.charged,
        swapped: of.swapped,
        workingSet,
        misses,
        starved: starvations !== managed.starvations,
        stalled: managed.stalls.observe(now),
        stallLimit: of.stallLimit,
        returns: managed.returns.observe(now),
        balloon: managed.balloon.observe(now),
      });
      managed.starvations = starvations;
    }
    return {
      elapsedMs,
      // What the compressed pool has is nobody's until its pages are written to the swap file.
      frames: account.frames - account.pool.frames,
      free: account.free,
      state: Atomics.load(i32, HEADER_STATE),
      swapReady: this.#options.store !== undefined && i32[HEADER_SWAP_SLOTS] !== 0 && now >= this.#pagingPausedUntil,
      guests,
    };
  }

  /** What costs nothing: targets, balloons, blocking. */
  #apply(decision: Decision): void {
    const before = Atomics.exchange(this.#memory.i32, HEADER_STATE, decision.state);
    if (before === STATE_HIGH && decision.state !== STATE_HIGH) {
      // Guests that sleep have not said for a while how much memory they need.
      for (const { guest } of this.#guests.values()) guest.request(HART_REQUEST_CONTROL, [0]);
    }
    let unblocked = false;
    for (const { slot, target, balloonTarget, block } of decision.guests) {
      const managed = this.#guests.get(slot);
      if (managed === undefined) {
        continue;
      }
      const { guest } = managed;
      guest.set(GUEST_TARGET, target);
      if (guest.get(GUEST_BALLOON_TARGET) !== balloonTarget) {
        guest.set(GUEST_BALLOON_TARGET, balloonTarget);
        guest.request(HART_REQUEST_CONTROL);
      }
      unblocked ||= !block && guest.get(GUEST_BLOCKED) !== 0;
      guest.set(GUEST_BLOCKED, block ? 1 : 0);
    }
    if (unblocked) {
      this.#memory.progress();
    }
  }

  /** Page sharing, in the part of the time that it may take. */
  #share(state: number, elapsedMs: number): void {
    const { now, sharing = true } = this.#options;
    const guests = this.#runningGuests();
    if (!sharing || guests.length === 0) {
      return;
    }
    let unmerged = 0;
    let faults = 0;
    for (const guest of guests) {
      unmerged += guest.get(COUNT_RESIDENT) - guest.get(COUNT_MERGED);
      faults += guest.get(COUNT_FAULTS);
    }
    const arrived = this.#sharing.arrived(guests) > 0;
    // A guest that is alone, and has room for all of its memory, has nobody to share with and nobody to save for.
    const wanted =
      guests.length > 1 || guests[0]!.pages > this.#memory.guestFrames - this.#memory.i32[HEADER_WITHHELD]!;
    Atomics.store(this.#memory.i32, HEADER_ARRIVALS_WANTED, wanted ? 1 : 0);
    const pages = this.#pace.pages(state, elapsedMs, unmerged, faults, arrived, wanted);
    if (pages > 0) {
      const start = now();
      const result = this.#sharing.scan(
        guests,
        pages,
        start + this.#pace.limitMs,
        this.#pace.finding || state !== STATE_HIGH,
      );
      this.#pace.note(result, now() - start, unmerged, faults);
      this.#scanned += result.scanned;
    }
  }

  #page(decision: Decision, elapsedMs: number): void {
    const { now, pagingMs = 40 } = this.#options;
    const start = now();
    const limit = start + (decision.state > STATE_HARD ? pagingMs * 4 : pagingMs);
    for (const { slot, page, urgent, force, why } of decision.guests) {
      const managed = this.#guests.get(slot);
      if (managed === undefined) {
        continue;
      }
      if (page <= 0 || now() < this.#pagingPausedUntil) {
        managed.clock.pass(elapsedMs, false);
        continue;
      }
      const { guest, clock } = managed;
      const most = force ? guest.pages : clock.steps(guest, elapsedMs, urgent > 0);
      const { taken, error } = this.#reclaimer.take(guest, page, force, () => now() >= limit, most);
      clock.pass(elapsedMs, taken < urgent);
      managed.paged[why.paging ?? 'urgent'] += taken;
      if (error !== undefined) {
        this.#pagingPausedUntil = now() + PAGING_PAUSE_MS;
        this.#report(error);
      }
    }
  }

  /** True if all balloons are where they stay and sharing finds little: the next step would decide the same. */
  #isQuiet({ state, guests }: Decision): boolean {
    const { sharing = true } = this.#options;
    if (state !== STATE_HIGH || !this.#withheld.settled || (sharing && guests.length > 0 && this.#pace.finding)) {
      return false;
    }
    return guests.every(({ slot, page, balloonTarget, why }) => {
      const guest = this.#guests.get(slot)?.guest;
      if (guest === undefined || guest.get(GUEST_STARVED) > 0 || page > 0) {
        return false;
      }
      const stays = balloonTarget === 0 || why.balloon === 'manual' || why.balloon === 'stays';
      return stays && guest.get(GUEST_BALLOON_ACTUAL) === balloonTarget;
    });
  }

  #account(): HostAccount {
    const memory = this.#memory;
    return takeAccount(memory, (slot) => this.#guests.get(slot)?.guest ?? Guest.attach(memory, slot));
  }

  #runningGuests(): Guest[] {
    const guests: Guest[] = [];
    for (const { guest } of this.#guests.values()) {
      if (guest.get(GUEST_STATE) !== GUEST_ENDED) {
        guests.push(guest);
      }
    }
    return guests;
  }

  #report(error: Error): void {
    this.#options.onError?.(error);
  }
}
