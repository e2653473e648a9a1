import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EFFECTS } from '../../../src/engine/translate/effects.ts';
import { analyseFlow } from '../../../src/engine/translate/flow.ts';
import { type AccessGroup, groupAccesses } from '../../../src/engine/translate/groups.ts';
import { decodeBits } from '../../../src/engine/translate/region.ts';
import { registersWritten } from '../../../src/engine/translate/registers.ts';
import { findStreams } from '../../../src/engine/translate/streams.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { regionOf } from './regions.ts';

const { a0, a1, a2, t0, ra } = R;

/** Numbers of the groups of instructions; -1 where there is none. */
function groupsOf(...instructions: [name: string, operands: object][]): [numbers: number[], groups: AccessGroup[]] {
  const groups = groupAccesses(instructions.map(([name, operands]) => decodeBits(encode(name, operands))!));
  const distinct = [...new Set(groups)].filter((group) => group !== undefined);
  return [groups.map((group) => (group === undefined ? -1 : distinct.indexOf(group))), distinct];
}

describe('groups of accesses', () => {
  test('reads and writes of one base are a group each, with the bytes that they span', () => {
    const [numbers, groups] = groupsOf(
      ['ld', { rd: a1, rs1: a0, imm: 8 }],
      ['sw', { rs1: a0, rs2: a1, imm: -4 }],
      ['lbu', { rd: a2, rs1: a0, imm: -3 }],
      ['add', { rd: a2, rs1: a1, rs2: a2 }],
      ['fsd', { rs1: a0, rs2: 1, imm: 16 }],
    );
    assert.deepEqual(numbers, [0, 1, 0, -1, 1]);
    assert.deepEqual(groups, [
      { kind: 'read', base: a0, low: -3, last: 15, count: 2 },
      { kind: 'write', base: a0, low: -4, last: 23, count: 2 },
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

  test('of any instructions: one base that stays, one kind, a span that has all of them, and is not long', () => {
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
            assert.equal(access.kind, group.kind);
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
