import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { analyseFlow, directSuccessorsOf } from '../../../src/engine/translate/flow.ts';
import { decodeBits, OUTSIDE, type Region } from '../../../src/engine/translate/region.ts';
import { analyseRegisters, registersRead, registersWritten } from '../../../src/engine/translate/registers.ts';
import { findWords } from '../../../src/engine/translate/word-flow.ts';
import { encode } from '../../../src/isa/encode.ts';
import { graphs } from './graphs.ts';
import { regionOfGraph } from './regions.ts';

const of = (name: string, operands = {}) => decodeBits(encode(name, operands))!;
const bits = (...registers: number[]): number => registers.reduce((set, n) => set | (1 << n), 0);

for (const [name, operands, read, written] of [
  ['add', { rd: 3, rs1: 4, rs2: 5 }, { x: bits(4, 5), f: 0 }, { x: bits(3), f: 0 }],
  ['add', { rd: 0, rs1: 0, rs2: 31 }, { x: bits(31), f: 0 }, { x: 0, f: 0 }],
  ['lui', { rd: 7 }, { x: 0, f: 0 }, { x: bits(7), f: 0 }],
  ['sd', { rs1: 8, rs2: 9 }, { x: bits(8, 9), f: 0 }, { x: 0, f: 0 }],
  ['fsd', { rs1: 8, rs2: 9 }, { x: bits(8), f: bits(9) }, { x: 0, f: 0 }],
  ['fld', { rd: 1, rs1: 8 }, { x: bits(8), f: 0 }, { x: 0, f: bits(1) }],
  ['fmadd.d', { rd: 0, rs1: 1, rs2: 2, rs3: 31 }, { x: 0, f: bits(1, 2, 31) }, { x: 0, f: bits(0) }],
  ['fcvt.d.l', { rd: 6, rs1: 7 }, { x: bits(7), f: 0 }, { x: 0, f: bits(6) }],
  ['feq.s', { rd: 6, rs1: 7, rs2: 8 }, { x: 0, f: bits(7, 8) }, { x: bits(6), f: 0 }],
  ['jalr', { rd: 1, rs1: 5 }, { x: bits(5), f: 0 }, { x: bits(1), f: 0 }],
  ['bne', { rs1: 5, rs2: 6 }, { x: bits(5, 6), f: 0 }, { x: 0, f: 0 }],
  ['amoadd.w', { rd: 1, rs1: 2, rs2: 3 }, { x: bits(2, 3), f: 0 }, { x: bits(1), f: 0 }],
  ['sc.d', { rd: 1, rs1: 2, rs2: 3 }, { x: bits(2, 3), f: 0 }, { x: bits(1), f: 0 }],
  ['csrrw', { rd: 1, rs1: 2, imm: 0x140 }, { x: bits(2), f: 0 }, { x: bits(1), f: 0 }],
  ['csrrwi', { rd: 1, rs1: 2, imm: 0x140 }, { x: 0, f: 0 }, { x: bits(1), f: 0 }],
] as const) {
  test(`registers of ${name} ${JSON.stringify(operands)}`, () => {
    assert.deepEqual(registersRead(of(name, operands)), read);
    assert.deepEqual(registersWritten(of(name, operands)), written);
  });
}

/** One of some instructions that write registers of both files, by a number. */
function instruction(n: number): number {
  const [rd, rs1, rs2] = [n % 32, (n >> 5) % 32, (n >> 10) % 32];
  const choices = [
    () => encode('add', { rd, rs1, rs2 }),
    () => encode('fadd.d', { rd, rs1, rs2 }),
    () => encode('ld', { rd, rs1 }),
    () => encode('fld', { rd, rs1 }),
    () => encode('sd', { rs1, rs2 }),
    () => encode('fmv.x.d', { rd, rs1 }),
    () => encode('lw', { rd, rs1 }),
    () => encode('addw', { rd, rs1, rs2 }),
    () => encode('xor', { rd, rs1, rs2 }),
  ];
  return choices[(n >> 15) % choices.length]!();
}

/** By definition: some way from the block's end leads to the other one's start, by edges of which all keep what is asked about. */
function leadsTo(
  region: Region,
  from: number,
  to: number,
  keeps: (from: number, to: number) => boolean = () => true,
): boolean {
  const seen = new Set<number>();
  const behind = (block: number): number[] => directSuccessorsOf(region, block).filter((next) => keeps(block, next));
  const queue = behind(from);
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    if (seen.has(block)) continue;
    seen.add(block);
    queue.push(...behind(block));
  }
  return seen.has(to);
}

