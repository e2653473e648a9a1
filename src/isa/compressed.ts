import { bits, noOperands, type Operands } from './format.ts';

/** C for RV64 (unprivileged specification, chapter 26): each form is another instruction in 16 bits. */
export interface CompressedInstruction {
  readonly name: string;
  /** The halfword is this instruction if (halfword & mask) === match and `reserved` does not hold. */
  readonly mask: number;
  readonly match: number;
  /** The instruction that it stands for. */
  readonly expandsTo: string;
  /** As in `Instruction`. */
  readonly syntax: string;
  readonly operands: (halfword: number) => Partial<Operands>;
  readonly reserved?: (halfword: number) => boolean;
}

const SP = 2;
const RA = 1;

/** Full register fields, and the 3-bit ones that name x8 to x15. */
const rd = (h: number): number => bits(h, 7, 5);
const rs2 = (h: number): number => bits(h, 2, 5);
const rdShort = (h: number): number => 8 + bits(h, 2, 3);
const rs1Short = (h: number): number => 8 + bits(h, 7, 3);

const signExtend = (value: number, width: number): number => (value << (32 - width)) >> (32 - width);
const imm6 = (h: number): number => signExtend((bits(h, 12, 1) << 5) | bits(h, 2, 5), 6);
const uimm6 = (h: number): number => (bits(h, 12, 1) << 5) | bits(h, 2, 5);
const imm16sp = (h: number): number =>
  signExtend(
    (bits(h, 12, 1) << 9) | (bits(h, 6, 1) << 4) | (bits(h, 5, 1) << 6) | (bits(h, 3, 2) << 7) | (bits(h, 2, 1) << 5),
    10,
  );
const imm4spn = (h: number): number =>
  (bits(h, 11, 2) << 4) | (bits(h, 7, 4) << 6) | (bits(h, 6, 1) << 2) | (bits(h, 5, 1) << 3);
const offsetWord = (h: number): number => (bits(h, 10, 3) << 3) | (bits(h, 6, 1) << 2) | (bits(h, 5, 1) << 6);
const offsetDouble = (h: number): number => (bits(h, 10, 3) << 3) | (bits(h, 5, 2) << 6);
const offsetWordSp = (h: number): number => (bits(h, 12, 1) << 5) | (bits(h, 4, 3) << 2) | (bits(h, 2, 2) << 6);
const offsetDoubleSp = (h: number): number => (bits(h, 12, 1) << 5) | (bits(h, 5, 2) << 3) | (bits(h, 2, 3) << 6);
const storeWordSp = (h: number): number => (bits(h, 9, 4) << 2) | (bits(h, 7, 2) << 6);
const storeDoubleSp = (h: number): number => (bits(h, 10, 3) << 3) | (bits(h, 7, 3) << 6);
const offsetBranch = (h: number): number =>
  signExtend(
    (bits(h, 12, 1) << 8) | (bits(h, 10, 2) << 3) | (bits(h, 5, 2) << 6) | (bits(h, 3, 2) << 1) | (bits(h, 2, 1) << 5),
    9,
  );
const offsetJump = (h: number): number =>
  signExtend(
    (bits(h, 12, 1) << 11) |
      (bits(h, 11, 1) << 4) |
      (bits(h, 9, 2) << 8) |
      (bits(h, 8, 1) << 10) |
      (bits(h, 7, 1) << 6) |
      (bits(h, 6, 1) << 7) |
      (bits(h, 3, 3) << 1) |
      (bits(h, 2, 1) << 5),
    12,
  );

const quadrant = (q: number, funct3: number): number => q | (funct3 << 13);
const F3 = 0xe003;

const form = (
  name: string,
  mask: number,
  match: number,
  expandsTo: string,
  syntax: string,
  operands: (h: number) => Partial<Operands>,
  reserved?: (h: number) => boolean,
): CompressedInstruction => ({ name, mask, match, expandsTo, syntax, operands, ...(reserved && { reserved }) });

const load = (name: string, funct3: number, expandsTo: string, offset: (h: number) => number, file: '' | 'f' = '') =>
  form(name, F3, quadrant(0, funct3), expandsTo, `${file}rd, imm(rs1)`, (h) => ({
    rd: rdShort(h),
    rs1: rs1Short(h),
    imm: offset(h),
  }));
const store = (name: string, funct3: number, expandsTo: string, offset: (h: number) => number, file: '' | 'f' = '') =>
  form(name, F3, quadrant(0, funct3), expandsTo, `${file}rs2, imm(rs1)`, (h) => ({
    rs2: rdShort(h),
    rs1: rs1Short(h),
    imm: offset(h),
  }));
const arithmetic = (name: string, high: number, low2: number, expandsTo: string) =>
  form(name, 0xfc63, quadrant(1, 4) | (high << 10) | (low2 << 5), expandsTo, 'rd, rs2', (h) => ({
    rd: rs1Short(h),
    rs1: rs1Short(h),
    rs2: rdShort(h),
  }));
const immediateShort = (name: string, funct2: number, expandsTo: string, imm: (h: number) => number) =>
  form(name, 0xec03, quadrant(1, 4) | (funct2 << 10), expandsTo, 'rd, imm', (h) => ({
    rd: rs1Short(h),
    rs1: rs1Short(h),
    imm: imm(h),
  }));

