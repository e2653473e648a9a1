import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { divideByMisses, type MissClaim } from '../../src/policy/miss-targets.ts';

const PARTS = 64;

/** A falling curve with steps of any size. */
const curve = fc
  .array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: PARTS, maxLength: PARTS })
  .map((drops) => {
    const misses = [0];
    for (const drop of drops) misses.unshift(misses[0]! + (drop < 0.7 ? 0 : drop * 1000));
    return misses;
  });

const claim: fc.Arbitrary<MissClaim> = fc
  .record({
    shares: fc.integer({ min: 1, max: 5000 }),
    configured: fc.integer({ min: 64, max: 200_000 }),
    minimumPart: fc.double({ min: 0, max: 0.4, noNaN: true }),
    limitPart: fc.oneof(fc.constant(1), fc.double({ min: 0.5, max: 1, noNaN: true })),
    workingPart: fc.double({ min: 0, max: 1.2, noNaN: true }),
    freePart: fc.double({ min: -0.1, max: 1, noNaN: true }),
    misses: fc.oneof({ weight: 5, arbitrary: curve }, { weight: 1, arbitrary: fc.constant([]) }),
  })
  .map(({ shares, configured, minimumPart, limitPart, workingPart, freePart, misses }) => ({
    shares,
    configured,
    minimum: Math.floor(configured * minimumPart),
    limit: Math.floor(configured * limitPart),
    workingSet: Math.round(configured * workingPart),
    free: Math.round(configured * freePart),
    misses,
    charged: Math.round(configured * minimumPart * 2),
    hidden: Math.max(0, freePart) * 100,
    hiddenPages: Math.round(configured / 8),
  }));

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);

test('targets by misses stay within bounds and use all there is', () => {
  fc.assert(
    fc.property(
      fc.array(claim, { minLength: 1, maxLength: 8 }),
      fc.double({ min: 0.45, max: 1.3, noNaN: true }),
      (claims, part) => {
        const frames = Math.floor(sum(claims.map(({ configured }) => configured)) * part);
        const { targets } = divideByMisses(claims, frames, 0.75);
        for (const [i, target] of targets.entries()) {
          assert.ok(Number.isInteger(target) && target >= claims[i]!.minimum && target <= claims[i]!.limit);
        }
        if (sum(claims.map(({ minimum }) => minimum)) <= frames) {
          const most = Math.min(frames, sum(claims.map(({ limit }) => limit)));
          assert.ok(sum(targets) <= frames && sum(targets) >= most - 2 * claims.length, `${sum(targets)} of ${most}`);
        }
      },
    ),
  );
});

test('more shares never get a guest less', () => {
  fc.assert(
    fc.property(fc.array(claim, { minLength: 2, maxLength: 5 }), fc.nat(3000), (claims, shares) => {
      const frames = Math.floor(sum(claims.map(({ configured }) => configured)) * 0.6);
      const before = divideByMisses(claims, frames, 0.75).targets[0]!;
      const more = [{ ...claims[0]!, shares: claims[0]!.shares + shares }, ...claims.slice(1)];
      assert.ok(divideByMisses(more, frames, 0.75).targets[0]! >= before - claims.length);
    }),
  );
});

const CONFIGURED = 64_000;
/** A guest that uses the first so many parts of its memory, all pages `perSecond` times a second. */
function loop(parts: number, perSecond: number, changes: Partial<MissClaim> = {}): MissClaim {
  const uses = ((parts * CONFIGURED) / PARTS) * perSecond;
  return {
    shares: 1000,
    configured: CONFIGURED,
    minimum: 1000,
    limit: CONFIGURED,
    workingSet: (parts * CONFIGURED) / PARTS,
    free: 0,
    charged: CONFIGURED / 2,
    hidden: 0,
    hiddenPages: 0,
    misses: Array.from({ length: PARTS + 1 }, (_, i) => (i < parts ? uses : 0)),
    ...changes,
  };
}

test('memory goes where it saves misses: the idle guest gives to the busy one', () => {
  const { targets, saved } = divideByMisses([loop(48, 1), loop(48, 0.01)], CONFIGURED, 0.75);
  assert.ok(targets[0]! >= 48_000, `${targets}`);
  assert.ok(saved[0] === 0 || targets[0]! < 48_100);
  assert.ok(saved[1]! > 0, 'the idle one would have use for more');
});

test('memory that would save nothing goes to nobody for it, and by shares at last', () => {
  // One needs 10 parts, the other one is busy with 20: 34 parts are left over and are divided by shares.
  const { targets } = divideByMisses([loop(10, 1), loop(20, 5)], CONFIGURED, 0);
  assert.ok(targets[0]! >= 10_000 && targets[1]! >= 20_000);
  assert.ok(Math.abs(targets[0]! - targets[1]!) <= 2, `${targets}`);
});

test('a guest that reads its own disk again for lack of memory gets some', () => {
  const [before] = divideByMisses([loop(30, 1), loop(30, 0.05)], CONFIGURED, 0).targets;
  const thrashing = loop(30, 1, { hidden: 3000, hiddenPages: 8000 });
  const [after, other] = divideByMisses([thrashing, loop(30, 0.05)], CONFIGURED, 0).targets;
  assert.ok(before! <= 33_000 && after! >= 39_000, `${before} without, ${after} with, ${other} for the other`);
});

test('equals share evenly, and small differences between them change little', () => {
  const even = divideByMisses([loop(60, 1), loop(60, 1)], CONFIGURED, 0.75).targets;
  assert.ok(Math.abs(even[0]! - even[1]!) <= 2);
  const nearly = divideByMisses([loop(60, 1), loop(60, 1.05)], CONFIGURED, 0.75).targets;
  assert.ok(nearly[1]! > nearly[0]! && nearly[1]! - nearly[0]! < CONFIGURED / 8, `${nearly}`);
});

test('twice the shares count each miss twice', () => {
  const [a, b] = divideByMisses([loop(60, 2), loop(60, 1, { shares: 2000 })], CONFIGURED, 0.75).targets;
  assert.ok(Math.abs(a! - b!) <= 2);
});

test('a guest of which nothing is known keeps what it seems to use before others keep what they do not', () => {
  const unknown = loop(40, 1, { misses: [] });
  const { targets } = divideByMisses([unknown, loop(0, 0)], CONFIGURED, 0.75);
  assert.ok(targets[0]! >= 39_000, `${targets}`);
});
