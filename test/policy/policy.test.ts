import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GuestObservation, Observation } from '../../src/memory/decision.ts';
import { STATE_HARD, STATE_HIGH, STATE_LOW, STATE_SOFT } from '../../src/memory/layout.ts';
import { AdmissionError, admit } from '../../src/policy/admission.ts';
import { createPolicy } from '../../src/policy/policy.ts';
import { ESX_THRESHOLDS, nextState, slidingThresholds, validateThresholds } from '../../src/policy/states.ts';
import { type Claim, divide, rho } from '../../src/policy/targets.ts';

/** Pages in a mebibyte. */
const MIB = 256;

function observed(name: string, changes: Partial<GuestObservation> = {}): GuestObservation {
  const configured = changes.configured ?? 256 * MIB;
  return {
    slot: 0,
    name,
    configured,
    minimum: configured / 4,
    maximum: configured,
    shares: configured / MIB,
    resident: changes.charged ?? configured,
    merged: 0,
    charged: configured,
    swapped: 0,
    workingSet: configured / 2,
    misses: [],
    starved: false,
    stalled: 0,
    stallLimit: 1,
    returns: 0,
    balloon: {
      driver: true,
      target: 0,
      actual: 0,
      stuckMs: 0,
      free: -1,
      available: -1,
      majorFaults: 0,
      ease: configured,
      manual: -1,
    },
    ...changes,
  };
}

function host(guests: GuestObservation[], changes: Partial<Observation> = {}): Observation {
  for (const [slot, guest] of guests.entries()) {
    guest.slot = slot;
  }
  return {
    elapsedMs: 100,
    frames: 1000 * MIB,
    free: 100 * MIB,
    state: STATE_HIGH,
    swapReady: true,
    guests,
    ...changes,
  };
}

test('states fall at their own threshold and rise at the next better one', () => {
  const falls = [7, 5, 3.9, 3, 1.9, 1.5, 0.9].map((percent) => percent * 10);
  let state = STATE_HIGH;
  const states = falls.map((free) => {
    state = nextState(state, free, 1000, ESX_THRESHOLDS);
    return state;
  });
  assert.deepEqual(states, [STATE_HIGH, STATE_HIGH, STATE_SOFT, STATE_SOFT, STATE_HARD, STATE_HARD, STATE_LOW]);
  const rises = [1.5, 2.5, 3.9, 4.5, 5.9, 6.1].map((percent) => {
    state = nextState(state, percent * 10, 1000, ESX_THRESHOLDS);
    return state;
  });
  assert.deepEqual(rises, [STATE_LOW, STATE_HARD, STATE_HARD, STATE_SOFT, STATE_SOFT, STATE_HIGH]);
});

test('a state never changes while free memory stands still, and is never better with less', () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.nat(1000), fc.nat(3), (free, more, state) => {
      const next = nextState(state, free, 1000, ESX_THRESHOLDS);
      assert.equal(nextState(next, free, 1000, ESX_THRESHOLDS), next);
      assert.ok(nextState(state, Math.min(1000, free + more), 1000, ESX_THRESHOLDS) <= next);
    }),
  );
});

test('thresholds in the wrong order are refused, sliding ones fall with size', () => {
  assert.throws(() => validateThresholds({ high: 0.06, soft: 0.07, hard: 0.02, low: 0.01 }), /fall in this order/);
  assert.ok(Math.abs(slidingThresholds(2 ** 18).high - 0.06) < 1e-9);
  assert.ok(slidingThresholds(2 ** 24).high < 0.03);
  validateThresholds(slidingThresholds(2 ** 18));
});

