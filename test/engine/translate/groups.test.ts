import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EFFECTS } from '../../../src/engine/translate/effects.ts';
import { analyseFlow, directSuccessorsOf } from '../../../src/engine/translate/flow.ts';
import {
  type AccessGroup,
  type GroupedBlock,
  groupAccesses,
  groupBlocks,
} from '../../../src/engine/translate/groups.ts';
import { decodeBits, OUTSIDE, type Region } from '../../../src/engine/translate/region.ts';
import { registersWritten } from '../../../src/engine/translate/registers.ts';
import { findStreams } from '../../../src/engine/translate/streams.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { graphs } from './graphs.ts';
import { regionOf, regionOfGraph } from './regions.ts';

const { a0, a1, a2, t0, ra } = R;

/** Numbers of the groups of instructions; -1 where there is none. */
function groupsOf(...instructions: [name: string, operands: object][]): [numbers: number[], groups: AccessGroup[]] {
  const groups = groupAccesses(instructions.map(([name, operands]) => decodeBits(encode(name, operands))!));
  const distinct = [...new Set(groups)].filter((group) => group !== undefined);
  return [groups.map((group) => (group === undefined ? -1 : distinct.indexOf(group))), distinct];
}

describe('groups of accesses', () => {
  test('reads, and writes with the reads behind them, are a group each, with the bytes that they span', () => {
    const [numbers, groups] = groupsOf(
      ['ld', { rd: a1, rs1: a0, imm: 8 }],
      ['sw', { rs1: a0, rs2: a1, imm: -4 }],
      ['lbu', { rd: a2, rs1: a0, imm: -3 }],
      ['add', { rd: a2, rs1: a1, rs2: a2 }],
      ['fsd', { rs1: a0, rs2: 1, imm: 16 }],
    );
    assert.deepEqual(numbers, [0, 1, 1, -1, 1]);
    assert.deepEqual(groups, [
      { kind: 'read', base: a0, low: 8, last: 15, count: 1 },
      { kind: 'write', base: a0, low: -4, last: 23, count: 3 },
    ]);
  });

  test('a write to the base ends its groups, behind the instruction that writes it', () => {
    const [numbers] = groupsOf(
      ['ld', { rd: a0, rs1: a0 }],
      ['ld', { rd: a1, rs1: a0 }],
      ['addi', { rd: a0, rs1: a0, imm: 8 }],
      ['ld', { rd: a1, rs1: a0 }],
    );
    assert.deepEqual(numbers, [0, 1, -1, 2]);
  });

  test('a floating-point register with the number of the base is not the base', () => {
    const [numbers] = groupsOf(['fld', { rd: a0, rs1: a0 }], ['fld', { rd: a1, rs1: a0, imm: 8 }]);
    assert.deepEqual(numbers, [0, 0]);
  });

  test('atomic accesses are in no group', () => {
    const [numbers] = groupsOf(['amoadd.w', { rd: a1, rs1: a0, rs2: a2 }], ['lr.w', { rd: a1, rs1: a0 }]);
    assert.deepEqual(numbers, [-1, -1]);
  });

  test('of any instructions: one base that stays, no write behind a read, a span that has all of them, and is not long', () => {
    const register = fc.integer({ min: 0, max: 3 });
    const one = fc.tuple(
      fc.constantFrom('ld', 'lb', 'sw', 'fsd', 'fld', 'addi', 'amoswap.d'),
      register,
      register,
      fc.integer({ min: -2048, max: 2047 }),
    );
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 30 }), (list) => {
        const instructions = list.map(([name, rd, rs1, imm]) => {
          const isStore = name === 'sw' || name === 'fsd';
          const other = name === 'amoswap.d' ? { rd, rs1, rs2: 1 } : { rd, rs1, imm };
          return decodeBits(encode(name, isStore ? { rs1, rs2: rd, imm } : other))!;
        });
        const groups = groupAccesses(instructions);
        for (const group of new Set(groups)) {
          if (group === undefined) continue;
          const members = groups.flatMap((its, index) => (its === group ? [index] : []));
          assert.equal(group.count, members.length);
          const spans = members.map((index) => {
            const { number, operands } = instructions[index]!;
            const access = EFFECTS[number]!.access!;
            assert.ok(access.kind === group.kind || (access.kind === 'read' && index > members[0]!));
            assert.equal(operands.rs1, group.base);
            return [operands.imm, operands.imm + access.bytes - 1] as const;
          });
          assert.equal(group.low, Math.min(...spans.map(([low]) => low)));
          assert.equal(group.last, Math.max(...spans.map(([, last]) => last)));
          // A page could not have all of a longer one.
          assert.ok(group.last - group.low < 4096);
          for (let index = members[0]!; index < members.at(-1)!; index++) {
            assert.equal(registersWritten(instructions[index]!).x & (1 << group.base) & ~1, 0);
          }
        }
        for (const [index, { number }] of instructions.entries()) {
          assert.equal(groups[index] !== undefined, EFFECTS[number]!.access !== undefined);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** Loads, stores and what moves a base, of a few registers, by a number. */
function anyInstruction(n: number): number {
  const [rd, rs1, imm] = [n % 4, (n >> 2) % 4, ((n >> 4) % 512) - 256];
  const choices = [
    () => encode('ld', { rd: rd + 4, rs1, imm }),
    () => encode('sw', { rs1, rs2: rd + 4, imm }),
    () => encode('sd', { rs1, rs2: rd + 4, imm }),
    () => encode('lbu', { rd: rd + 4, rs1, imm }),
    () => encode('add', { rd, rs1 }),
    () => encode('add', { rd: rd + 4, rs1 }),
  ];
  return choices[(n >> 13) % choices.length]!();
}

const grouped = (region: Region): readonly GroupedBlock[] => {
  const flow = analyseFlow(region);
  return groupBlocks(region, flow, findStreams(region, flow));
};

describe('groups beyond a block', () => {
  test('what is behind a branch belongs to those before it, and what several ways lead to does not', () => {
    const region = regionOf((a) => {
      a.i('sd', { rs1: a0, rs2: a1, imm: 8 }).to('beq', 'else', { rs1: a1 });
      a.i('ld', { rd: a2, rs1: a0, imm: 16 }).to('jal', 'on');
      a.label('else').i('sd', { rs1: a0, rs2: a2, imm: 24 });
      a.label('on').i('ld', { rd: a2, rs1: a0, imm: 8 }).i('ebreak');
    })!;
    const blocks = grouped(region);
    const at = (offset: number): GroupedBlock => blocks[region.blocks.findIndex((its) => its.offset === offset)]!;
    const [first] = at(0).groups;
    assert.deepEqual(first, { kind: 'write', base: a0, low: 8, last: 31, count: 3 });
    assert.equal(at(8).groups[0], first);
    assert.equal(at(16).groups[0], first);
    assert.notEqual(at(20).groups[0], first);
    assert.deepEqual(
      [0, 8, 16, 20].map((offset) => at(offset).goesOn),
      [false, true, true, false],
    );
    assert.ok(grouped({ ...region, straddles: true }).every(({ goesOn }) => !goesOn));
  });

  test('what is far away has a look of its own', () => {
    const region = regionOf((a) => {
      a.i('ld', { rd: a1, rs1: a0 }).to('beq', 'far', { rs1: a1 }).i('ld', { rd: a1, rs1: a0, imm: 248 }).i('ebreak');
      a.label('far').i('ld', { rd: a1, rs1: a0, imm: 256 }).i('ebreak');
    })!;
    const counts = grouped(region).map(({ groups }) => groups.find((group) => group !== undefined)?.count);
    assert.deepEqual(counts.sort(), [1, 2, 2]);
  });

  test('of any region: on the only way to each access is one before it, and the base stays as it is in between', () => {
    fc.assert(
      fc.property(
        graphs,
        fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
        fc.boolean(),
        (edges, numbers, straddles) => {
          const codeOf = (block: number): number[] => numbers.slice(block * 5, block * 5 + 5).map(anyInstruction);
          const region = { ...regionOfGraph(edges, codeOf), straddles };
          const blocks = grouped(region);
          // By block: those that lead to it. An irreducible edge leaves the region.
          const ways: number[][] = region.blocks.map(() => []);
          for (const [from, { returns }] of region.blocks.entries()) {
            for (const to of [...directSuccessorsOf(region, from), returns]) {
              if (to !== OUTSIDE) ways[to]!.push(from);
            }
          }
          // The access before one on the only way to it, in the same group; undefined: it is the first one.
          const before = (block: number, index: number): readonly [block: number, index: number] | undefined => {
            const group = blocks[block]!.groups[index]!;
            const seen = new Set<number>();
            for (let [b, i] = [block, index - 1]; ; i--) {
              if (i < 0) {
                const [from] = ways[b]!;
                if (b === 0 || ways[b]!.length !== 1 || seen.has(b) || region.blocks[from!]!.returns === b)
                  return undefined;
                seen.add(b);
                [b, i] = [from!, blocks[from!]!.groups.length];
                continue;
              }
              const { x } = registersWritten(blocks[b]!.instructions[i]!);
              if (blocks[b]!.groups[i] === group) return [b, i];
              if (x & (1 << group.base)) return undefined;
            }
          };
          for (const [block, { groups, instructions, goesOn }] of blocks.entries()) {
            for (const [index, group] of groups.entries()) {
              if (group === undefined) continue;
              const { number, operands } = instructions[index]!;
              const { kind, bytes } = EFFECTS[number]!.access!;
              assert.equal(operands.rs1, group.base);
              assert.ok(
                operands.imm >= group.low && operands.imm + bytes - 1 <= group.last && group.last - group.low < 1024,
              );
              const earlier = before(block, index);
              if (earlier === undefined) assert.equal(kind, group.kind);
              else if (earlier[0] !== block) assert.ok(goesOn && !straddles);
            }
          }
          // Those that have none before them are looked up: one for each group, and no more than one.
          const first = blocks.flatMap(({ groups }, block) =>
            groups.flatMap((group, index) => (group && before(block, index) === undefined ? [group] : [])),
          );
          assert.equal(new Set(first).size, first.length);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

/** The streams in the block at an offset. */
function streamsAt(offset: number, write: (a: Assembler) => void): string[] {
  const region = regionOf(write)!;
  const block = region.blocks.findIndex((its) => its.offset === offset);
  return [...findStreams(region, analyseFlow(region))[block]!.keys()].sort();
}

describe('streams', () => {
  const end = (a: Assembler): unknown => a.to('bne', 'loop', { rs1: t0 }).i('ebreak');

  test('accesses by a base that stays, or moves in small steps', () => {
    const streams = streamsAt(0, (a) => {
      a.label('loop').i('ld', { rd: a2, rs1: a0 }).i('sd', { rs1: a1, rs2: a2 });
      a.i('addi', { rd: a0, rs1: a0, imm: 8 }).i('addi', { rd: a0, rs1: a0, imm: -64 });
      end(a);
    });
    assert.deepEqual(streams, [`read ${a0}`, `write ${a1}`]);
  });

  for (const [name, step] of [
    ['another register', (a: Assembler) => a.i('addi', { rd: a0, rs1: a1, imm: 8 })],
    ['a sum', (a: Assembler) => a.i('add', { rd: a0, rs1: a0, rs2: a1 })],
    ['a large step', (a: Assembler) => a.i('addi', { rd: a0, rs1: a0, imm: 65 })],
    ['a sum of 32 bits', (a: Assembler) => a.i('addiw', { rd: a0, rs1: a0, imm: 8 })],
    ['what is loaded', (a: Assembler) => a.i('ld', { rd: a0, rs1: a0 })],
  ] as const) {
    test(`a base that becomes ${name} has none`, () => {
      const streams = streamsAt(0, (a) => {
        a.label('loop').i('ld', { rd: a2, rs1: a0 });
        step(a);
        end(a);
      });
      assert.ok(!streams.includes(`read ${a0}`));
    });
  }

  test('one of a name has one span in all loops; accesses that are far apart make none', () => {
    const region = regionOf((a) => {
      a.label('loop').i('ld', { rd: a2, rs1: a0 }).i('lw', { rd: a2, rs1: a0, imm: 20 });
      a.label('inner')
        .i('ld', { rd: a2, rs1: a0 })
        .i('sd', { rs1: a1, rs2: a2 })
        .i('sd', { rs1: a1, rs2: a2, imm: 64 });
      a.to('bne', 'inner', { rs1: a2 });
      end(a);
    })!;
    for (const streams of findStreams(region, analyseFlow(region)).filter((its) => its.size > 0)) {
      assert.deepEqual([...streams.values()], [{ kind: 'read', base: a0, span: 24 }]);
    }
  });

  test('they are those of the innermost loop, and outside of loops there are none', () => {
    const write = (a: Assembler): void => {
      a.i('ld', { rd: a2, rs1: a0 })
        .label('loop')
        .i('ld', { rd: a2, rs1: a1 })
        .label('inner')
        .i('ld', { rd: a2, rs1: ra });
      a.i('addi', { rd: a2, rs1: a2, imm: 1 }).to('bne', 'inner', { rs1: a2 });
      end(a);
    };
    assert.deepEqual(streamsAt(0, write), []);
    assert.deepEqual(streamsAt(4, write), [`read ${ra}`, `read ${a1}`]);
    assert.deepEqual(streamsAt(8, write), [`read ${ra}`]);
  });
});
