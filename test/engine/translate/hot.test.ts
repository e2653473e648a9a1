import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Region } from '../../../src/engine/translate/region.ts';
import { SynchronousTranslator } from '../../../src/engine/translate/synchronous.ts';
import { regionName, translate } from '../../../src/engine/translate/translate.ts';
import type { Translator } from '../../../src/engine/translate/translations.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { BareMachine } from '../bare-machine.ts';

const { a0, a1, a2, a3 } = R;
const ROUNDS = 1000;

for (const imm of [1, 0, -1]) {
  test(`a loop is found by the jumps back, when its first instruction has the immediate ${imm}`, () => {
    const machine = new BareMachine({ threshold: 16 });
    machine.execute((a) => {
      a.li(a0, ROUNDS).label('loop').i('addi', { rd: a1, rs1: a1, imm }).i('addi', { rd: a0, rs1: a0, imm: -1 });
      a.to('bne', 'loop', { rs1: a0 });
    });
    machine.expectNoTrap();
    assert.ok(machine.hart.field('translatedInstructions') > 3 * (ROUNDS - 20));
  });
}

test('while too many translations are waited for, what is hottest tries again soonest', () => {
  const asked: { key: string; region: Region }[] = [];
  const translator = (): Translator => ({
    ...{ threshold: 128, capacity: 100 },
    translate(key, region) {
      asked.push({ key, region });
      return undefined;
    },
  });
  const machine = new BareMachine({ translator });
  // A loop for each of the translations that may be waited for, then two more; the last one is at first often executed.
  const loop = (a: Assembler, n: number): void => {
    a.label(`loop${n}`).i('addi', { rd: a1, rs1: a1, imm: n });
    a.i('addi', { rd: a0, rs1: a0, imm: -1 }).to('bne', `loop${n}`, { rs1: a0 });
  };
  machine.execute((a) => {
    for (let n = 1; n <= 8; n++) loop(a.li(a0, 200), n);
    a.li(a2, 2000).label('again');
    loop(a.li(a0, 20), 9);
    loop(a.i('addi', { rd: a0, rs1: a2 }), 10);
    a.li(a2, 30).i('wfi').jump('again');
  });
  assert.equal(asked.length, 8);
  const { key, region } = asked[0]!;
  const module = new WebAssembly.Module(translate([region]));
  machine.hart.install(key, { module, number: 0, name: regionName(0) });
  machine.run();
  const first = asked[8]!.region.blocks[0]!.code[0];
  assert.equal(first, encode('addi', { rd: a1, rs1: a1, imm: 10 }));
});

test('a block of a region that is to come does not ask for one of its own', () => {
  const asked: { key: string; region: Region }[] = [];
  const translator = (): Translator => ({
    ...{ threshold: 64, capacity: 100 },
    translate(key, region) {
      asked.push({ key, region });
      return undefined;
    },
  });
  const machine = new BareMachine({ translator });
  const instruction = (imm: number): number => encode('addi', { rd: a1, rs1: a1, imm });
  // Jumps lead back to two places of a loop in turn; when its translation has come, it goes on at the other one.
  machine.execute((a) => {
    a.li(a0, ROUNDS).label('loop').word(instruction(1)).label('middle').word(instruction(2));
    a.i('addi', { rd: a0, rs1: a0, imm: -1 }).i('andi', { rd: a2, rs1: a0, imm: 1 });
    a.to('bne', 'middle', { rs1: a2 }).to('bne', 'loop', { rs1: a0 });
    a.i('wfi').li(a0, ROUNDS).jump('middle');
  });
  assert.equal(asked.length, 1);
  const { key, region } = asked[0]!;
  const has = (imm: number): boolean => region.blocks.some(({ code }) => code.includes(instruction(imm)));
  assert.ok(has(1) && has(2));
  const module = new WebAssembly.Module(translate([region]));
  machine.hart.install(key, { module, number: 0, name: regionName(0) });
  const before = machine.hart.field('translatedInstructions');
  machine.run();
  assert.ok(machine.hart.field('translatedInstructions') - before > BigInt(ROUNDS * 4));
});

test('indirect jumps are noted by the interpreter, and stay within the region', () => {
  const asked: Region[] = [];
  const synchronous = (): Translator => ({
    ...{ threshold: 64, capacity: 100 },
    translate(_, region) {
      const number = asked.push(region);
      return { module: new WebAssembly.Module(translate([region])), number, name: regionName(0) };
    },
  });
  const machine = new BareMachine({ translator: synchronous });
  // Two cases of four instructions; what is added to a1 says which ones were executed.
  machine.execute((a) => {
    a.li(a0, ROUNDS).i('auipc', { rd: a3 }).label('loop').i('andi', { rd: a2, rs1: a0, imm: 1 });
    a.i('slli', { rd: a2, rs1: a2, imm: 4 }).i('add', { rd: a2, rs1: a2, rs2: a3 }).i('jalr', { rs1: a2, imm: 20 });
    a.label('first').i('addi', { rd: a1, rs1: a1, imm: 1 }).nops(2).jump('next');
    a.label('second').i('addi', { rd: a1, rs1: a1, imm: 3 }).nops(2).jump('next');
    a.label('next').i('addi', { rd: a0, rs1: a0, imm: -1 }).to('bne', 'loop', { rs1: a0 });
  });
  machine.expectNoTrap();
  assert.equal(machine.x(a1), BigInt((ROUNDS / 2) * 4));
  assert.ok(asked.some(({ blocks }) => blocks.some(({ likely }) => likely.length === 2)));
  assert.ok(machine.hart.field('regionEntries') < ROUNDS / 5, `${machine.hart.field('regionEntries')} entries`);
});

test('code goes on that was translated, is changed, and waits for its next translation when it is entered', () => {
  const second = (imm: number): number => encode('addi', { rd: a1, rs1: a1, imm });
  let late = 0;
  const translator = (): Translator => {
    const inner = new SynchronousTranslator(1);
    return {
      ...{ threshold: 1, capacity: 100 },
      translate(key, region) {
        if (region.blocks.some(({ code }) => code.includes(second(1)))) return inner.translate(key, region);
        late++;
        return undefined;
      },
    };
  };
  const machine = new BareMachine({ translator });
  // The first instruction of the loop stays, with its slot; the second one does not.
  machine.execute((a) => {
    a.li(a2, 2).i('auipc', { rd: a3 }).label('again').li(a0, ROUNDS).i('jalr', { rs1: a3, imm: 12 });
    a.label('loop').i('addi', { rd: a0, rs1: a0, imm: -1 }).word(second(1)).to('bne', 'loop', { rs1: a0 });
    a.li(a0, second(3)).i('sw', { rs1: a3, rs2: a0, imm: 16 }).i('addi', { rd: a2, rs1: a2, imm: -1 });
    a.to('bne', 'again', { rs1: a2 });
  });
  machine.expectNoTrap();
  assert.equal(machine.x(a1), BigInt(ROUNDS * 4));
  assert.ok(late > 0);
});
