import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { directSuccessorsOf } from '../../../src/engine/translate/flow.ts';
import { decodeBits, OUTSIDE } from '../../../src/engine/translate/region.ts';
import { findWords } from '../../../src/engine/translate/word-flow.ts';
import { wordKind } from '../../../src/engine/translate/word-kinds.ts';
import { INSTRUCTIONS } from '../../../src/isa/decode.ts';
import { encode } from '../../../src/isa/encode.ts';
import { graphs } from './graphs.ts';
import { regionOfGraph } from './regions.ts';

const A = 10;
const B = 11;
const bits = (...registers: number[]): number => registers.reduce((set, n) => set | (1 << n), 0);

for (const [name, operands, word] of [
  ['addw', {}, 'always'],
  ['lw', {}, 'always'],
  ['sraiw', {}, 'always'],
  ['srai', { imm: 31 }, 'never'],
  ['srai', { imm: 32 }, 'always'],
  ['srli', { imm: 32 }, 'never'],
  ['and', {}, 'of words'],
  ['xori', {}, 'of words'],
  ['andn', {}, 'of words'],
  ['bseti', { imm: 31 }, 'never'],
  ['bclri', { imm: 31 }, 'never'],
  ['lui', { imm: 4096 }, 'constant'],
  ['add', {}, 'never'],
  ['add', { rs1: 0 }, 'of words'],
  ['add', { rs2: 0 }, 'of words'],
  ['add', { rs1: 0, rs2: 0 }, 'constant'],
  ['sub', { rs1: 0 }, 'never'],
  ['addi', { imm: 1 }, 'never'],
  ['addi', { imm: 0 }, 'of words'],
  ['addi', { rs1: 0, imm: -7 }, 'constant'],
  ['lwu', {}, 'never'],
  ['ld', {}, 'never'],
  ['auipc', {}, 'never'],
  ['sw', {}, 'never'],
] as const) {
  const given = Object.entries(operands).map(([operand, value]) => `${operand} = ${value}`);
  test(`${[name, ...given].join(', ')} gives a 32-bit value: ${word}`, () => {
    const decoded = decodeBits(encode(name))!;
    const used = { ...decoded.operands, rd: A, rs1: A, rs2: B, ...operands };
    assert.equal(wordKind({ ...decoded, operands: used }), word);
  });
}

/** Words at the start of each block of a graph. */
const wordsOf = (successors: readonly number[][], code: readonly (readonly number[])[]): number[] => {
  const edges = successors.map(([next = OUTSIDE]) => ({ taken: OUTSIDE, next, likely: [], returns: OUTSIDE }));
  const region = regionOfGraph(edges, (block) => code[block]!);
  return findWords(region).map((words) => words & bits(A, B));
};

test('a loop keeps what is a word at its start and at its end', () => {
  const step = [encode('addw', { rd: A, rs1: A, rs2: B })];
  assert.deepEqual(wordsOf([[1], [1]], [[encode('lw', { rd: A, rs1: B })], step]), [0, bits(A)]);
  // A constant is taken for a word where a word comes from the other side.
  assert.deepEqual(wordsOf([[1], [1]], [[encode('addi', { rd: A, imm: 7 })], step]), [0, bits(A)]);
  assert.deepEqual(wordsOf([[1], [1]], [[encode('ld', { rd: A, rs1: B })], step]), [0, 0]);
  // Of the start of a region nothing is known, whatever leads back to it.
  assert.deepEqual(wordsOf([[0]], [step]), [0]);
});

test('copies of words are words, sums are not', () => {
  const copy = (imm: number) =>
    wordsOf([[1], []], [[encode('lw', { rd: A }), encode('addi', { rd: B, rs1: A, imm })], []]);
  assert.deepEqual(copy(0), [0, bits(A, B)]);
  assert.deepEqual(copy(1), [0, bits(A)]);
});

/** One of some instructions, by a number. */
function instruction(n: number): number {
  const [rd, rs1, rs2, imm] = [n % 4, (n >> 2) % 4, (n >> 4) % 4, ((n >> 6) % 3) - 1];
  const choices = [
    () => encode('addw', { rd, rs1, rs2 }),
    () => encode('lw', { rd, rs1 }),
    () => encode('ld', { rd, rs1 }),
    () => encode('and', { rd, rs1, rs2 }),
    () => encode('xor', { rd, rs1, rs2 }),
    () => encode('ori', { rd, rs1, imm }),
    () => encode('addi', { rd, rs1, imm }),
    () => encode('lui', { rd, imm: -4096 }),
    () => encode('add', { rd, rs1, rs2 }),
    () => encode('srai', { rd, rs1, imm: 31 + (n % 2) }),
    () => encode('bseti', { rd, rs1, imm: 31 }),
  ];
  return choices[(n >> 8) % choices.length]!();
}

/** What such an instruction makes of the registers; loads give `loaded`. */
function execute(x: bigint[], code: number, loaded: bigint): void {
  const { number, operands } = decodeBits(code)!;
  const { name } = INSTRUCTIONS[number]!;
  const { rd, rs1, rs2 } = operands;
  const imm = BigInt(operands.imm);
  const [a, b] = [x[rs1] ?? 0n, x[rs2] ?? 0n];
  const results: Record<string, bigint> = {
    addw: BigInt.asIntN(32, a + b),
    lw: BigInt.asIntN(32, loaded),
    ld: loaded,
    and: a & b,
    xor: a ^ b,
    ori: a | imm,
    addi: a + imm,
    lui: imm,
    add: a + b,
    srai: a >> imm,
    bseti: a | (1n << 31n),
  };
  if (rd !== 0) x[rd] = BigInt.asIntN(64, results[name]!);
}

test('property: on every way, what is said to be a word is one', () => {
  const code = fc.array(fc.nat({ max: 2 ** 16 }), { maxLength: 4 });
  fc.assert(
    fc.property(
      graphs,
      fc.array(code, { minLength: 12, maxLength: 12 }),
      fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { minLength: 4, maxLength: 4 }),
      fc.array(fc.nat(7), { maxLength: 40 }),
      (edges, numbers, start, turns) => {
        const region = regionOfGraph(edges, (block) => numbers[block]!.map(instruction));
        const words = findWords(region);
        const x = [0n, ...start.slice(1)];
        // Behind a call all is loaded again.
        for (const { returns } of region.blocks) assert.equal(words[returns] ?? 0, 0);
        let block = 0;
        for (const turn of turns) {
          for (let n = 1; n < 4; n++) {
            if (words[block]! & (1 << n)) assert.equal(BigInt.asIntN(32, x[n]!), x[n]);
          }
          for (const [at, bits] of region.blocks[block]!.code.entries()) execute(x, bits, start[at % 4]!);
          const next = directSuccessorsOf(region, block);
          if (next.length === 0) break;
          block = next[turn % next.length]!;
        }
      },
    ),
    { numRuns: 500 },
  );
});