const claim: fc.Arbitrary<Claim> = fc
  .record({
    shares: fc.integer({ min: 1, max: 5000 }),
    configured: fc.integer({ min: 64, max: 500_000 }),
    minimumPart: fc.double({ min: 0, max: 0.5, noNaN: true }),
    limitPart: fc.oneof(fc.constant(1), fc.double({ min: 0.5, max: 1, noNaN: true })),
    workingPart: fc.double({ min: 0, max: 1.2, noNaN: true }),
    freePart: fc.double({ min: -0.1, max: 1, noNaN: true }),
  })
  .map(({ shares, configured, minimumPart, limitPart, workingPart, freePart }) => ({
    shares,
    configured,
    minimum: Math.floor(configured * minimumPart),
    limit: Math.floor(configured * limitPart),
    workingSet: Math.round(configured * workingPart),
    free: Math.round(configured * freePart),
  }));

test('targets stay within bounds, use all there is, and give no more than there is', () => {
  fc.assert(
    fc.property(
      fc.array(claim, { minLength: 1, maxLength: 12 }),
      fc.double({ min: 0.5, max: 1.5, noNaN: true }),
      (claims, part) => {
        const configured = claims.reduce((sum, { configured }) => sum + configured, 0);
        const minimums = claims.reduce((sum, { minimum }) => sum + minimum, 0);
        const frames = Math.floor(configured * part);
        const targets = divide(claims, frames, 0.75);
        let total = 0;
        for (const [i, target] of targets.entries()) {
          assert.ok(Number.isInteger(target) && target >= claims[i]!.minimum && target <= claims[i]!.limit);
          total += target;
        }
        if (minimums <= frames) {
          assert.ok(total <= frames);
          const limits = claims.reduce((sum, { limit }) => sum + limit, 0);
          assert.ok(total >= Math.min(frames, limits) - claims.length, `${total} of ${frames} were given`);
        }
      },
    ),
  );
});

test('a guest that works more or has more shares never gets less', () => {
  fc.assert(
    fc.property(
      fc.array(claim, { minLength: 2, maxLength: 6 }),
      fc.nat(100_000),
      fc.nat(1000),
      (claims, work, shares) => {
        const frames = Math.floor(claims.reduce((sum, { configured }) => sum + configured, 0) * 0.6);
        const before = divide(claims, frames, 0.75)[0]!;
        const first = claims[0]!;
        const more = { ...first, workingSet: first.workingSet + work, shares: first.shares + shares };
        assert.ok(divide([more, ...claims.slice(1)], frames, 0.75)[0]! >= before - 1);
      },
    ),
  );
});

test('a tax of 75% lets a busy guest have four times what an idle one of equal shares has', () => {
  const frames = 500 * MIB;
  const busy = { shares: 100, configured: 1000 * MIB, minimum: 0, limit: 1000 * MIB, workingSet: 1000 * MIB, free: -1 };
  const idle = { ...busy, workingSet: 0 };
  const [a, b] = divide([busy, idle], frames, 0.75) as [number, number];
  assert.ok(Math.abs(a / b - 4) < 0.01, `${a} to ${b}`);
  const [c, d] = divide([busy, idle], frames, 0) as [number, number];
  assert.ok(Math.abs(c - d) <= 1, 'without a tax it does not matter');
});

test('min-funding revocation, page by page, ends at the targets', () => {
  const small = claim.map((each) => {
    const configured = 40 + (each.configured % 400);
    const part = configured / each.configured;
    const scaled = (pages: number) => Math.floor(pages * part);
    return {
      ...each,
      configured,
      minimum: scaled(each.minimum),
      limit: Math.max(scaled(each.minimum), scaled(each.limit)),
      workingSet: scaled(each.workingSet),
      free: scaled(each.free),
    };
  });
  const tax = fc.constantFrom(0, 0.5, 0.75, 0.9);
  fc.assert(
    fc.property(fc.array(small, { minLength: 2, maxLength: 5 }), tax, (claims, tax) => {
      const least = claims.reduce((sum, { minimum }) => sum + minimum, 0);
      const most = claims.reduce((sum, { limit }) => sum + limit, 0);
      const frames = Math.floor((least + most) / 2);
      // From the minimums up: each page goes to whoever pays most for it, the published rule turned round.
      const pages = claims.map(({ minimum }) => minimum);
      for (let left = frames - least; left > 0; left--) {
        let best = -1;
        let price = -1;
        for (const [i, claim] of claims.entries()) {
          const offer = pages[i]! < claim.limit ? rho(claim, pages[i]! + 1, tax) : -1;
          if (offer > price) [best, price] = [i, offer];
        }
        pages[best]!++;
      }
      for (const [i, target] of divide(claims, frames, tax).entries()) {
        assert.ok(Math.abs(target - pages[i]!) <= claims.length, `${target} and ${pages[i]} for ${i}`);
      }
    }),
  );
});

