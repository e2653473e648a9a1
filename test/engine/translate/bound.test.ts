import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIGURES } from '../../../src/engine/counters.ts';
import { NO_INSTRUMENTS } from '../../../src/engine/observer.ts';
import { SynchronousTranslator } from '../../../src/engine/translate/synchronous.ts';
import { BareMachine } from '../bare-machine.ts';
import { EAGER_THRESHOLD } from '../tiers.ts';
import { makeFunctions } from './made-functions.ts';

const CAPACITY = 300;
const MADE = 4 * CAPACITY;

test('a guest that makes new code all the time does not make the table of translations longer and longer', () => {
  const machine = new BareMachine({
    translator: () => new SynchronousTranslator(EAGER_THRESHOLD, NO_INSTRUMENTS, CAPACITY),
  });
  let most = 0;
  for (let first = 0; first < MADE; first += CAPACITY / 4) {
    makeFunctions(machine, first, CAPACITY / 4);
    const totals = { instructions: 1, busyMs: 1, processorMs: 0, counters: machine.counters };
    most = Math.max(most, FIGURES.heldTranslations.of(totals), FIGURES.heldModules.of(totals));
  }
  const { installedTranslations, releasedTranslations, releasedModules } = machine.counters;
  assert.ok(installedTranslations >= MADE, `only ${installedTranslations} were translated`);
  assert.ok(most > CAPACITY / 2 && most <= CAPACITY, `${most} were held`);
  assert.ok(releasedTranslations >= MADE - CAPACITY && releasedModules >= MADE - CAPACITY);
});
