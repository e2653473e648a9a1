import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sampleOf } from '../../src/memory/usage.ts';
import { createPolicy } from '../../src/policy/policy.ts';
import { replay } from '../../src/policy/replay.ts';
import { encodeRecord, readTrace, TRACE_MAGIC, TraceError, type TraceRecord } from '../../src/policy/trace.ts';

function traceOf(records: readonly TraceRecord[]): Uint8Array {
  return Buffer.concat([Buffer.from(TRACE_MAGIC), ...records.map(encodeRecord)]);
}

const rising = fc.uniqueArray(fc.nat(2 ** 20), { maxLength: 40 }).map((all) => all.sort((a, b) => a - b));
const slot = fc.nat(511);
const count = fc.nat(2 ** 31);
const record: fc.Arbitrary<TraceRecord> = fc.oneof(
  fc.record({ kind: fc.constant('host' as const), machine: count, frames: count }),
  fc.record({
    ...{ kind: fc.constant('guest' as const), slot, name: fc.string({ unit: 'grapheme', maxLength: 30 }) },
    ...{ configured: count, minimum: count, maximum: count, shares: count, stallLimit: fc.nat(1000), samples: count },
  }),
  fc.record({
    ...{
      kind: fc.constant('look' as const),
      slot,
      elapsed: count,
      lost: count,
      free: fc.integer({ min: -1, max: 2 ** 20 }),
    },
    ...{ faults: count, fills: count, swapIns: count, used: rising, gone: rising },
  }),
  fc.record({ kind: fc.constant('end' as const), slot, elapsed: count }),
);
const plain = (each: TraceRecord): unknown =>
  each.kind === 'look' ? { ...each, used: Array.from(each.used), gone: Array.from(each.gone) } : { ...each };

test('records come out of a trace as they went in, and a trace that is cut off ends early', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 20 }), fc.nat(), (records, cut) => {
      const bytes = traceOf(records);
      assert.deepEqual([...readTrace(bytes)].map(plain), records.map(plain));
      const kept = TRACE_MAGIC.length + (cut % (bytes.length - TRACE_MAGIC.length + 1));
      const some = [...readTrace(bytes.subarray(0, kept))].map(plain);
      assert.deepEqual(some, records.slice(0, some.length).map(plain));
    }),
  );
});

test('what is no trace is refused', () => {
  assert.throws(() => [...readTrace(Buffer.from('ELF'))], TraceError);
  assert.throws(
    () => [...readTrace(Buffer.concat([Buffer.from(TRACE_MAGIC), Buffer.of(77)]))],
    /byte 17.*77 is no kind/,
  );
  const look = {
    kind: 'look',
    slot: 1,
    elapsed: 1,
    lost: 0,
    free: -1,
    faults: 0,
    fills: 0,
    swapIns: 0,
    used: [],
    gone: [],
  } as const;
  assert.throws(() => replay([look], { policy: createPolicy() }), /slot 1, in which there is no guest/);
});

const CONFIGURED = 16_384;
const SAMPLES = 512;
const HOST = 24_000;

/** Two guests: the first `turn` looks the one uses `parts` of its memory, then the other one does. */
function shiftTrace(parts: number, turn: number, looks: number): TraceRecord[] {
  const sample = [...sampleOf(CONFIGURED, SAMPLES)];
  const records: TraceRecord[] = [{ kind: 'host', machine: HOST + 1000, frames: HOST }];
  for (const slot of [0, 1]) {
    const limits = { minimum: CONFIGURED / 8, maximum: CONFIGURED, shares: 1000, stallLimit: 1000, samples: SAMPLES };
    records.push({ kind: 'guest', slot, name: `g${slot}`, configured: CONFIGURED, ...limits });
  }
  const all = sample.filter((gfn) => gfn < CONFIGURED * parts);
  for (let look = 0; look < looks; look++) {
    for (const slot of [0, 1]) {
      const busy = look < 2 || slot === (look < turn ? 0 : 1);
      const used = busy ? all : all.slice(0, 10);
      const none = { lost: 0, free: -1, faults: 0, fills: 0, swapIns: 0, gone: [] };
      records.push({ kind: 'look', slot, elapsed: 500, ...none, used });
    }
  }
  return records;
}

