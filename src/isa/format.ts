/**
 * Instruction formats (RISC-V unprivileged specification, 2.2 "Base Instruction Formats" and 2.3 "Immediate Encoding
 * Variants"): where the operands stand in the 32-bit word, for reading and for writing them.
 */
export interface Operands {
  rd: number;
  rs1: number;
  rs2: number;
  rs3: number;
  /** Signed 32-bit immediate; for CSR instructions the CSR's number. */
  imm: number;
  /** The rounding-mode field of floating-point instructions. */
  rm: number;
}

export type Format = 'R' | 'R4' | 'I' | 'shift5' | 'shift6' | 'S' | 'B' | 'U' | 'J' | 'CSR' | 'none';

export function noOperands(): Operands {
  return { rd: 0, rs1: 0, rs2: 0, rs3: 0, imm: 0, rm: 0 };
}

/** A field of `length` bits from bit `low` on. */
export const bits = (word: number, low: number, length: number): number => (word >>> low) & ((1 << length) - 1);

function immediateOf(format: Format, word: number): number {
  switch (format) {
    case 'I':
      return word >> 20;
    case 'shift5':
      return bits(word, 20, 5);
    case 'shift6':
      return bits(word, 20, 6);
    case 'S':
      return ((word >> 25) << 5) | bits(word, 7, 5);
    case 'B':
      return ((word >> 31) << 12) | (bits(word, 7, 1) << 11) | (bits(word, 25, 6) << 5) | (bits(word, 8, 4) << 1);
    case 'U':
      return word & 0xfffff000;
    case 'J':
      return ((word >> 31) << 20) | (bits(word, 12, 8) << 12) | (bits(word, 20, 1) << 11) | (bits(word, 21, 10) << 1);
    case 'CSR':
      return bits(word, 20, 12);
    default:
      return 0;
  }
}

/** Reads the operands of a word. Fields that the format does not have are read too and mean nothing. */
export const operandsOf = (format: Format, word: number): Operands => readOperands(format, word, noOperands());

/** The same into an object that there is already: where a guest's code is decoded, half a million more would be made. */
export function readOperands(format: Format, word: number, into: Operands): Operands {
  into.rd = bits(word, 7, 5);
  into.rs1 = bits(word, 15, 5);
  into.rs2 = bits(word, 20, 5);
  into.rs3 = bits(word, 27, 5);
  into.imm = immediateOf(format, word);
  into.rm = bits(word, 12, 3);
  return into;
}

/** The bits of the word that hold operands of this format. */
export function encodeOperands(format: Format, o: Partial<Operands>): number {
  const { rd = 0, rs1 = 0, rs2 = 0, rs3 = 0, imm = 0, rm = 0 } = o;
  const registers = { rd: rd << 7, rs1: rs1 << 15, rs2: rs2 << 20 };
  switch (format) {
    case 'R':
      return registers.rd | registers.rs1 | registers.rs2 | (rm << 12);
    case 'R4':
      return registers.rd | registers.rs1 | registers.rs2 | (rs3 << 27) | (rm << 12);
    case 'I':
    case 'CSR':
      return registers.rd | registers.rs1 | (imm << 20);
    case 'shift5':
      return registers.rd | registers.rs1 | (bits(imm, 0, 5) << 20);
    case 'shift6':
      return registers.rd | registers.rs1 | (bits(imm, 0, 6) << 20);
    case 'S':
      return registers.rs1 | registers.rs2 | (bits(imm, 5, 7) << 25) | (bits(imm, 0, 5) << 7);
    case 'B':
      return (
        registers.rs1 |
        registers.rs2 |
        (bits(imm, 12, 1) << 31) |
        (bits(imm, 5, 6) << 25) |
        (bits(imm, 1, 4) << 8) |
        (bits(imm, 11, 1) << 7)
      );
    case 'U':
      return registers.rd | (imm & 0xfffff000);
    case 'J':
      return (
        registers.rd |
        (bits(imm, 20, 1) << 31) |
        (bits(imm, 1, 10) << 21) |
        (bits(imm, 11, 1) << 20) |
        (bits(imm, 12, 8) << 12)
      );
    case 'none':
      return 0;
  }
}
