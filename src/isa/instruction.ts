import type { Context, I64, Semantics } from './context.ts';
import type { Format } from './format.ts';

export type Extension = 'I' | 'M' | 'A' | 'F' | 'D' | 'Zicsr' | 'Zifencei' | 'Zba' | 'Zbb' | 'Zbs' | 'Privileged';

/** One instruction: its encoding, its assembly syntax and its meaning. Nothing else in the project knows either. */
export interface Instruction {
  readonly name: string;
  readonly extension: Extension;
  /** The word is this instruction if (word & mask) === match; both are 32-bit, unsigned. */
  readonly mask: number;
  readonly match: number;
  readonly format: Format;
  /** Operands as an assembler takes them: rd, rs1, rs2, frd, frs1.., imm, csr, uimm, offset (relative to pc), rm. */
  readonly syntax: string;
  /** True if writing rd is all it does: with rd = x0 it is a no-operation. */
  readonly pure: boolean;
  readonly semantics: Semantics;
}

/** Bit masks of the fields that choose an instruction. */
export const MASK = {
  opcode: 0x0000007f,
  funct3: 0x0000707f,
  funct7: 0xfe00707f,
  funct7NoRm: 0xfe00007f,
  /** funct7 and rs2: instructions of one source. */
  unary: 0xfff0707f,
  unaryNoRm: 0xfff0007f,
  shift6: 0xfc00707f,
  funct2: 0x0600007f,
  all: 0xffffffff,
} as const;

export const word = (opcode: number, funct3 = 0, funct7 = 0, rs2 = 0): number =>
  (opcode | (funct3 << 12) | (rs2 << 20) | (funct7 << 25)) >>> 0;

type Definition = Omit<Instruction, 'pure' | 'semantics' | 'extension'>;

/** An instruction whose only effect is the value of rd. */
export function computes(extension: Extension, d: Definition, value: (c: Context) => I64): Instruction {
  return { ...unsigned(d), extension, pure: true, semantics: (c) => c.setRd(value(c)) };
}

/** An instruction with other effects. */
export function does(extension: Extension, d: Definition, semantics: Semantics): Instruction {
  return { ...unsigned(d), extension, pure: false, semantics };
}

function unsigned(d: Definition): Definition {
  return { ...d, mask: d.mask >>> 0, match: d.match >>> 0 };
}
