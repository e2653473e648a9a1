import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BINARY32, BINARY64, FloatOp, floatOp, lastFlags } from '../../src/engine/softfloat/index.ts';
import { INSTRUCTIONS } from '../../src/isa/decode.ts';
import { type Assembler, R } from './assembler.ts';
import { BareMachine, CODE, DATA, RAM } from './bare-machine.ts';
import { patterns } from './softfloat/patterns.ts';

/**
 * The engine's floating point against the exact arithmetic: all operations, formats and rounding modes, with inexact
 * already set and clear (which decides whether a native result may be taken).
 */

const { a0, a1, a2, a3, a4, a5, t0 } = R;
const CASES = 1200;
const CASE_BYTES = 32;
const INPUTS = RAM + 0x4_0000;
const RESULTS = RAM + 0x8_0000;
const FS = 3 << 13;
const BOX = 0xffff_ffff_0000_0000n;

type Format = 's' | 'd';
/** What the operands are, by the syntax of the instruction: registers of integers (rs1) or floats (frs1). */
interface Case {
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
  readonly mode: number;
  readonly flags: number;
}

const formatOf = (format: Format) => (format === 's' ? BINARY32 : BINARY64);
const boxed = (format: Format, bits: bigint): bigint => (format === 's' ? BOX | bits : bits);

/** Number of the exact operation, and formats of operands and result (x: an integer register). */
function operationOf(name: string): { op: number; from: Format | 'x'; to: Format | 'x' } | undefined {
  const [stem, ...rest] = name.split('.');
  const FORMATS = ['s', 'd'];
  if (stem === 'fcvt') {
    const [to, from] = rest as [string, string];
    if (name === 'fcvt.s.d') return { op: FloatOp.FCVT_S_D, from: 'd', to: 's' };
    if (name === 'fcvt.d.s') return { op: FloatOp.FCVT_D_S, from: 's', to: 'd' };
    if (FORMATS.includes(from)) {
      return { op: FloatOp[`FCVT_${to.toUpperCase()}` as keyof typeof FloatOp], from: from as Format, to: 'x' };
    }
    return { op: FloatOp[`FCVT_FROM_${from.toUpperCase()}` as keyof typeof FloatOp], from: 'x', to: to as Format };
  }
  const op = FloatOp[stem!.toUpperCase() as keyof typeof FloatOp] as number | undefined;
  if (op === undefined) return undefined;
  const format = rest[0] as Format;
  return { op, from: format, to: ['feq', 'flt', 'fle', 'fclass'].includes(stem!) ? 'x' : format };
}

const integers = fc.oneof(
  fc.bigInt(0n, (1n << 64n) - 1n),
  fc.bigInt(0n, 63n).map((bit) => 1n << bit),
  fc.tuple(fc.bigInt(0n, 63n), fc.bigInt(-3n, 3n)).map(([bit, near]) => BigInt.asUintN(64, (1n << bit) + near)),
  fc.tuple(fc.bigInt(0n, 63n), fc.bigInt(-3n, 3n)).map(([bit, near]) => BigInt.asUintN(64, near - (1n << bit))),
);

function casesOf(from: Format | 'x'): Case[] {
  const operand = from === 'x' ? integers : patterns(formatOf(from));
  const same = fc.tuple(operand, operand, operand, fc.integer({ min: 0, max: 5 })).map(([a, b, c, equal]) => ({
    a,
    // Equal operands are rare otherwise, and cancel.
    b: equal === 0 ? a : b,
    c: equal === 1 ? a : c,
  }));
  const inexact = fc.boolean().map((set) => (set ? 1 : 0));
  const other = fc.constantFrom(0, 0, 0, 0x10, 0x1e);
  const cases = fc
    .tuple(same, fc.constantFrom(0, 0, 0, 1, 2, 3, 4), inexact, other)
    .map(([operands, mode, nx, flags]) => ({ ...operands, mode, flags: flags | nx }));
  return fc.sample(cases, CASES);
}

