import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Decision, GuestObservation } from '../../src/memory/decision.ts';
import { STATE_HIGH, STATE_LOW, STATE_SOFT } from '../../src/memory/layout.ts';
import { createPolicy } from '../../src/policy/policy.ts';

/** Pages in a mebibyte. */
const MIB = 256;
const TICK_MS = 100;
const CONFIGURED = 256 * MIB;
/** What a guest's kernel takes. */
const KERNEL = 20 * MIB;

/**
 * A guest as the policy sees one, with the behaviour of a Linux guest that reports free pages: memory of its own that it
 * can't give up, and a page cache that the balloon pushes out.
 */
class Guest {
  own: number;
  cache: number;
  wantsOwn: number;
  wantsCache: number;
  swapped = 0;
  balloon = 0;
  target = 0;
  maximum = CONFIGURED;
  /** Pages brought back from swap because they were in use. */
  swapIns = 0;
  readonly #driver: boolean;
  readonly #slot: number;

  constructor(slot: number, own: number, cache: number, driver: boolean) {
    this.#slot = slot;
    this.own = 10 * MIB;
    this.cache = 10 * MIB;
    this.wantsOwn = own;
    this.wantsCache = cache;
    this.#driver = driver;
  }

  get resident(): number {
    return KERNEL + this.own + this.cache - this.swapped;
  }

  observe(): GuestObservation {
    const available = Math.max(0, CONFIGURED - KERNEL - this.own - this.balloon);
    const { target, balloon: actual } = this;
    const { resident } = this;
    return {
      slot: this.#slot,
      name: `g${this.#slot}`,
      configured: CONFIGURED,
      minimum: CONFIGURED / 4,
      maximum: this.maximum,
      shares: 256,
      resident,
      merged: 0,
      charged: resident,
      swapped: this.swapped,
      workingSet: this.own,
      misses: [],
      starved: false,
      stalled: 0,
      stallLimit: 1,
      returns: 0,
      balloon: {
        driver: this.#driver,
        target,
        actual,
        stuckMs: 0,
        free: available - this.cache,
        available,
        majorFaults: 0,
        ease: CONFIGURED,
        manual: -1,
      },
    };
  }

  /** A tick of the guest; `free` frames are there. Returns the frames that it has taken. */
  live(decision: Decision['guests'][number], free: number): number {
    const before = this.resident;
    this.target = decision.balloonTarget;
    if (this.#driver) {
      this.balloon = Math.min(this.target, CONFIGURED - KERNEL - this.own);
    }
    this.swapped += Math.min(decision.page, Math.max(0, this.resident));
    // What is swapped is in use sooner or later, the more of it the sooner.
    const back = Math.min(this.swapped, Math.round((this.swapped * this.own) / (this.own + this.cache + KERNEL) / 20));
    const room = CONFIGURED - KERNEL - this.balloon;
    const limit = decision.block ? 0 : Math.max(0, free);
    const grow = Math.min(MIB, limit);
    this.own = Math.min(this.wantsOwn, this.own + grow, room);
    this.swapped = Math.min(this.swapped, this.own + this.cache);
    this.cache = Math.max(0, Math.min(this.wantsCache, this.cache + Math.min(MIB / 4, limit), room - this.own));
    this.swapped -= Math.min(back, limit);
    this.swapIns += Math.min(back, limit);
    return this.resident - before;
  }
}

function simulate(frames: number, guests: Guest[], seconds: number, state: number = STATE_HIGH) {
  const policy = createPolicy();
  const states: number[] = [];
  const balloons: number[] = [];
  const targets: number[][] = [];
  let free = frames - guests.reduce((sum, { resident }) => sum + resident, 0);
  let decision: Decision = { state, guests: [] };
  for (let tick = 0; tick < seconds * 10; tick++) {
    decision = policy({
      elapsedMs: TICK_MS,
      frames,
      free: Math.max(0, free),
      state: decision.state,
      swapReady: true,
      guests: guests.map((guest) => guest.observe()),
    });
    for (const [i, guest] of guests.entries()) {
      free -= guest.live(decision.guests[i]!, free);
    }
    states.push(decision.state);
    targets.push(decision.guests.map((guest) => guest.target));
    balloons.push(guests.reduce((sum, guest) => sum + guest.balloon, 0));
  }
  return { free, states, balloons, targets, state: decision.state };
}

/** Three busy and three idle guests of 256 MiB on 956 MiB, too little for all they would like to have. */
function six(drivers: boolean): Guest[] {
  return [0, 1, 2, 3, 4, 5].map((slot) => new Guest(slot, (slot < 3 ? 130 : 40) * MIB, 100 * MIB, drivers));
}

