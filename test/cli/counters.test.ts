import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { counterLines, countersDocument, inWords } from '../../src/cli/counters.ts';
import { COUNTER_DEFINITIONS, type EngineCounters, FIGURES } from '../../src/index.ts';

/** Every counter with a value of its own. */
const counters = Object.fromEntries(
  Object.keys(COUNTER_DEFINITIONS).map((name, i) => [name, 1000 + i]),
) as unknown as EngineCounters;

test('the table has each counter with its value and rate, and each figure', () => {
  const lines = counterLines({ instructions: 1_000_000, busyMs: 20, processorMs: 0, counters });
  assert.equal(lines.length, 3 + Object.keys(COUNTER_DEFINITIONS).length + Object.keys(FIGURES).length);
  for (const [name, count] of Object.entries(counters)) {
    const pattern = new RegExp(`^${inWords(name)} +${count} +${count}\\.0 `);
    assert.equal(lines.filter((line) => pattern.test(line)).length, 1, name);
  }
  assert.match(lines.find((line) => line.startsWith('speed'))!, /^speed +50 +MIPS/);
});

test('a guest that executed nothing has no rates', () => {
  const none = Object.fromEntries(Object.keys(counters).map((name) => [name, 0])) as unknown as EngineCounters;
  const lines = counterLines({ instructions: 0, busyMs: 0, processorMs: 0, counters: none });
  assert.doesNotMatch(lines.join('\n'), /NaN|Infinity/);
});

test('docs/counters.md is what the definitions say (scripts/write-docs.ts writes it)', () => {
  const page = readFileSync(new URL('../../docs/counters.md', import.meta.url), 'utf8');
  assert.equal(page, countersDocument());
});