/** Loads the operands of each case, sets fcsr, executes the instruction, stores the result and fcsr. */
function loop(a: Assembler, name: string, from: Format | 'x', to: Format | 'x', operands: number): void {
  const rounds = INSTRUCTIONS.find((instruction) => instruction.name === name)!.syntax.endsWith('rm');
  a.li(t0, FS).csr('csrrs', 0, 'mstatus', t0).li(a0, INPUTS).li(a1, RESULTS).li(a2, CASES).label('loop');
  if (from === 'x') a.i('ld', { rd: a3, rs1: a0 });
  else for (let i = 0; i < 3; i++) a.i('fld', { rd: i + 1, rs1: a0, imm: i * 8 });
  a.i('ld', { rd: a4, rs1: a0, imm: 24 }).csr('csrrw', 0, 'fcsr', a4);
  a.i(name, {
    rd: to === 'x' ? a5 : 4,
    rs1: from === 'x' ? a3 : 1,
    ...(operands > 1 ? { rs2: 2 } : {}),
    ...(operands > 2 ? { rs3: 3 } : {}),
    ...(rounds ? { rm: 7 } : {}),
  });
  if (to === 'x') a.i('sd', { rs1: a1, rs2: a5 });
  else a.i('fsd', { rs1: a1, rs2: 4 });
  a.csr('csrrs', a4, 'fcsr').i('sd', { rs1: a1, rs2: a4, imm: 8 });
  a.i('addi', { rd: a0, rs1: a0, imm: CASE_BYTES }).i('addi', { rd: a1, rs1: a1, imm: 16 });
  a.i('addi', { rd: a2, rs1: a2, imm: -1 }).to('bne', 'loop', { rs1: a2 }).i('wfi');
}

describe('as the exact arithmetic', () => {
  const machine = new BareMachine();
  let tested = 0;
  for (const { name, extension, syntax } of INSTRUCTIONS) {
    const operation = extension === 'F' || extension === 'D' ? operationOf(name) : undefined;
    if (operation === undefined) continue;
    tested++;
    test(name, () => {
      const { op, from, to } = operation;
      const operands = syntax.includes('rs3') ? 3 : syntax.includes('rs2') ? 2 : 1;
      const cases = casesOf(from);
      const words = new BigUint64Array(cases.length * 4);
      for (const [i, { a, b, c, mode, flags }] of cases.entries()) {
        const bits = (v: bigint): bigint => (from === 'x' ? v : boxed(from, v));
        words.set([bits(a), bits(b), bits(c), BigInt((mode << 5) | flags)], i * 4);
      }
      machine.memory.write(INPUTS, new Uint8Array(words.buffer));
      machine.load(CODE, (a) => loop(a, name, from, to, operands));
      machine.boot();
      machine.run(2, 500_000);
      machine.expectNoTrap();
      const results = new BigUint64Array(cases.length * 2);
      machine.memory.read(RESULTS, new Uint8Array(results.buffer));
      for (const [i, { a, b, c, mode, flags }] of cases.entries()) {
        const format = from === 'x' ? to : from;
        const exact = floatOp(op, format === 's' ? 0 : 1, mode, a, b, c);
        const expected = [to === 'x' ? exact : boxed(to, exact), BigInt((mode << 5) | flags | lastFlags())];
        const seen = [results[2 * i]!, results[2 * i + 1]!];
        const hex = (values: bigint[]): string[] => values.map((value) => value.toString(16));
        assert.deepEqual(hex(seen), hex(expected), `${name} of ${hex([a, b, c])}, mode ${mode}, flags ${flags}`);
      }
    });
  }
  test('none was left out', () => assert.equal(tested, 2 * (4 + 1 + 4 + 2 + 3 + 1 + 8) + 2));
});