test('a guest that waits longer than it was promised is spared, but not below the others minimums', () => {
  const idle = { configured: 600 * MIB, charged: 480 * MIB, workingSet: 60 * MIB, stallLimit: 0.05 };
  const take = (stalled: number) =>
    createPolicy()(host([observed('a', { ...idle, stalled }), observed('b', idle)], { free: 35 * MIB })).guests;
  const [free, half, over] = [take(0), take(0.025), take(0.2)];
  assert.equal(free[0]!.balloonTarget, free[1]!.balloonTarget);
  assert.equal(half[0]!.why.spared, 0.5);
  assert.equal(over[0]!.why.spared, 0);
  assert.equal(over[0]!.balloonTarget, 0);
  assert.ok(over[1]!.balloonTarget > 0);
  assert.ok(over[0]!.target > free[0]!.target && over[1]!.target >= 150 * MIB);
});

test('in low nobody goes below the minimum', () => {
  const small = { configured: 400 * MIB, minimum: 300 * MIB, charged: 300 * MIB };
  const more = { configured: 400 * MIB, minimum: 100 * MIB, charged: 105 * MIB, balloon: observed('x').balloon };
  const { guests } = createPolicy()(host([observed('a', small), observed('b', more)], { frames: 450 * MIB, free: 0 }));
  assert.equal(guests[0]!.page, 0);
  assert.ok(guests[1]!.page > 0);
});

test('what a guest calls free goes first', () => {
  const some = { shares: 100, configured: 200 * MIB, minimum: 0, limit: 200 * MIB, workingSet: 50 * MIB, free: 0 };
  const [a, b] = divide([some, { ...some, free: 140 * MIB }], 300 * MIB, 0.75) as [number, number];
  assert.ok(a >= 190 * MIB && b < 112 * MIB, `${a / MIB} and ${b / MIB} MiB`);
});

test('nothing happens while enough is free', () => {
  const { state, guests } = createPolicy()(host([observed('a'), observed('b')]));
  assert.equal(state, STATE_HIGH);
  for (const guest of guests) {
    assert.deepEqual([guest.balloonTarget, guest.page, guest.block], [0, 0, false]);
  }
});

test('in soft, balloons: of those above their target, in steps, never paging', () => {
  const idle = observed('idle', { configured: 1000 * MIB, charged: 700 * MIB, workingSet: 50 * MIB });
  const busy = observed('busy', { configured: 400 * MIB, charged: 265 * MIB, workingSet: 390 * MIB, shares: 1000 });
  const { state, guests } = createPolicy()(host([idle, busy], { free: 35 * MIB }));
  assert.equal(state, STATE_SOFT);
  assert.ok(guests[0]!.balloonTarget > 0 && guests[0]!.balloonTarget <= 1000 * MIB * 0.015 + 1);
  assert.equal(guests[1]!.balloonTarget, 0);
  assert.deepEqual(
    guests.map(({ page, block }) => [page, block]),
    [
      [0, false],
      [0, false],
    ],
  );
  const { target, balloon, tax, price } = guests[0]!.why;
  assert.deepEqual([target, balloon, tax], ['divided', 'takes', 0.75]);
  assert.ok(price !== undefined && guests[1]!.why.price! >= price, 'who pays less gives');
});

