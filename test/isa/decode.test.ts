import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeCompressed } from '../../src/isa/compressed.ts';
import { COMPRESSIBLE, decode, INSTRUCTIONS, instructionNumber } from '../../src/isa/decode.ts';
import { encode } from '../../src/isa/encode.ts';
import { encodeOperands, type Format, type Operands, operandsOf } from '../../src/isa/format.ts';
import type { Instruction } from '../../src/isa/instruction.ts';

test('names are unique, and a match lies inside of its mask', () => {
  assert.equal(new Set(INSTRUCTIONS.map(({ name }) => name)).size, INSTRUCTIONS.length);
  for (const { name, mask, match } of INSTRUCTIONS) {
    assert.equal((match & mask) >>> 0, match, name);
    assert.equal(match & 3, 3, name);
  }
  assert.throws(() => instructionNumber('no.such'), /no\.such/);
});

test('no word is two instructions', () => {
  for (const [index, a] of INSTRUCTIONS.entries()) {
    for (const b of INSTRUCTIONS.slice(index + 1)) {
      // A hint is one word of another instruction.
      if (a.name === 'fence' && b.name === 'pause') continue;
      assert.notEqual((a.match ^ b.match) & a.mask & b.mask, 0, `${a.name} and ${b.name} overlap`);
    }
  }
});

const random = fc.integer({ min: 0, max: 0xffffffff });
const instructions = fc.constantFrom(...INSTRUCTIONS);

test('a word with the bits of an instruction decodes to it', () => {
  fc.assert(
    fc.property(instructions, random, (instruction, bits) => {
      const word = ((bits & ~instruction.mask) | instruction.match) >>> 0;
      const decoded = decode(word);
      assert.equal(decoded?.name, instruction.name);
      assert.equal(decoded.length, 4);
      assert.equal(INSTRUCTIONS[decoded.number], instruction);
    }),
    { numRuns: 3000 },
  );
});

test('a word decodes as the only instruction whose bits it has', () => {
  fc.assert(
    fc.property(random, (bits) => {
      const word = (bits | 3) >>> 0;
      const matching = INSTRUCTIONS.filter(({ mask, match }) => (word & mask) >>> 0 === match);
      assert.deepEqual(
        matching.map(({ name }) => name),
        [decode(word)?.name].filter((name) => name !== undefined),
      );
    }),
    { numRuns: 3000 },
  );
});

const register = fc.integer({ min: 0, max: 31 });
const signed = (bits: number, step = 1): fc.Arbitrary<number> =>
  fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 }).map((value) => value * step);

const IMMEDIATE: Partial<Record<Format, fc.Arbitrary<number>>> = {
  I: signed(12),
  S: signed(12),
  B: signed(12, 2),
  J: signed(20, 2),
  U: signed(20, 4096),
  CSR: fc.integer({ min: 0, max: 4095 }),
  shift5: fc.integer({ min: 0, max: 31 }),
  shift6: fc.integer({ min: 0, max: 63 }),
};

/** Operands that the syntax of an instruction names, at random. */
function operandsFor(instruction: Instruction): fc.Arbitrary<Partial<Operands>> {
  const tokens = new Set(instruction.syntax.match(/[a-z]\w*/g) ?? []);
  const has = (name: string): boolean => tokens.has(name) || tokens.has(`f${name}`);
  const model: Partial<Record<keyof Operands, fc.Arbitrary<number>>> = {};
  for (const name of ['rd', 'rs1', 'rs2', 'rs3'] as const) if (has(name)) model[name] = register;
  if (has('uimm')) model.rs1 = register;
  if (has('rm')) model.rm = fc.integer({ min: 0, max: 7 });
  const immediate = IMMEDIATE[instruction.format];
  if (immediate !== undefined && ['imm', 'offset', 'csr'].some(has)) model.imm = immediate;
  return fc.record(model as Record<keyof Operands, fc.Arbitrary<number>>);
}

test('operands come back from the word that they were encoded in', () => {
  const cases = instructions.chain((instruction) => fc.tuple(fc.constant(instruction), operandsFor(instruction)));
  fc.assert(
    fc.property(cases, ([instruction, operands]) => {
      const word = encode(instruction.name, operands);
      assert.ok(word >= 0 && word <= 0xffffffff);
      const decoded = decode(word);
      assert.equal(decoded?.name, instruction.name);
      assert.deepEqual({ ...decoded.operands, ...operands }, decoded.operands);
      assert.equal(encodeOperands(instruction.format, operands) & instruction.mask & ~instruction.match, 0);
    }),
    { numRuns: 3000 },
  );
});

test('an operand that does not fit is refused by name', () => {
  assert.throws(() => encode('addi', { rd: 1, imm: 2048 }), /addi can't have imm = 2048/);
  assert.throws(() => encode('slliw', { rd: 1, imm: 32 }), /slliw can't have imm = 32/);
  assert.throws(() => encode('beq', { imm: 3 }), /beq can't have imm = 3/);
  assert.throws(() => encode('lui', { imm: 1 }), /lui can't have imm = 1/);
  assert.throws(() => encode('add', { rd: 32 }), /add can't have rd = 32/);
  assert.throws(() => encode('clz', { rd: 1, rs1: 2, rs2: 3 }), /clz/);
  assert.throws(() => encode('add.aq', {}), /no instruction add\.aq/);
  assert.throws(() => encode('nope', {}), /no instruction nope/);
});

test('immediates are put together from the places that the specification has them in', () => {
  // Each bit of the immediate alone, at the place that figure 2.4 gives.
  const places: Record<string, (bit: number) => number> = {
    I: (bit) => 20 + bit,
    S: (bit) => (bit < 5 ? 7 + bit : 20 + bit),
    B: (bit) => (bit === 12 ? 31 : bit === 11 ? 7 : bit > 4 ? 20 + bit : 7 + bit),
    J: (bit) => (bit === 20 ? 31 : bit === 11 ? 20 : bit > 11 ? bit : 20 + bit),
  };
  const ranges: Record<string, [first: number, sign: number]> = { I: [0, 11], S: [0, 11], B: [1, 12], J: [1, 20] };
  for (const format of ['I', 'S', 'B', 'J'] as const) {
    const [first, sign] = ranges[format]!;
    for (let bit = first; bit <= sign; bit++) {
      const { imm } = operandsOf(format, 1 << places[format]!(bit));
      assert.equal(imm, bit === sign ? -(2 ** bit) : 2 ** bit, `${format} bit ${bit}`);
    }
  }
  assert.equal(operandsOf('U', 0xfffff0ff | 0).imm, -4096);
});

test('the instructions behind compressed forms exist in both lengths', () => {
  const used = new Set<number>();
  for (let halfword = 0; halfword < 0x10000; halfword++) {
    if ((halfword & 3) === 3) continue;
    const decoded = decode(halfword);
    assert.equal(decoded?.name, decodeCompressed(halfword)?.form.name);
    if (decoded !== undefined) {
      assert.equal(decoded.length, 2);
      used.add(decoded.number);
    }
  }
  assert.deepEqual([...used].sort(), [...COMPRESSIBLE].sort());
});
