import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeCompressed } from '../../src/isa/compressed.ts';
import { CSRS } from '../../src/isa/csr.ts';
import { INSTRUCTIONS, isCompressed } from '../../src/isa/decode.ts';
import { disassemble } from '../../src/isa/disassemble.ts';
import { encode, encodeCompressed } from '../../src/isa/encode.ts';
import type { Instruction } from '../../src/isa/instruction.ts';
import { normalized, objdump } from './objdump.ts';

/** Conversions that are exact: objdump 2.40 knows them with the rounding mode 0 only, and does not write it. */
const EXACT = new Set(['fcvt.d.w', 'fcvt.d.wu', 'fcvt.d.s']);

/**
 * A random encoding of an instruction, without what objdump has no name for (reserved modes, CSRs that we don't have).
 */
function encodings(instruction: Instruction): fc.Arbitrary<number> {
  const { match, mask, name } = instruction;
  const word = fc
    .integer({ min: 0, max: 0xffffffff })
    .map((random) => ((random & ~mask) | match) >>> 0)
    .filter((bits) => !instruction.syntax.endsWith('rm') || ![5, 6].includes((bits >>> 12) & 7));
  if (EXACT.has(name)) return word.map((bits) => (bits & ~0x7000) >>> 0);
  if (name === 'fence.i') return fc.constant(match);
  if (name === 'fence') {
    const set = fc.integer({ min: 1, max: 15 });
    return fc.tuple(set, set).map(([pred, succ]) => (pred << 24) | (succ << 20) | match);
  }
  if (instruction.format !== 'CSR') return word;
  // csrrw x0, cycle, x0 has the name unimp.
  return fc
    .tuple(word, fc.constantFrom(...CSRS))
    .map(([bits, csr]) => ((bits & 0xfffff) | (csr.number << 20)) >>> 0)
    .filter((bits) => bits !== 0xc0001073);
}

test('every instruction reads as in objdump, with random operands', () => {
  const words = INSTRUCTIONS.flatMap((instruction) => fc.sample(encodings(instruction), 25));
  const expected = objdump(words);
  assert.equal(expected.length, words.length);
  for (const [index, bits] of words.entries()) {
    const ours = normalized(disassemble(bits, BigInt(index * 4)));
    const name = ours.split(' ')[0]!;
    assert.equal(EXACT.has(name) ? ours.replace(',rne', '') : ours, normalized(expected[index]!), bits.toString(16));
  }
});

test('a word that is nearly an instruction is one if objdump knows it', () => {
  // Free bits that objdump 2.40 does not take, and instructions of extensions and drafts that are not ours.
  const ours = new Set([...EXACT, 'fence', 'fence.i']);
  const theirs = new Set(['uret', 'hret', 'dret', 'sfence.vm']);
  const near = fc
    .tuple(fc.constantFrom(...INSTRUCTIONS), fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 2, max: 31 }))
    .map(([{ mask, match }, random, bit]) => (((random & ~mask) | match) ^ (1 << bit)) >>> 0)
    // Those are longer than 32 bits.
    .filter((bits) => (bits & 0x1c) !== 0x1c);
  const words = fc.sample(near, 4000);
  const expected = objdump(words);
  for (const [index, bits] of words.entries()) {
    const name = disassemble(bits).split(' ')[0]!;
    const other = expected[index]!.split(/\s/)[0]!;
    if (ours.has(name) || theirs.has(other)) continue;
    assert.equal(name === '.word', other === '.4byte', `${bits.toString(16)} is ${name}, and ${other} in objdump`);
  }
});

/** objdump's own names for hints, and what it does not take for reserved though the specification does (26.5, 26.8). */
function asObjdumpSays(halfword: number, ours: string): string {
  if (halfword === 0) return 'c.unimp';
  if (halfword === 0x6101) return 'c.addi16sp sp,0';
  const shiftByZero = /^(c\.(?:slli|srli|srai)) (\w+),0$/.exec(ours);
  return shiftByZero === null ? ours.replace(/^\.half/, '.2byte') : `${shiftByZero[1]}64 ${shiftByZero[2]}`;
}

test('every halfword is the compressed instruction that objdump says, or none', () => {
  const halfwords = Array.from({ length: 0x10000 }, (_, halfword) => halfword).filter(isCompressed);
  const expected = objdump(halfwords);
  assert.equal(expected.length, halfwords.length);
  for (const [index, halfword] of halfwords.entries()) {
    const ours = asObjdumpSays(halfword, normalized(disassemble(halfword, BigInt(index * 2))));
    assert.equal(ours, normalized(expected[index]!), halfword.toString(16));
  }
});

test('a compressed instruction is encoded from its operands', () => {
  for (let halfword = 0; halfword < 0x10000; halfword++) {
    if (!isCompressed(halfword)) continue;
    const decoded = decodeCompressed(halfword);
    if (decoded === undefined) continue;
    assert.equal(encodeCompressed(decoded.form.name, decoded.operands), halfword);
  }
  assert.throws(() => encodeCompressed('c.addi4spn', { rd: 8, rs1: 2, imm: 0 }), /c\.addi4spn can't have the operands/);
  assert.throws(() => encodeCompressed('c.lw', { rd: 3, rs1: 8 }), /c\.lw can't have/);
  assert.throws(() => encodeCompressed('c.none'), /no compressed instruction c\.none/);
});

test('data that is no instruction, reserved rounding modes, orderings, addresses of 64 bits', () => {
  assert.equal(disassemble(0xffffffff), '.word 0xffffffff');
  assert.equal(disassemble(0), '.half 0x0');
  assert.equal(disassemble((encode('fadd.s', { rd: 1, rs1: 2, rs2: 3 }) | (5 << 12)) >>> 0), 'fadd.s ft1,ft2,ft3,rm5');
  assert.equal(disassemble(encode('fadd.s', { rm: 7 })), 'fadd.s ft0,ft0,ft0');
  assert.equal(disassemble(encode('lr.d.aq', { rd: 10, rs1: 11 })), 'lr.d.aq a0,(a1)');
  assert.equal(disassemble(encode('fence', { imm: 0x12 })), 'fence w,r');
  assert.equal(disassemble(encode('fence', { imm: 0x10 })), 'pause');
  assert.equal(disassemble(encode('fence', { imm: 0x20 })), 'fence r,0');
  const jump = encode('jal', { rd: 1, imm: -4 });
  assert.equal(disassemble(jump, 0xffffffff80000000n), 'jal ra,0xffffffff7ffffffc');
  assert.equal(disassemble(encode('csrrs', { rd: 5, rs1: 0, imm: 0x7c0 })), 'csrrs t0,0x7c0,zero');
});