test('a guest without a driver, with a dead one, or with a full balloon is paged instead', () => {
  const base = { configured: 600 * MIB, charged: 480 * MIB, workingSet: 60 * MIB };
  const balloon = observed('x').balloon;
  const cases = {
    'no-driver': { ...balloon, driver: false },
    'no-answer': { ...balloon, target: 5000, stuckMs: 6000 },
    'balloon-full': { ...balloon, target: 390 * MIB, actual: 390 * MIB },
    manual: { ...balloon, manual: 10 * MIB, actual: 10 * MIB, target: 10 * MIB },
  };
  for (const [reason, own] of Object.entries(cases)) {
    const { guests } = createPolicy()(
      host([observed('a', { ...base, balloon: own }), observed('b', base)], { free: 35 * MIB }),
    );
    assert.ok(guests[0]!.page > 0, reason);
    assert.equal(guests[1]!.page, 0, reason);
    assert.equal(guests[0]!.why.paging, reason);
  }
});

test('a balloon stays below its cap and leaves the guest what it needs to live', () => {
  fc.assert(
    fc.property(
      fc.nat(65536),
      fc.nat(65536),
      fc.nat(40_000),
      fc.constantFrom(0, 1, 2, 3),
      (actual, available, free, state) => {
        const balloon = {
          driver: true,
          target: actual,
          actual,
          stuckMs: 0,
          free: -1,
          available,
          majorFaults: 0,
          ease: 256 * MIB,
          manual: -1,
        };
        const guest = observed('a', { balloon, charged: 200 * MIB, workingSet: 0 });
        const { guests } = createPolicy()(host([guest, observed('b')], { frames: 300 * MIB, free, state }));
        const size = guests[0]!.balloonTarget;
        assert.ok(Number.isInteger(size) && size >= 0);
        assert.ok(size <= Math.max(actual, Math.floor(65536 * 0.65)));
        if (size > actual) {
          assert.ok(available - (size - actual) >= 2048, `${available} available, ${size - actual} more taken`);
        }
        if (available < 512 && actual > 0) {
          assert.ok(size < actual, 'a guest that has nothing left is let out');
        }
      },
    ),
  );
});

test('in hard, paging helps at once; in low, whoever is above the target waits', () => {
  const big = observed('big', { configured: 1000 * MIB, charged: 700 * MIB, workingSet: 50 * MIB });
  const small = observed('small', { configured: 400 * MIB, charged: 285 * MIB, workingSet: 390 * MIB, shares: 1000 });
  const hard = createPolicy()(host([big, small], { free: 15 * MIB }));
  assert.equal(hard.state, STATE_HARD);
  assert.ok(hard.guests[0]!.page > 0 && hard.guests[0]!.balloonTarget > 0);
  assert.ok(hard.guests.every(({ block }) => !block));
  const low = createPolicy()(host([big, small], { free: 5 * MIB }));
  assert.equal(low.state, STATE_LOW);
  assert.deepEqual(
    low.guests.map(({ block }) => block),
    [true, false],
  );
  assert.ok(low.guests[0]!.page > hard.guests[0]!.page);
  assert.equal(createPolicy()(host([big, small], { free: 5 * MIB, swapReady: false })).guests[0]!.page, 0);
});

test('balloons shrink again while memory is free, slowly', () => {
  const balloon = {
    driver: true,
    target: 100 * MIB,
    actual: 100 * MIB,
    stuckMs: 0,
    free: -1,
    available: -1,
    majorFaults: 0,
    ease: 256 * MIB,
    manual: -1,
  };
  const guest = observed('a', { balloon, charged: 100 * MIB });
  const { guests } = createPolicy()(host([guest], { free: 300 * MIB }));
  const { balloonTarget } = guests[0]!;
  assert.ok(balloonTarget < 100 * MIB && balloonTarget >= 100 * MIB - 256 * MIB * 0.015 - 1);
});