type File = 'x' | 'f';

/** What a block does first with a register. */
function firstUse(region: Region, block: number, file: File, bit: number): 'read' | 'write' | undefined {
  for (const word of region.blocks[block]!.code) {
    const decoded = decodeBits(word)!;
    if (registersRead(decoded)[file] & bit) return 'read';
    if (registersWritten(decoded)[file] & bit) return 'write';
  }
  return undefined;
}

/** By definition: some way from the block's start leads to a read with no write before it. */
function isLive(region: Region, block: number, file: File, bit: number): boolean {
  const seen = new Set<number>();
  const queue = [block];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    const use = firstUse(region, at, file, bit);
    if (use === 'read') return true;
    if (use === undefined) queue.push(...directSuccessorsOf(region, at));
  }
  return false;
}

/** By definition: some way from one block's start leads to the other one's without a write. */
function isUnwrittenAt(region: Region, from: number, to: number, writes: (block: number) => boolean): boolean {
  const seen = new Set([from]);
  const queue = [from];
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    if (block === to) return true;
    if (writes(block)) continue;
    for (const successor of directSuccessorsOf(region, block)) {
      if (seen.has(successor)) continue;
      seen.add(successor);
      queue.push(successor);
    }
  }
  return false;
}

test('a register may have changed when some way to the block writes it and does not store it', () => {
  const code = fc.array(fc.nat({ max: 2 ** 20 }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(graphs, fc.array(code, { minLength: 12, maxLength: 12 }), (edges, numbers) => {
      const region = regionOfGraph(edges, (block) => numbers[block]!.map(instruction));
      const sets = region.blocks.map((block) => {
        const all = block.code.map((word) => registersWritten(decodeBits(word)!));
        return all.reduce((a, b) => ({ x: a.x | b.x, f: a.f | b.f }), { x: 0, f: 0 });
      });
      const flow = analyseFlow(region);
      const words = findWords(region);
      const use = analyseRegisters(region, flow, words);
      const { changed, written, wanted, known, carried, retired } = use;
      for (const to of region.blocks.keys()) {
        for (const file of ['x', 'f'] as const) {
          for (let n = 0; n < 32; n++) {
            const bit = 1 << n;
            const isWord = file === 'x' && (words[to]! & bit) !== 0;
            assert.equal((carried[to]![file] & bit) !== 0, isWord || isLive(region, to, file, bit));
            if (file === 'x') assert.equal((use.words[to]! & bit) !== 0, isWord && (wanted[to]!.x & bit) !== 0);
            if ((written[file] & bit) === 0) assert.equal(changed[to]![file] & bit, 0);
            else {
              const writers = [...sets.keys()].filter((from) => sets[from]![file] & bit);
              const keeps = (_: number, b: number): boolean => !flow.isLoopHeader[b] || (carried[b]![file] & bit) !== 0;
              const isCarried = writers.some((from) => leadsTo(region, from, to, keeps));
              assert.equal((changed[to]![file] & bit) !== 0, isCarried);
              const loses = [...sets.keys()].some((from) =>
                directSuccessorsOf(region, from).some(
                  (next) => !keeps(from, next) && ((changed[from]![file] | sets[from]![file]) & bit) !== 0,
                ),
              );
              assert.equal((retired[file] & bit) !== 0, loses);
            }
          }
        }
      }
      const loading = [0, ...region.blocks.map(({ returns }) => returns).filter((block) => block !== OUTSIDE)];
      for (const from of loading) {
        assert.equal(known.x & ~wanted[from]!.x, 0);
        assert.equal(known.f & ~wanted[from]!.f, 0);
        for (const to of region.blocks.keys()) {
          for (let n = 0; n < 32; n++) {
            for (const file of ['x', 'f'] as const) {
              const bit = 1 << n;
              const writes = (block: number): boolean => (sets[block]![file] & bit) !== 0;
              if (wanted[from]![file] & bit || !isUnwrittenAt(region, from, to, writes)) continue;
              // What its local holds is nothing: it must be neither stored nor read.
              assert.equal(changed[to]![file] & bit, 0);
              assert.notEqual(firstUse(region, to, file, bit), 'read');
            }
          }
        }
      }
    }),
    { numRuns: 1000 },
  );
});
