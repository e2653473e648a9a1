import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Region, regionKey, regionOfKey, straddlingRegion } from '../../../src/engine/translate/region.ts';
import { SynchronousTranslator } from '../../../src/engine/translate/synchronous.ts';
import type { Translator } from '../../../src/engine/translate/translations.ts';
import { R } from '../assembler.ts';
import { BareMachine, DATA } from '../bare-machine.ts';

const { a0, a1, a2, a3, a4, a5 } = R;
const ROUNDS = 20_000;
/** More loops than translations that may be waited for. */
const OTHERS = 12;

/** A translator that notes what it is asked for, and translates so many regions; others are waited for. */
function noting(asked: Region[], most: number): Translator {
  const inner = new SynchronousTranslator(16);
  return {
    ...{ threshold: inner.threshold, capacity: inner.capacity },
    translate(key, region) {
      assert.equal(key, regionKey(region));
      asked.push(region);
      return asked.length > most ? undefined : inner.translate(key, region);
    },
  };
}

for (const [name, address, straddles] of [
  ['on one page', DATA + 64, false],
  ['on two pages', DATA + 4096 - 16, true],
] as const) {
  test(`a group of accesses that lies ${name}`, () => {
    const asked: Region[] = [];
    const machine = new BareMachine({ translator: () => noting(asked, Infinity) });
    // Stores 3, 2 and 1 less than what is left to do, and adds it all up again.
    machine.execute((a) => {
      a.li(a0, ROUNDS).li(a2, address).label('loop');
      for (const imm of [1, 2, 3]) {
        a.i('addi', { rd: a3, rs1: a0, imm: -imm }).i('sd', { rs1: a2, rs2: a3, imm: 24 - imm * 8 });
      }
      for (const imm of [0, 8, 16]) a.i('ld', { rd: a4, rs1: a2, imm }).i('add', { rd: a1, rs1: a1, rs2: a4 });
      a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('bne', 'loop', { rs1: a0 });
    });
    machine.expectNoTrap();
    const sum = (BigInt(ROUNDS) * BigInt(ROUNDS + 1)) / 2n;
    assert.equal(machine.x(a1), 3n * sum - 6n * BigInt(ROUNDS));
    assert.equal(
      asked.some((region) => region.straddles),
      straddles,
    );
    // The jump table leads to the translation that has replaced the first one.
    const { jumpTableMisses, hotPlaces } = machine.counters;
    assert.ok(jumpTableMisses <= hotPlaces, `${jumpTableMisses} misses for ${hotPlaces} places`);
    // Not many times by way of the interpreter.
    assert.ok(machine.hart.field('translatedInstructions') > (13 * ROUNDS * 8) / 10);
    // Both pages are in the TLB: no access is a miss for being one of such a group.
    assert.ok(machine.counters.dataMisses < ROUNDS / 100, `${machine.counters.dataMisses} misses`);
  });
}

test('a region that is left for it is translated again however many translations are waited for', () => {
  const asked: Region[] = [];
  const machine = new BareMachine({ translator: () => noting(asked, 1) });
  machine.execute((a) => {
    const turns = (count: number, name: string, body: () => void): void => {
      a.li(a0, count).label(name);
      body();
      a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('bne', name, { rs1: a0 });
    };
    a.li(a4, 2)
      .li(a2, DATA + 4096 - 16)
      .li(a5, 50)
      .label('again');
    a.i('add', { rd: a0, rs1: a5 }).label('group');
    for (const imm of [0, 8, 16]) a.i('ld', { rd: a3, rs1: a2, imm });
    a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('bne', 'group', { rs1: a0 });
    for (let other = 1; other <= OTHERS; other++) {
      turns(100, `other${other}`, () => a.i('addi', { rd: a3, rs1: a3, imm: other }));
    }
    a.li(a5, 1000).i('addi', { rd: a4, rs1: a4, imm: -1 }).to('bne', 'again', { rs1: a4 });
  });
  machine.expectNoTrap();
  assert.ok(machine.counters.postponedPlaces > 0);
  assert.ok(asked.some((region) => region.straddles));
});

test('a region is known from its key', () => {
  const region: Region = {
    blocks: [
      { offset: 0, code: [0x4501, 0xfff5_0513], taken: -1, next: 1, likely: [], returns: -1 },
      { offset: -16, code: [0x8082], taken: -1, next: -1, likely: [0, 1], returns: 0 },
    ],
    straddles: false,
  };
  assert.deepEqual(regionOfKey(regionKey(region)), region);
  assert.deepEqual(straddlingRegion(regionKey(region)), { ...region, straddles: true });
  assert.equal(straddlingRegion(regionKey({ ...region, straddles: true })), undefined);
});