test('with enough memory nothing is missed', () => {
  const result = replay(shiftTrace(0.9, 30, 60), { policy: createPolicy(), machine: 2 * CONFIGURED * 1.3 });
  assert.equal(result.misses, 0);
  assert.equal(result.guests.length, 2);
  assert.ok(Math.abs(result.seconds - 60) < 1);
});

test('a replay tells policies apart: without a tax the idle guest keeps what the busy one misses', () => {
  const misses = (options: Parameters<typeof createPolicy>[0]) =>
    replay(shiftTrace(0.9, 40, 120), { policy: createPolicy(options) }).misses;
  const [free, taxed, byMisses] = [misses({ tax: 0 }), misses({ tax: 0.75 }), misses({ targets: 'misses' })];
  assert.ok(taxed < free / 2, `${taxed} with tax, ${free} without`);
  assert.ok(byMisses < free / 2, `${byMisses} by misses, ${free} without tax`);
});

test('less memory has more misses, and the same trace the same result', () => {
  const trace = shiftTrace(0.8, 20, 60);
  const run = (machine: number) => replay(trace, { policy: createPolicy({ targets: 'misses' }), machine });
  const [much, some, little] = [36_000, 25_000, 15_000].map((machine) => run(machine).misses) as [
    number,
    number,
    number,
  ];
  assert.ok(much < some && some < little / 2, `${much}, ${some}, ${little}`);
  assert.deepEqual(run(22_000), run(22_000));
});

test('memory that a guest gives back is nobodys, and a guest that has ended has none', () => {
  const sample = [...sampleOf(CONFIGURED, SAMPLES)];
  const limits = { minimum: 0, maximum: CONFIGURED, shares: 1000, stallLimit: 1000, samples: SAMPLES };
  const none = { lost: 0, free: -1, faults: 3, fills: 2, swapIns: 1 };
  const { guests, misses } = replay(
    [
      { kind: 'host', machine: 20_000, frames: 20_000 },
      { kind: 'guest', slot: 3, name: 'a', configured: CONFIGURED, ...limits },
      { kind: 'look', slot: 3, elapsed: 0, ...none, used: sample, gone: [] },
      { kind: 'look', slot: 3, elapsed: 1000, ...none, used: [], gone: sample },
      { kind: 'look', slot: 3, elapsed: 1000, ...none, used: sample, gone: [] },
      { kind: 'end', slot: 3, elapsed: 1000 },
      { kind: 'guest', slot: 3, name: 'b', configured: CONFIGURED, ...limits },
      { kind: 'look', slot: 3, elapsed: 1000, ...none, used: sample, gone: [] },
    ],
    { policy: createPolicy() },
  );
  assert.equal(misses, 0);
  assert.deepEqual(
    guests.map(({ name, firstUses, recordedSwapIns }) => [name, Math.round(firstUses), recordedSwapIns]),
    [
      ['a', 2 * CONFIGURED, 3],
      ['b', CONFIGURED, 1],
    ],
  );
  // All of it for two of three seconds.
  assert.ok(Math.abs(guests[0]!.memory - (CONFIGURED * 2) / 3) < CONFIGURED / 20, `${guests[0]!.memory}`);
});

test('a replayed guest that has lost its time keeps its working set', () => {
  const sample = [...sampleOf(CONFIGURED, SAMPLES)];
  const half = sample.slice(0, SAMPLES / 2);
  const limits = { minimum: CONFIGURED / 8, maximum: CONFIGURED, shares: 1000, stallLimit: 1000, samples: SAMPLES };
  /** The first guest uses nothing in the last half of the time, as it rests or as it can't. Gives the target it ends with. */
  const target = (lost: number): number => {
    const records: TraceRecord[] = [{ kind: 'host', machine: HOST, frames: HOST }];
    for (const slot of [0, 1])
      records.push({ kind: 'guest', slot, name: `g${slot}`, configured: CONFIGURED, ...limits });
    for (let look = 0; look < 60; look++) {
      for (const slot of [0, 1]) {
        const rests = slot === 0 && look >= 30;
        const none = { free: -1, faults: 0, fills: 0, swapIns: 0, gone: [] };
        records.push({
          kind: 'look',
          slot,
          elapsed: 500,
          lost: rests ? lost : 0,
          ...none,
          used: rests ? [] : look < 2 ? sample : half,
        });
      }
    }
    return replay(records, { policy: createPolicy() }).guests[0]!.target;
  };
  assert.ok(target(1000) > target(0) * 1.05, `${target(1000)} without its time, ${target(0)} at rest`);
});