/** Runs a program with FS as given; gives the machine. */
function withFloat(write: (a: Assembler) => void, fs = 1): BareMachine {
  const machine = new BareMachine();
  machine.load(CODE, (a) => {
    a.li(t0, fs << 13).csr('csrrs', 0, 'mstatus', t0);
    write(a);
    a.i('wfi');
  });
  machine.boot();
  machine.run();
  return machine;
}

const fsOf = (machine: BareMachine): number => Number((machine.hart.field('mstatus') >> 13n) & 3n);

describe('rounding modes', () => {
  test('a static mode goes before frm', () => {
    // 1 / 3 rounded up and down.
    const machine = withFloat((a) => {
      a.li(a0, 1).li(a1, 3).i('fcvt.d.l', { rd: 1, rs1: a0 }).i('fcvt.d.l', { rd: 2, rs1: a1 });
      a.csr('csrrwi', 0, 'frm', 3)
        .i('fdiv.d', { rd: 3, rs1: 1, rs2: 2, rm: 2 })
        .i('fdiv.d', { rd: 4, rs1: 1, rs2: 2, rm: 7 });
    });
    machine.expectNoTrap();
    assert.deepEqual([machine.hart.f(3), machine.hart.f(4)], [0x3fd5555555555555n, 0x3fd5555555555556n]);
  });

  test('reserved modes are illegal, static or in frm, but only for what rounds', () => {
    for (const mode of [5, 6]) {
      assert.equal(withFloat((a) => a.i('fadd.s', { rm: mode })).hart.field('mcause'), 2n);
      assert.equal(withFloat((a) => a.csr('csrrwi', 0, 'frm', mode).i('fsqrt.d', { rm: 7 })).hart.field('mcause'), 2n);
      withFloat((a) => a.csr('csrrwi', 0, 'frm', mode).i('fmin.s', {}).i('fadd.s', { rm: 0 })).expectNoTrap();
    }
    assert.equal(withFloat((a) => a.csr('csrrwi', 0, 'frm', 7).i('fadd.s', { rm: 7 })).hart.field('mcause'), 2n);
  });
});

describe('NaN boxes', () => {
  const NAN = 0x7fc00000n;
  const unboxed = (write: (a: Assembler) => void): BareMachine =>
    // f1 is 1.0 without its box, f2 is 2.0 with it.
    withFloat((a) => {
      a.li(a0, 0x3f800000).i('fmv.d.x', { rd: 1, rs1: a0 }).li(a1, 0x40000000).i('fmv.w.x', { rd: 2, rs1: a1 });
      write(a);
    });

  test('an operand that is not boxed is the canonical NaN', () => {
    const machine = unboxed((a) =>
      a
        .i('fadd.s', { rd: 3, rs1: 1, rs2: 2 })
        .i('fsgnj.s', { rd: 4, rs1: 1, rs2: 2 })
        .i('fmin.s', { rd: 5, rs1: 1, rs2: 2 })
        .i('fclass.s', { rd: a2, rs1: 1 })
        .i('feq.s', { rd: a3, rs1: 1, rs2: 1 })
        .i('fcvt.d.s', { rd: 6, rs1: 1 })
        .i('fmadd.s', { rd: 7, rs1: 2, rs2: 2, rs3: 1 }),
    );
    machine.expectNoTrap();
    const { hart } = machine;
    assert.deepEqual([hart.f(3), hart.f(4), hart.f(5)], [BOX | NAN, BOX | NAN, BOX | 0x40000000n]);
    assert.deepEqual([machine.x(a2), machine.x(a3)], [1n << 9n, 0n]);
    assert.deepEqual([hart.f(6), hart.f(7)], [0x7ff8000000000000n, BOX | NAN]);
  });

  test('moves and stores take the bits as they are; loads box', () => {
    const machine = unboxed((a) =>
      a
        .i('fmv.x.w', { rd: a2, rs1: 1 })
        .li(a3, DATA)
        .i('fsw', { rs1: a3, rs2: 1 })
        .i('flw', { rd: 3, rs1: a3 })
        .i('fsd', { rs1: a3, rs2: 1, imm: 8 }),
    );
    assert.deepEqual([machine.x(a2), machine.hart.f(3)], [0x3f800000n, BOX | 0x3f800000n]);
    assert.equal(machine.memory.readU64(DATA + 8), 0x3f800000n);
  });

  test('fmv.x.w extends the sign', () => {
    const machine = withFloat((a) =>
      a.li(a0, 0x80000000).i('fmv.w.x', { rd: 1, rs1: a0 }).i('fmv.x.w', { rd: a1, rs1: 1 }),
    );
    assert.equal(machine.x(a1), 0xffffffff80000000n);
  });

  test('sign injection', () => {
    const machine = withFloat((a) => {
      a.li(a0, 1).i('fcvt.d.l', { rd: 1, rs1: a0 }).i('fsgnjn.d', { rd: 2, rs1: 1, rs2: 1 });
      a.i('fsgnj.d', { rd: 3, rs1: 1, rs2: 2 })
        .i('fsgnjx.d', { rd: 4, rs1: 2, rs2: 2 })
        .i('fsgnjn.d', { rd: 5, rs1: 1, rs2: 2 });
    });
    const one = 0x3ff0000000000000n;
    const minus = one | (1n << 63n);
    assert.deepEqual(
      [2, 3, 4, 5].map((n) => machine.hart.f(n)),
      [minus, minus, one, one],
    );
  });
});

