import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { discover } from '../../../src/engine/translate/discover.ts';
import { successorsOf } from '../../../src/engine/translate/flow.ts';
import { instructionLength, OUTSIDE, type Region } from '../../../src/engine/translate/region.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, R } from '../assembler.ts';
import { regionOf, shapeOf } from './regions.ts';

const { a0, a1, ra, t0, t1 } = R;
const shape = (write: (a: Assembler) => void, isExecuted?: (offset: number) => boolean): string[] =>
  shapeOf(regionOf(write, isExecuted)!);
const instructions = ({ blocks }: Region): number => blocks.reduce((sum, block) => sum + block.code.length, 0);

describe('blocks of a region', () => {
  test('a loop: to its start, behind it, and where it can be left', () => {
    const blocks = shape((a) => {
      a.i('addi', { rd: a0, rs1: a0, imm: 1 }).label('loop').nops(2).to('beq', 'out', { rs1: a1 }).nops(1);
      a.to('bne', 'loop', { rs1: a0 }).label('out').i('jalr', { rs1: t1 });
    });
    assert.deepEqual(blocks, ['0: - 4 -', '4: 24 16 -', '24: - - -', '16: 4 24 -']);
  });

  test('a jump into the middle of a block cuts it', () => {
    const blocks = shape((a) => {
      a.nops(2).label('middle').nops(1).to('bne', 'middle', { rs1: a0 }).i('ebreak');
    });
    assert.deepEqual(blocks, ['0: - 8 -', '8: 8 - -']);
  });

  test('what has not been executed is outside', () => {
    const write = (a: Assembler): void => {
      a.nops(1).to('bne', 'seldom', { rs1: a0 }).nops(1).i('jalr', { rs1: t1 }).label('seldom').i('jalr', { rs1: t1 });
    };
    assert.deepEqual(shape(write), ['0: 16 8 -', '16: - - -', '8: - - -']);
    assert.deepEqual(
      shape(write, (offset) => offset !== 16),
      ['0: - 8 -', '8: - - -'],
    );
    assert.equal(
      regionOf(write, (offset) => offset !== 0),
      undefined,
    );
  });

  test('instructions for the interpreter end a block, and a region does not begin with one', () => {
    assert.deepEqual(
      shape((a) => a.nops(3).i('ecall').nops(1)),
      ['0: - - -'],
    );
    for (const name of ['ecall', 'ebreak', 'mret', 'sret', 'wfi']) {
      assert.equal(
        regionOf((a) => a.i(name)),
        undefined,
        name,
      );
    }
    assert.equal(
      regionOf((a) => a.word(0)),
      undefined,
    );
  });

  test('short and long instructions', () => {
    const blocks = shape((a) => {
      a.label('loop').c('c.addi', { rd: a0, rs1: a0, imm: 1 }).i('addi').c('c.addi', { rd: a1, rs1: a1, imm: 1 });
      a.to('bne', 'loop', { rs1: a0 }).i('ebreak');
    });
    assert.deepEqual(blocks, ['0: 0 - -']);
  });
});

describe('calls', () => {
  test('a small function is taken in, for each call of it', () => {
    const region = regionOf((a) => {
      a.to('jal', 'function', { rd: ra }).to('jal', 'function', { rd: ra }).i('jalr', { rs1: t1 });
      a.label('function').nops(2).i('jalr', { rs1: ra });
    })!;
    assert.deepEqual(shapeOf(region), ['0: 12 - -', '12: - - 4', '4: 12 - -', '12: - - 8', '8: - - -']);
    // They are not one block.
    assert.notEqual(region.blocks[0]!.taken, region.blocks[2]!.taken);
  });

  test('by the other link register, too', () => {
    const blocks = shape((a) => {
      a.to('jal', 'function', { rd: t0 }).i('jalr', { rs1: t1 }).label('function').nops(1).i('jalr', { rs1: t0 });
    });
    assert.deepEqual(blocks, ['0: 8 - -', '8: - - 4', '4: - - -']);
  });

  test('a function that calls itself is left out, and so is one that is in the middle of being taken in', () => {
    const region = regionOf((a) => {
      a.to('jal', 'first', { rd: ra }).i('jalr', { rs1: t1 });
      a.label('first').nops(1).to('jal', 'second', { rd: ra }).i('jalr', { rs1: ra });
      a.label('second').nops(2).to('jal', 'first', { rd: ra }).i('jalr', { rs1: ra });
    })!;
    const calls = region.blocks.filter(({ offset }) => offset === 20);
    assert.equal(calls.length, 1);
    assert.equal(calls[0]!.taken, OUTSIDE);
  });

  test('so much of recursion is taken in that the region is limited', () => {
    const region = regionOf((a) => {
      a.label('fibonacci').nops(4).to('bne', 'out', { rs1: a0 }).to('jal', 'fibonacci', { rd: ra }).nops(3);
      a.to('jal', 'fibonacci', { rd: ra }).nops(2).label('out').nops(2).i('jalr', { rs1: ra });
    })!;
    assert.ok(instructions(region) <= 250);
  });

  test('a chain of calls is taken in down to some depth', () => {
    const depth = 12;
    const region = regionOf((a) => {
      for (let n = 0; n < depth; n++)
        a.label(`f${n}`)
          .to('jal', `f${n + 1}`, { rd: ra })
          .i('jalr', { rs1: ra });
      a.label(`f${depth}`).i('jalr', { rs1: ra });
    })!;
    const taken = region.blocks.filter(({ offset, code }) => offset % 8 === 0 && code.length === 1 && offset > 0);
    assert.ok(taken.length >= 2 && taken.length < depth, `${taken.length} calls`);
  });

  test('a function that calls itself is taken in once, and then called', () => {
    const region = regionOf((a) => {
      a.label('f').to('beq', 'end', { rs1: t1 }).to('jal', 'f', { rd: ra }).nops(1).label('end').i('jalr', { rs1: ra });
    })!;
    const [first, second, ...others] = region.blocks.filter(({ offset }) => offset === 4);
    assert.deepEqual(others, []);
    assert.equal(region.blocks[first!.taken]!.offset, 0);
    assert.equal(first!.returns, OUTSIDE);
    assert.equal(second!.taken, OUTSIDE);
    assert.equal(region.blocks[second!.returns]!.offset, 8);
  });

  test('a long function is called, and the region ends there', () => {
    const blocks = shape((a) => {
      a.to('jal', 'function', { rd: ra }).i('jalr', { rs1: t1 }).label('function').nops(200).i('jalr', { rs1: ra });
    });
    assert.deepEqual(blocks, ['0: - - -']);
  });
});

