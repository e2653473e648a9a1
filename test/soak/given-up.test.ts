/** Translations that a hart has given up leave nothing behind, as the verdict of the soak sees it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { queryObjects } from 'node:v8';
import { NO_INSTRUMENTS } from '../../src/engine/observer.ts';
import { SynchronousTranslator } from '../../src/engine/translate/synchronous.ts';
import type { Translation } from '../../src/engine/translate/translations.ts';
import { BareMachine } from '../engine/bare-machine.ts';
import { EAGER_THRESHOLD } from '../engine/tiers.ts';
import { makeFunctions } from '../engine/translate/made-functions.ts';
import { residentMemory } from './resident.ts';
import { type Allowance, judge, type Sample } from './verdict.ts';

const MIB = 2 ** 20;
const CAPACITY = 200;
const MADE = 12 * CAPACITY;
/** Functions between two samples: taking one costs some collections of garbage. */
const STEP = (4 * CAPACITY) / 5;

const ALLOWANCES: Readonly<Record<string, Allowance>> = {
  modules: { absolute: CAPACITY / 2, share: 0 },
  'heap, MiB': { absolute: 0.5, share: 0 },
  'code, MiB': { absolute: 1, share: 0 },
};

/** What is held while a guest makes code all the time; the samples' time is the number of functions. */
async function run(keep?: (translation: Translation) => void): Promise<Sample[]> {
  const machine = new BareMachine({
    translator: () => {
      const inner = new SynchronousTranslator(EAGER_THRESHOLD, NO_INSTRUMENTS, CAPACITY);
      const translate: typeof inner.translate = (key, region) => {
        const translation = inner.translate(key, region);
        keep?.(translation);
        return translation;
      };
      return { threshold: inner.threshold, capacity: inner.capacity, translate };
    },
  });
  const samples: Sample[] = [];
  for (let first = 0; first < MADE; first += STEP) {
    makeFunctions(machine, first, STEP);
    await turn();
    // Collects garbage before it counts.
    const modules = queryObjects(WebAssembly.Module as unknown as new () => WebAssembly.Module, { format: 'count' });
    const values = {
      modules,
      'heap, MiB': process.memoryUsage().heapUsed / MIB,
      'code, MiB': residentMemory().code / MIB,
    };
    samples.push({ ms: first, values });
  }
  return samples;
}

const growing = (samples: readonly Sample[]): string[] =>
  Object.entries(ALLOWANCES)
    .map(([name, allowance]) => judge(samples, name, allowance))
    .filter(({ grows }) => grows)
    .map(({ name }) => name);

test('modules, heap and code stay level while translations are made and given up', async () => {
  const samples = await run();
  assert.deepEqual(growing(samples), [], JSON.stringify(samples.slice(samples.length / 2)));
});

test('modules that somebody keeps are noticed', async () => {
  const kept: Translation[] = [];
  const samples = await run((translation) => kept.push(translation));
  assert.ok(kept.length >= MADE);
  const names = growing(samples);
  assert.ok(names.includes('modules') && names.includes('code, MiB'), `${names}: ${JSON.stringify(samples)}`);
});