test('balloons alone make the room that busy guests need, and come to rest', () => {
  const guests = six(true);
  const { states, balloons, state } = simulate(956 * MIB, guests, 60);
  assert.ok(state <= STATE_SOFT);
  assert.ok(!states.includes(STATE_LOW));
  for (const guest of guests) {
    assert.equal(guest.own, guest.wantsOwn, 'every guest gets the memory that it can not do without');
  }
  const swapped = guests.reduce((sum, guest) => sum + guest.swapIns + guest.swapped, 0);
  assert.ok(swapped < 40 * MIB, `${swapped / MIB} MiB were paged though balloons could help`);
  // The last twenty seconds: nothing moves any more.
  const late = balloons.slice(-200);
  const swing = Math.max(...late) - Math.min(...late);
  assert.ok(swing < 5 * MIB, `the balloons still move by ${swing / MIB} MiB`);
});

test('guests without a driver are paged, and the host stays alive', () => {
  const guests = six(false);
  const { states, free } = simulate(956 * MIB, guests, 60);
  assert.ok(free > 0);
  assert.ok(guests.reduce((sum, guest) => sum + guest.swapped, 0) > 50 * MIB);
  const low = states.filter((state) => state === STATE_LOW).length;
  assert.ok(low < states.length / 20, `${low} of ${states.length} steps were spent in state low`);
});

test('when the roles change, the memory follows', () => {
  const guests = six(true);
  simulate(956 * MIB, guests, 40);
  for (const [slot, guest] of guests.entries()) {
    guest.wantsOwn = (slot < 3 ? 40 : 130) * MIB;
  }
  // Linux gives up what a process frees; the others grow into it.
  const { state } = simulate(956 * MIB, guests, 30, STATE_SOFT);
  assert.ok(state <= STATE_SOFT);
  for (const guest of guests) {
    assert.equal(guest.own, guest.wantsOwn);
  }
});

test('on half of what is configured, everything that is in use has room', () => {
  const guests = six(true);
  for (const guest of guests) {
    guest.wantsOwn = Math.min(guest.wantsOwn, 70 * MIB);
  }
  const { state, states } = simulate(720 * MIB, guests, 60);
  assert.ok(state <= STATE_SOFT);
  assert.ok(states.slice(-100).every((late) => late <= STATE_SOFT));
});

test('a guest with a maximum is kept to it while memory is free', () => {
  const guests = [new Guest(0, 60 * MIB, 150 * MIB, true), new Guest(1, 60 * MIB, 150 * MIB, false)];
  for (const guest of guests) {
    guest.maximum = 128 * MIB;
  }
  const { balloons, state } = simulate(2000 * MIB, guests, 40);
  assert.equal(state, STATE_HIGH);
  for (const { resident } of guests) {
    assert.ok(resident <= 137 * MIB, `${resident / MIB} MiB`);
  }
  assert.equal(guests[0]!.swapped, 0, 'its balloon is enough');
  const late = balloons.slice(-100);
  assert.ok(Math.max(...late) - Math.min(...late) <= 2 * MIB, 'its balloon stands still');
});

test('with demands that do not change, targets come to rest, whatever the guests', () => {
  const one = fc.record({
    own: fc.integer({ min: 10, max: 150 }),
    cache: fc.integer({ min: 0, max: 100 }),
    driver: fc.boolean(),
  });
  const many = fc.array(one, { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(many, fc.double({ min: 0.55, max: 1.2, noNaN: true }), (kinds, ratio) => {
      const guests = kinds.map(({ own, cache, driver }, slot) => new Guest(slot, own * MIB, cache * MIB, driver));
      const { targets, balloons } = simulate(Math.floor(guests.length * CONFIGURED * ratio), guests, 120);
      const late = targets.slice(-300);
      for (const slot of guests.keys()) {
        const all = late.map((each) => each[slot]!);
        const swing = Math.max(...all) - Math.min(...all);
        assert.ok(swing <= CONFIGURED / 20, `the target of ${slot} still moves by ${swing / MIB} MiB`);
      }
      const turns = late.filter((_, i) => {
        const [a, b, c] = [i, i + 1, i + 2].map((at) => balloons[balloons.length - 300 + at] ?? Number.NaN);
        return (b! - a!) * (c! - b!) < -(MIB ** 2);
      });
      assert.ok(turns.length <= 15, `the balloons turn round ${turns.length} times in 30 seconds`);
    }),
    { numRuns: 60 },
  );
});