describe('indirect jumps', () => {
  test('lead to where they have led before', () => {
    const write = (a: Assembler): void => {
      a.label('loop').nops(1).i('jalr', { rs1: t1 }).nops(1).jump('loop').label('other').nops(2).jump('loop');
    };
    assert.deepEqual(shape(write), ['0: - - -']);
    assert.deepEqual(shapeOf(regionOf(write, undefined, (offset) => (offset === 4 ? [16, 8] : []))!), [
      '0: - - 16,8',
      '16: 0 - -',
      '8: 0 - -',
    ]);
  });

  test('to what has not been executed are left out', () => {
    const region = regionOf(
      (a) => a.nops(1).i('jalr', { rs1: t1 }).nops(4),
      (offset) => offset !== 12,
      () => [12],
    )!;
    assert.deepEqual(shapeOf(region), ['0: - - -']);
  });

  test('that are calls take the functions in, and go on behind the call', () => {
    const region = regionOf(
      (a) => {
        a.i('jalr', { rd: ra, rs1: t1 })
          .nops(1)
          .i('ebreak')
          .nops(1)
          .i('jalr', { rs1: ra })
          .nops(2)
          .i('jalr', { rs1: ra });
      },
      undefined,
      (offset) => (offset === 0 ? [20, 12] : []),
    )!;
    assert.deepEqual(shapeOf(region), ['0: - - 20,12', '20: - - 4', '12: - - 4', '4: - - -']);
  });
});

test('long code is taken in up to a limit, and goes on outside', () => {
  const region = regionOf((a) => a.nops(2000).i('ebreak'))!;
  const count = instructions(region);
  assert.ok(count >= 100 && count <= 400, `${count} instructions`);
  assert.equal(region.blocks.at(-1)!.next, OUTSIDE);
});

/** One instruction of random code: computation, branches, jumps, calls and returns within it. */
function instructionAt(index: number, count: number, [kind, target]: readonly [number, number]): number {
  const imm = ((target % count) - index) * 4;
  if (kind < 8) return encode('addi', { rd: a0, rs1: a0, imm: 1 });
  if (kind < 12) return encode('bne', { rs1: a0, rs2: a1, imm });
  if (kind < 13) return encode('jal', { rd: 0, imm });
  if (kind < 15) return encode('jal', { rd: ra, imm });
  return kind < 16 ? encode('jalr', { rs1: ra }) : encode('ecall');
}

test('of any code: blocks are what stands there, edges are those of the instructions, and all can be reached', () => {
  const code = fc.array(fc.tuple(fc.nat(16), fc.nat()), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(code, fc.nat(), (list, holes) => {
      const words = list.map((one, index) => instructionAt(index, list.length, one));
      const isExecuted = (offset: number): boolean => (holes >> ((offset / 4) % 29)) % 2 === 0 || offset % 20 !== 0;
      const read = (offset: number): number | undefined =>
        offset >= 0 && isExecuted(offset) ? words[offset / 4] : undefined;
      const region = discover(read);
      if (region === undefined) return;
      assert.equal(region.blocks[0]!.offset, 0);
      const reached = new Set([0]);
      for (const block of reached) for (const to of successorsOf(region, block)) reached.add(to);
      assert.equal(reached.size, region.blocks.length);
      for (const { offset, code: bits, taken, next, likely } of region.blocks) {
        let at = offset;
        for (const [index, word] of bits.entries()) {
          assert.equal(word, read(at));
          const kind = word & 0x7f;
          const ends = kind === 0x63 || kind === 0x6f || kind === 0x67;
          assert.notEqual(kind, 0x73, 'an instruction for the interpreter');
          assert.ok(!ends || index === bits.length - 1, 'a jump in the middle of a block');
          at += instructionLength(word);
        }
        const to = (block: number): number | undefined => region.blocks[block]?.offset;
        const last = bits.at(-1)!;
        const target = at - 4 + targetOf(last);
        if (taken !== OUTSIDE) assert.equal(to(taken), target);
        if (next !== OUTSIDE) assert.equal(to(next), at);
        if (likely.length > 0) assert.equal(last & 0x7f, 0x67);
      }
    }),
    { numRuns: 1500 },
  );
});

/** Distance of a branch or jump, from the encoding. */
function targetOf(word: number): number {
  if ((word & 0x7f) === 0x63) {
    const low = ((word >> 7) & 0x1e) | ((word << 4) & 0x800);
    return low | ((word >> 20) & 0x7e0) | ((word >> 31) << 12);
  }
  return ((word >> 20) & 0x7fe) | ((word >> 9) & 0x800) | (word & 0xff000) | ((word >> 31) << 20);
}