/** A guest with a balloon of 100 MiB that has 120 MiB. */
function squeezed(
  name: string,
  changes: Partial<GuestObservation>,
  balloon: Partial<GuestObservation['balloon']> = {},
) {
  const inflated = {
    target: 100 * MIB,
    actual: 100 * MIB,
    available: 60 * MIB,
    free: 0,
    majorFaults: 0,
    ease: 256 * MIB,
    ...balloon,
  };
  return observed(name, {
    charged: 120 * MIB,
    balloon: { driver: true, stuckMs: 0, manual: -1, ...inflated },
    ...changes,
  });
}

test('a balloon follows its target however much is free', () => {
  const busy = squeezed('busy', { workingSet: 120 * MIB });
  const idle = squeezed('idle', { workingSet: 5 * MIB, charged: 120 * MIB });
  // A little above the threshold: neither is anything taken, nor is there much to give.
  const { state, guests } = createPolicy()(host([busy, idle], { frames: 300 * MIB, free: 31 * MIB }));
  assert.equal(state, STATE_HIGH);
  assert.equal(guests[0]!.why.balloon, 'below-target');
  assert.ok(guests[0]!.balloonTarget < 100 * MIB);
  assert.ok(guests[1]!.balloonTarget >= 100 * MIB);
});

test('a guest that reads again and again what it lacks counts that as being used, and its balloon shrinks', () => {
  const calm = squeezed('calm', { workingSet: 40 * MIB });
  const thrashing = squeezed('thrashing', { workingSet: 40 * MIB }, { majorFaults: 500, ease: 50 * MIB });
  const { guests } = createPolicy()(host([calm, thrashing], { frames: 260 * MIB, free: 15 * MIB }));
  assert.ok(guests[1]!.target > guests[0]!.target + 20 * MIB);
  assert.equal(guests[1]!.why.balloon, 'thrashing');
  assert.ok(guests[1]!.balloonTarget < 100 * MIB);
  // Without paging nobody else could give what the balloon does.
  const kept = createPolicy({ paging: false })(host([calm, thrashing], { frames: 260 * MIB, free: 15 * MIB }));
  assert.notEqual(kept.guests[1]!.why.balloon, 'thrashing');
});

test('what no balloon reaches is paged, unless it is in use', () => {
  const full = { available: 2 * MIB };
  const [idle, busy] = [squeezed('a', { workingSet: 10 * MIB }, full), squeezed('b', { workingSet: 118 * MIB }, full)];
  const { state, guests } = createPolicy()(host([idle, busy], { frames: 200 * MIB, free: 10 * MIB }));
  assert.equal(state, STATE_SOFT);
  assert.ok(guests[0]!.page > 0);
  assert.equal(guests[1]!.page, 0);
});

/** A guest that uses all that it has. */
const using = (name: string, charged: number, changes: Partial<GuestObservation> = {}): GuestObservation =>
  observed(name, { charged: charged * MIB, workingSet: charged * MIB, ...changes });

test('what is in use is not taken for memory to be free: a host that needs all of it comes to rest', () => {
  const decide = createPolicy();
  // The third one is above its target by all that the others are below theirs.
  const guests = [using('a', 60), using('b', 60), using('c', 72)];
  const { state, guests: decided } = decide(host(guests, { frames: 200 * MIB, free: 8 * MIB }));
  assert.equal(state, STATE_SOFT);
  for (const { page, balloonTarget } of decided) assert.deepEqual([page, balloonTarget], [0, 0]);
  // A little is not worth a balloon, which would first take all that is free in the guest.
  const few = [using('a', 60), using('b', 60), using('c', 72, { workingSet: 62 * MIB })];
  const { page, balloonTarget, why } = decide(host(few, { frames: 200 * MIB, free: 8 * MIB })).guests[2]!;
  assert.deepEqual([page > 0, balloonTarget, why.paging], [true, 0, 'few']);
  // It is not for free, either, that one may keep what it does not use.
  const idle = [using('a', 60), using('b', 60), using('c', 72, { workingSet: 20 * MIB })];
  const { guests: taken } = decide(host(idle, { frames: 200 * MIB, free: 8 * MIB }));
  assert.deepEqual(
    taken.map(({ balloonTarget }) => balloonTarget > 0),
    [false, false, true],
  );
});

