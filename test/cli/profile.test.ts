import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldedLines, profile, profileLines } from '../../src/cli/profile.ts';
import { SymbolTable } from '../../src/cli/symbols.ts';
import { exitLines, regionLines } from '../../src/cli/trace.ts';

const symbols = new SymbolTable([
  { name: 'copy', address: 0x1000n, size: 0x100n, code: true },
  { name: 'wait', address: 0x2000n, size: 0x100n, code: true },
]);
const samples = [
  { pc: 0x1010n, privilege: 1, translated: true, count: 3, ms: 30 },
  { pc: 0x1020n, privilege: 1, translated: false, count: 1, ms: 20 },
  { pc: 0x2000n, privilege: 1, translated: false, count: 1, ms: 10 },
  { pc: 0x1010n, privilege: 0, translated: true, count: 5, ms: 39 },
  { pc: 0x8123n, privilege: 0, translated: true, count: 1, ms: 0.5 },
  { pc: 0x8ff0n, privilege: 0, translated: false, count: 1, ms: 0.5 },
];

test('a profile sums up by symbol and mode, the longest first', () => {
  const rows = profile(samples, symbols);
  assert.deepEqual(rows, [
    { mode: 'S', name: 'copy', ms: 50, count: 4, translated: 3 },
    { mode: 'U', name: 'copy', ms: 39, count: 5, translated: 5 },
    { mode: 'S', name: 'wait', ms: 10, count: 1, translated: 0 },
    { mode: 'U', name: 'page 0x8000', ms: 1, count: 2, translated: 1 },
  ]);
  const lines = profileLines(rows);
  assert.ok(
    lines.some((line) => /^60\.0% +60\.0 +5 +60\.0% +S +all of the mode$/.test(line)),
    lines.join('\n'),
  );
  assert.ok(
    lines.some((line) => /^ ?50\.0% +50\.0 +4 +75\.0% +S +copy$/.test(line)),
    lines.join('\n'),
  );
  assert.deepEqual(foldedLines(rows), ['S;copy 50000', 'U;copy 39000', 'S;wait 10000', 'U;page 0x8000 1000']);
});

test('a profile of nothing has no figures that are none', () => {
  assert.doesNotMatch(profileLines(profile([], symbols)).join('\n'), /NaN/);
});

test('exits of several harts are summed up, the most frequent first', () => {
  const lines = exitLines(
    [
      { pc: 0x1004n, exit: 'unknown', bits: undefined, count: 2 },
      { pc: 0x1004n, exit: 'unknown', bits: 0x10500073, count: 3 },
      { pc: 0x1004n, exit: 'poll', bits: undefined, count: 1 },
      { pc: 0x9000n, exit: 'interpret', bits: undefined, count: 14 },
    ],
    symbols,
  );
  const head = lines.findIndex((line) => line.includes('where execution went on'));
  assert.deepEqual(
    lines.slice(head + 1).map((line) => line.trim().replaceAll(/ +/g, ' ')),
    ['14 70.0% interpret 0x9000', '5 25.0% unknown copy+0x4 (0x1004) wfi', '1 5.0% poll copy+0x4 (0x1004)'],
  );
  assert.ok(lines.some((line) => /^ +5 +25\.0% +unknown +no region/.test(line)));
});

test('exits to more places than are shown are counted', () => {
  const exits = Array.from({ length: 250 }, (_, i) => ({
    pc: BigInt(i * 2),
    exit: 'table' as const,
    bits: undefined,
    count: i < 200 ? 2 : 1,
  }));
  assert.equal(exitLines(exits, symbols).at(-1), 'and 50 exits to 50 other places');
});

test('events of regions', () => {
  const block = { offset: 0, code: [0x4501, 0x8082], taken: -1, next: -1, likely: [], returns: -1 };
  const translated = {
    hart: 1,
    pc: 0x1008n,
    kind: 'translated',
    region: { blocks: [block], straddles: false },
  } as const;
  const head = 'hart 1: region at copy+0x8 (0x1008) translated: 1 blocks, 2 instructions';
  assert.deepEqual(regionLines({ ...translated, first: true }, symbols, false), [head]);
  assert.deepEqual(regionLines({ ...translated, first: false }, symbols, true), [`${head}, equal to one before`]);
  assert.deepEqual(regionLines({ ...translated, first: true }, symbols, true), [
    head,
    'block 0 at copy+0x8 (0x1008)',
    '  0x1008  4501      c.li a0,0',
    '  0x100a  8082      c.jr ra',
    '  leads out of the region',
  ]);
  assert.deepEqual(regionLines({ hart: 0, pc: 0x1000n, kind: 'dropped', reason: 'written' }, symbols, true), [
    'hart 0: region at copy (0x1000) dropped: its code was written to',
  ]);
});
