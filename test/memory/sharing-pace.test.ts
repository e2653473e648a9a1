import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATE_HARD, STATE_HIGH } from '../../src/memory/layout.ts';
import { SharingPace } from '../../src/memory/sharing-pace.ts';

const PAGES = 10_000;
/** What a page takes, milliseconds. */
const COST = 0.002;

interface Scene {
  /** Part of the scanned pages that are found; faults a second. */
  readonly found?: number;
  readonly faulting?: number;
  readonly pages?: number;
  readonly state?: number;
}

let faults = 0;

/** Lets time pass in steps of 100 ms. Gives the milliseconds of scanning a second. */
function scanning(pace: SharingPace, seconds: number, scene: Scene = {}): number {
  const { found = 0, faulting = 0, pages = PAGES, state = STATE_HIGH } = scene;
  let busy = 0;
  for (let i = 0; i < seconds * 10; i++) {
    faults += faulting / 10;
    const scanned = pace.pages(state, 100, pages, faults);
    if (scanned === 0) continue;
    busy += scanned * COST;
    pace.note({ scanned, merged: Math.floor(scanned * found), zero: 0 }, scanned * COST, pages, faults);
  }
  return busy / seconds;
}

/** A pace that knows the cost of a page and has found nothing for a while. */
function settled(): SharingPace {
  const pace = new SharingPace({ idle: 0.01, finding: 0.2, pressed: 0.2 });
  scanning(pace, 60);
  return pace;
}

test('where nothing is found and nothing happens, scanning becomes rarer, but does not end', () => {
  const pace = new SharingPace({ idle: 0.01, finding: 0.2, pressed: 0.2 });
  assert.ok(pace.finding);
  assert.ok(scanning(pace, 1) > 20, 'nobody has looked yet');
  scanning(pace, 60);
  assert.ok(!pace.finding);
  const late = scanning(pace, 1000);
  assert.ok(late > 0.3 && late < 1, `${late} ms a second`);
});

test('faults, growth and pressure bring it back', () => {
  const busy = settled();
  scanning(busy, 1000);
  // Pages come and go all the time.
  assert.ok(scanning(busy, 5, { faulting: PAGES / 20 }) > 5, 'it notices at once');
  const ms = scanning(busy, 100, { faulting: PAGES / 20 });
  assert.ok(ms > 7, `${ms} ms a second with faults`);

  const grown = settled();
  scanning(grown, 1000);
  assert.ok(scanning(grown, 1, { pages: PAGES * 1.2 }) > 20);

  const pressed = settled();
  scanning(pressed, 1000);
  assert.ok(scanning(pressed, 1, { state: STATE_HARD }) > 20);
});

test('memory that stays short is not scanned again and again while nothing is found', () => {
  const pace = settled();
  scanning(pace, 30, { state: STATE_HARD, faulting: PAGES / 20 });
  const ms = scanning(pace, 60, { state: STATE_HARD, faulting: PAGES / 20 });
  assert.ok(ms < 15, `${ms} ms a second`);
  // There may be more to find when it has become short anew, or while something is found.
  scanning(pace, 1);
  assert.ok(scanning(pace, 1, { state: STATE_HARD }) > 20);
  assert.ok(scanning(pace, 60, { state: STATE_HARD, found: 0.1 }) > 100);
});

test('faults are noticed though a guest that had many has gone', () => {
  const pace = settled();
  faults += 100 * PAGES;
  scanning(pace, 2000);
  faults -= 100 * PAGES;
  scanning(pace, 1);
  const ms = scanning(pace, 5, { faulting: PAGES / 20 });
  assert.ok(ms > 5, `${ms} ms a second`);
});

test('what is found makes the next round worth more time', () => {
  const pace = settled();
  scanning(pace, 1000);
  scanning(pace, 200, { found: 0.05 });
  assert.ok(pace.finding);
  assert.ok(scanning(pace, 1, { found: 0.05 }) > 100);
});

test('what nobody could use is not looked for, however much there may be', () => {
  const pace = new SharingPace({ idle: 0.01, finding: 0.2, pressed: 0.2 });
  const credit = (state: number, wanted: boolean): number => {
    const pages = pace.pages(state, 100, PAGES, 0, false, wanted);
    pace.note({ scanned: pages, merged: 0, zero: 0 }, pages * COST, PAGES, 0);
    return pages * COST;
  };
  assert.ok(pace.finding);
  let unwanted = 0;
  for (let i = 0; i < 10; i++) unwanted += credit(STATE_HIGH, false);
  assert.ok(unwanted < 20, `${unwanted} ms in a second`);
  assert.ok(pace.finding, 'nothing is known yet');
  assert.ok(credit(STATE_HIGH, true) >= 10, 'but it is when it is wanted');
});