describe('FS', () => {
  test('off: loads, stores and compressed forms are illegal too', () => {
    for (const write of [
      (a: Assembler) => a.i('flw', { rd: 1, rs1: a0 }),
      (a: Assembler) => a.i('fsd', { rs1: a0, rs2: 1 }),
      (a: Assembler) => a.c('c.fldsp', { rd: 1, rs1: 2 }),
      (a: Assembler) => a.i('fmv.x.w', { rd: a1, rs1: 1 }),
    ]) {
      assert.equal(withFloat(write, 0).hart.field('mcause'), 2n);
    }
  });

  test('what writes a float register or a flag makes it dirty', () => {
    for (const write of [
      (a: Assembler) => a.i('fmv.w.x', { rd: 1, rs1: a0 }),
      (a: Assembler) => a.li(a0, DATA).i('fld', { rd: 1, rs1: a0 }),
      (a: Assembler) => a.i('fsgnj.d', { rd: 1, rs1: 2, rs2: 3 }),
      (a: Assembler) => a.csr('csrrwi', 0, 'fflags', 0),
      // A NaN to an integer is invalid.
      (a: Assembler) => a.i('fcvt.w.s', { rd: a0, rs1: 1 }),
    ]) {
      assert.equal(fsOf(withFloat(write)), 3);
    }
  });

  test('what only reads does not', () => {
    for (const write of [
      (a: Assembler) => a.i('fmv.x.d', { rd: a1, rs1: 1 }),
      (a: Assembler) => a.li(a0, DATA).i('fsd', { rs1: a0, rs2: 1 }),
      (a: Assembler) => a.i('feq.d', { rd: a1, rs1: 1, rs2: 1 }),
      (a: Assembler) => a.i('fclass.d', { rd: a1, rs1: 1 }),
      (a: Assembler) => a.csr('csrrs', a1, 'fcsr'),
    ]) {
      assert.equal(fsOf(withFloat(write)), 1);
    }
  });

  test('SD says that FS is dirty, in mstatus and sstatus', () => {
    const machine = withFloat((a) =>
      a
        .csr('csrrs', a1, 'sstatus')
        .i('fmv.d.x', { rd: 1, rs1: a0 })
        .csr('csrrs', a2, 'sstatus')
        .csr('csrrs', a3, 'mstatus'),
    );
    assert.deepEqual(
      [a1, a2, a3].map((r) => machine.x(r) >> 63n),
      [0n, 1n, 1n],
    );
  });
});