/** Ordered: a special case stands before the general form that its bits also match. */
export const COMPRESSED: readonly CompressedInstruction[] = [
  form(
    'c.addi4spn',
    F3,
    quadrant(0, 0),
    'addi',
    'rd, rs1, imm',
    (h) => ({ rd: rdShort(h), rs1: SP, imm: imm4spn(h) }),
    (h) => imm4spn(h) === 0,
  ),
  load('c.fld', 1, 'fld', offsetDouble, 'f'),
  load('c.lw', 2, 'lw', offsetWord),
  load('c.ld', 3, 'ld', offsetDouble),
  store('c.fsd', 5, 'fsd', offsetDouble, 'f'),
  store('c.sw', 6, 'sw', offsetWord),
  store('c.sd', 7, 'sd', offsetDouble),

  form('c.addi', F3, quadrant(1, 0), 'addi', 'rd, imm', (h) => ({ rd: rd(h), rs1: rd(h), imm: imm6(h) })),
  form(
    'c.addiw',
    F3,
    quadrant(1, 1),
    'addiw',
    'rd, imm',
    (h) => ({ rd: rd(h), rs1: rd(h), imm: imm6(h) }),
    (h) => rd(h) === 0,
  ),
  form('c.li', F3, quadrant(1, 2), 'addi', 'rd, imm', (h) => ({ rd: rd(h), imm: imm6(h) })),
  form(
    'c.addi16sp',
    0xef83,
    quadrant(1, 3) | (SP << 7),
    'addi',
    'rd, imm',
    (h) => ({ rd: SP, rs1: SP, imm: imm16sp(h) }),
    (h) => imm16sp(h) === 0,
  ),
  form(
    'c.lui',
    F3,
    quadrant(1, 3),
    'lui',
    'rd, imm',
    (h) => ({ rd: rd(h), imm: imm6(h) << 12 }),
    (h) => imm6(h) === 0,
  ),
  immediateShort('c.srli', 0, 'srli', uimm6),
  immediateShort('c.srai', 1, 'srai', uimm6),
  immediateShort('c.andi', 2, 'andi', imm6),
  arithmetic('c.sub', 3, 0, 'sub'),
  arithmetic('c.xor', 3, 1, 'xor'),
  arithmetic('c.or', 3, 2, 'or'),
  arithmetic('c.and', 3, 3, 'and'),
  arithmetic('c.subw', 7, 0, 'subw'),
  arithmetic('c.addw', 7, 1, 'addw'),
  form('c.j', F3, quadrant(1, 5), 'jal', 'offset', (h) => ({ imm: offsetJump(h) })),
  form('c.beqz', F3, quadrant(1, 6), 'beq', 'rs1, offset', (h) => ({ rs1: rs1Short(h), imm: offsetBranch(h) })),
  form('c.bnez', F3, quadrant(1, 7), 'bne', 'rs1, offset', (h) => ({ rs1: rs1Short(h), imm: offsetBranch(h) })),

  form('c.slli', F3, quadrant(2, 0), 'slli', 'rd, imm', (h) => ({ rd: rd(h), rs1: rd(h), imm: uimm6(h) })),
  form('c.fldsp', F3, quadrant(2, 1), 'fld', 'frd, imm(rs1)', (h) => ({ rd: rd(h), rs1: SP, imm: offsetDoubleSp(h) })),
  form(
    'c.lwsp',
    F3,
    quadrant(2, 2),
    'lw',
    'rd, imm(rs1)',
    (h) => ({ rd: rd(h), rs1: SP, imm: offsetWordSp(h) }),
    (h) => rd(h) === 0,
  ),
  form(
    'c.ldsp',
    F3,
    quadrant(2, 3),
    'ld',
    'rd, imm(rs1)',
    (h) => ({ rd: rd(h), rs1: SP, imm: offsetDoubleSp(h) }),
    (h) => rd(h) === 0,
  ),
  form('c.ebreak', 0xffff, 0x9002, 'ebreak', '', () => ({})),
  form(
    'c.jr',
    0xf07f,
    0x8002,
    'jalr',
    'rs1',
    (h) => ({ rs1: rd(h) }),
    (h) => rd(h) === 0,
  ),
  form('c.mv', 0xf003, 0x8002, 'add', 'rd, rs2', (h) => ({ rd: rd(h), rs2: rs2(h) })),
  form('c.jalr', 0xf07f, 0x9002, 'jalr', 'rs1', (h) => ({ rd: RA, rs1: rd(h) })),
  form('c.add', 0xf003, 0x9002, 'add', 'rd, rs2', (h) => ({ rd: rd(h), rs1: rd(h), rs2: rs2(h) })),
  form('c.fsdsp', F3, quadrant(2, 5), 'fsd', 'frs2, imm(rs1)', (h) => ({
    rs2: rs2(h),
    rs1: SP,
    imm: storeDoubleSp(h),
  })),
  form('c.swsp', F3, quadrant(2, 6), 'sw', 'rs2, imm(rs1)', (h) => ({ rs2: rs2(h), rs1: SP, imm: storeWordSp(h) })),
  form('c.sdsp', F3, quadrant(2, 7), 'sd', 'rs2, imm(rs1)', (h) => ({ rs2: rs2(h), rs1: SP, imm: storeDoubleSp(h) })),
];

/** Quadrant and funct3 (bits 0 and 1, 13 to 15) as one number of 5 bits. */
const group = (halfword: number): number => (halfword & 3) | ((halfword >>> 11) & 0x1c);

/** Candidates by that number, in order. */
const BY_GROUP: readonly CompressedInstruction[][] = Array.from({ length: 32 }, (_, wanted) =>
  COMPRESSED.filter(({ mask, match }) => (wanted & group(mask)) === group(match)),
);

/** The form that a halfword is, with its operands; undefined for what is reserved. */
export function decodeCompressed(halfword: number): { form: CompressedInstruction; operands: Operands } | undefined {
  for (const candidate of BY_GROUP[group(halfword)]!) {
    if ((halfword & candidate.mask) !== candidate.match) continue;
    if (candidate.reserved?.(halfword)) return undefined;
    return { form: candidate, operands: Object.assign(noOperands(), candidate.operands(halfword)) };
  }
  return undefined;
}
