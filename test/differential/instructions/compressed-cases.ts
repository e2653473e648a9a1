/** Cases of the compressed instructions, with encodings of our own. */
import type { CompressedMnemonic, CompressedOperands } from '../compressed.ts';
import type { Program } from '../program.ts';
import { A, AUX, B, BASE, C, Case, PLACE, RESULT } from './case.ts';

const SP = 2;
/** A and B, RESULT, AUX and BASE are all among x8..x15, which every form can name. */
const SIX_BITS = [1, 2, 5, 16, 31, 32, 33, 62, 63];

type Generator = (c: Case, name: CompressedMnemonic) => void;

/** rd := rd op rs2 */
const twoRegisters: Generator = (c, name) => {
  c.integerPairs(() => {
    for (const rs2 of [B, RESULT]) {
      c.a.op('addi', { rd: RESULT, rs1: A, imm: 0 });
      c.a.compressed(name, { rd: RESULT, rs2 });
      c.fold(RESULT);
    }
  });
};

/** rd := rd op imm, for the immediates whose six bits are given */
const immediate =
  (values: readonly number[]): Generator =>
  (c, name) => {
    c.integers(() => {
      for (const imm of values) {
        c.a.op('addi', { rd: RESULT, rs1: A, imm: 0 });
        c.a.compressed(name, { rd: RESULT, imm });
        c.fold(RESULT);
      }
    });
  };

const load =
  (offsets: readonly number[], stack: boolean, isFloat: boolean): Generator =>
  (c, name) => {
    c.a.op('addi', { rd: SP, rs1: BASE, imm: 0 });
    for (const imm of offsets) {
      const operands: CompressedOperands = stack ? { rd: RESULT, imm } : { rd: BASE, rs2: RESULT, imm };
      c.a.compressed(name, operands);
      if (isFloat) c.foldFloat(RESULT);
      else c.fold(RESULT);
    }
    c.store();
  };

const store =
  (offsets: readonly number[], stack: boolean, isFloat: boolean): Generator =>
  (c, name) => {
    c.a.op('addi', { rd: SP, rs1: BASE, imm: 0 });
    (isFloat ? c.floats : c.integers).call(c, () => {
      for (const imm of offsets) {
        c.a.compressed(name, { rd: BASE, rs2: A, imm });
        c.a.op('ld', { rd: RESULT, rs1: stack ? SP : BASE, imm: imm & ~7 });
        c.fold(RESULT);
      }
    });
  };

const branch: Generator = (c, name) => {
  c.integers(() => {
    const [over, back, out] = [c.label(), c.label(), c.label()];
    c.a.li(RESULT, 1);
    c.a.compressedTo(name as 'c.beqz', over, A);
    c.a.compressed('c.addi', { rd: RESULT, imm: 2 });
    c.a.label(over);
    c.a.jump(out);
    c.a.label(back);
    c.a.compressed('c.addi', { rd: RESULT, imm: 4 });
    const end = c.label();
    c.a.jump(end);
    c.a.label(out);
    c.a.compressedTo(name as 'c.beqz', back, A);
    c.a.label(end);
    c.fold(RESULT);
  });
};

/** To an address in a register, with and without a link. */
const registerJump: Generator = (c, name) => {
  for (const odd of [0, 1]) {
    c.a.op('auipc', { rd: A, imm: 0 });
    c.a.op('addi', { rd: A, rs1: A, imm: 12 + odd });
    c.a.compressed(name, { rd: A });
    c.a.compressed('c.addi', { rd: A, imm: 1 });
    c.fold(A);
    c.fold(1);
  }
  c.store();
};

const WORDS = [0, 4, 60, 64, 124];
const DOUBLES = [0, 8, 56, 64, 248];
const STACK_WORDS = [0, 4, 60, 64, 252];
const STACK_DOUBLES = [0, 8, 56, 64, 504];

export const COMPRESSED_CASES: Partial<Record<string, Generator>> = {
  'c.addi4spn': (c, name) => {
    c.a.li(SP, PLACE);
    for (const imm of [4, 8, 16, 32, 64, 128, 256, 512, 1020]) {
      c.a.compressed(name, { rd: RESULT, imm });
      c.fold(RESULT);
    }
    c.store();
  },
  'c.addi16sp': (c, name) => {
    c.a.li(SP, PLACE);
    for (const imm of [16, 32, 64, 128, 256, -16, -512, 496]) {
      c.a.compressed(name, { imm });
      c.fold(SP);
    }
    c.store();
  },
  'c.addi': immediate([0, ...SIX_BITS]),
  'c.addiw': immediate([0, ...SIX_BITS]),
  'c.li': immediate([0, ...SIX_BITS]),
  'c.lui': immediate(SIX_BITS),
  'c.andi': immediate([0, ...SIX_BITS]),
  'c.srli': immediate(SIX_BITS),
  'c.srai': immediate(SIX_BITS),
  'c.slli': immediate(SIX_BITS),
  'c.sub': twoRegisters,
  'c.xor': twoRegisters,
  'c.or': twoRegisters,
  'c.and': twoRegisters,
  'c.subw': twoRegisters,
  'c.addw': twoRegisters,
  'c.mv': twoRegisters,
  'c.add': twoRegisters,
  'c.lw': load(WORDS, false, false),
  'c.ld': load(DOUBLES, false, false),
  'c.fld': load(DOUBLES, false, true),
  'c.lwsp': load(STACK_WORDS, true, false),
  'c.ldsp': load(STACK_DOUBLES, true, false),
  'c.fldsp': load(STACK_DOUBLES, true, true),
  'c.sw': store(WORDS, false, false),
  'c.sd': store(DOUBLES, false, false),
  'c.fsd': store(DOUBLES, false, true),
  'c.swsp': store(STACK_WORDS, true, false),
  'c.sdsp': store(STACK_DOUBLES, true, false),
  'c.fsdsp': store(STACK_DOUBLES, true, true),
  'c.beqz': branch,
  'c.bnez': branch,
  'c.j': (c) => {
    const [ahead, back, out] = [c.label(), c.label(), c.label()];
    c.a.li(RESULT, 1);
    c.a.compressedTo('c.j', ahead);
    c.a.label(back);
    c.a.compressed('c.addi', { rd: RESULT, imm: 2 });
    c.a.compressedTo('c.j', out);
    c.a.label(ahead);
    c.a.compressed('c.addi', { rd: RESULT, imm: 4 });
    c.a.compressedTo('c.j', back);
    c.a.label(out);
    c.fold(RESULT);
    c.store();
  },
  'c.jr': registerJump,
  'c.jalr': registerJump,
  'c.ebreak': (c, name) => {
    c.a.compressed(name);
    c.a.li(AUX, C);
    c.fold(AUX);
    c.store();
  },
};

/**
 * The program that tests a compressed instruction of the table.
 * @throws Error if there is no case for it
 */
export function compressedCase(name: string, number: number): Program {
  const generate = COMPRESSED_CASES[name];
  if (generate === undefined) throw new Error(`${name}: there is no case for it`);
  const c = new Case();
  generate(c, name as CompressedMnemonic);
  return c.build(number);
}