test('what is in use is taken when memory is very short, and for one that lacks it', () => {
  const decide = createPolicy();
  const guests = [using('a', 60), using('b', 60), using('c', 76)];
  const short = decide(host(guests, { frames: 200 * MIB, free: 3 * MIB, state: STATE_SOFT }));
  assert.equal(short.state, STATE_HARD);
  assert.ok(short.guests[2]!.page > 0);
  assert.equal(short.guests[2]!.urgent, short.guests[2]!.page);
  const poor = using('poor', 20, { workingSet: 80 * MIB });
  const rich = using('rich', 168);
  const { state, guests: decided } = decide(host([poor, rich], { frames: 200 * MIB, free: 12 * MIB }));
  assert.equal(state, STATE_SOFT);
  // By the memory manager, which knows what was used longest ago; the balloon would throw out page cache, used or not.
  assert.deepEqual([decided[0]!.page, decided[1]!.page > 0, decided[1]!.balloonTarget], [0, true, 0]);
  assert.deepEqual([decided[1]!.urgent, decided[1]!.why.paging], [0, 'lacking']);
});

test('pages that come back say that more is needed: some of what is in swap, not all of it', () => {
  const guest = (name: string, returns: number) =>
    observed(name, { charged: 80 * MIB, workingSet: 60 * MIB, swapped: 60 * MIB, returns });
  const target = (returns: number): number =>
    createPolicy()(host([guest('calm', 0), guest('other', returns)], { frames: 180 * MIB, free: 20 * MIB })).guests[1]!
      .target;
  assert.ok(target(1000) > target(0) + 3 * MIB);
  assert.ok(target(20_000) > target(1000));
});

test('options that make no sense are refused', () => {
  assert.throws(() => createPolicy({ tax: 1 }), /tax of 1/);
  assert.throws(() => createPolicy({ balloonCap: -1 }), /cap of -1/);
  assert.throws(() => createPolicy({ thresholds: { high: 0, soft: 0, hard: 0, low: 0 } }), RangeError);
});

test('a guest is admitted as long as every promise can be kept', () => {
  const limits = { frames: 1000 * MIB, reserve: 60 * MIB, swapSlots: 600 * MIB, heapFree: 20 * MIB };
  const guest = (name: string, configured: number, minimum: number) => ({
    name,
    configured: configured * MIB,
    minimum: minimum * MIB,
    maximum: configured * MIB,
    overhead: MIB,
  });
  const running = [guest('a', 256, 64), guest('b', 256, 64)];
  admit(limits, running, guest('c', 1028, 64));
  assert.throws(
    () => admit(limits, running, guest('c', 1029, 64)),
    (error: Error) => {
      assert.ok(error instanceof AdmissionError);
      assert.match(
        error.message,
        /guest c can't be started: its 1029 MiB and the memory of 2 running guests are 1541 MiB, and the host has 940 MiB and 600 MiB of swap/,
      );
      return true;
    },
  );
  admit(limits, running, guest('c', 900, 812));
  assert.throws(
    () => admit(limits, running, guest('c', 900, 813)),
    /its minimum of 813 MiB .* 941 MiB, .* promise 940 MiB/,
  );
  assert.throws(
    () => admit(limits, running, guest('c', 10, 11)),
    /minimum of 11 MiB is more than its configured 10 MiB/,
  );
  assert.throws(
    () => admit(limits, running, { ...guest('c', 10, 8), maximum: 7 * MIB }),
    /minimum of 8 MiB is more than its maximum of 7 MiB/,
  );
  assert.throws(
    () => admit({ ...limits, heapFree: 100 }, running, guest('c', 10, 1)),
    /the VMM needs 1 MiB for it and has 0.4 MiB left/,
  );
});
