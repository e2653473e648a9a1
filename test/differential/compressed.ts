/** Encodings of the compressed (RVC) instructions of RV64GC, apart from the product's table like those of encode.ts. */

/** Operands: rd/rs as full register numbers; those of three-bit fields have to be 8..15. */
export interface CompressedOperands {
  rd?: number;
  rs2?: number;
  imm?: number;
}

type Encoder = (operands: CompressedOperands) => number;

const bits = (value: number, high: number, low: number): number => (value >> low) & ((1 << (high - low + 1)) - 1);

/** Register-relative load or store with a scale of 4 or 8; `rs1` is in rd's high place, data register in the low one. */
function memory(f3: number, size: 4 | 8): Encoder {
  return ({ rd = 8, rs2 = 8, imm = 0 }) => {
    const low = size === 4 ? (bits(imm, 2, 2) << 6) | (bits(imm, 6, 6) << 5) : bits(imm, 7, 6) << 5;
    return (f3 << 13) | (bits(imm, 5, 3) << 10) | ((rd & 7) << 7) | low | ((rs2 & 7) << 2);
  };
}

function immediate(f3: number, op: number): Encoder {
  return ({ rd = 0, imm = 0 }) => (f3 << 13) | (bits(imm, 5, 5) << 12) | (rd << 7) | (bits(imm, 4, 0) << 2) | op;
}

function arithmetic(f2: number): Encoder {
  return ({ rd = 8, imm = 0 }) =>
    (4 << 13) | (bits(imm, 5, 5) << 12) | (f2 << 10) | ((rd & 7) << 7) | (bits(imm, 4, 0) << 2) | 1;
}

function registers(word: number, f2: number): Encoder {
  return ({ rd = 8, rs2 = 8 }) =>
    (4 << 13) | (word << 12) | (3 << 10) | ((rd & 7) << 7) | (f2 << 5) | ((rs2 & 7) << 2) | 1;
}

function stackLoad(f3: number, size: 4 | 8): Encoder {
  return ({ rd = 0, imm = 0 }) => {
    const low =
      size === 4 ? (bits(imm, 4, 2) << 4) | (bits(imm, 7, 6) << 2) : (bits(imm, 4, 3) << 5) | (bits(imm, 8, 6) << 2);
    return (f3 << 13) | (bits(imm, 5, 5) << 12) | (rd << 7) | low | 2;
  };
}

function stackStore(f3: number, size: 4 | 8): Encoder {
  return ({ rs2 = 0, imm = 0 }) => {
    const field =
      size === 4 ? (bits(imm, 5, 2) << 9) | (bits(imm, 7, 6) << 7) : (bits(imm, 5, 3) << 10) | (bits(imm, 8, 6) << 7);
    return (f3 << 13) | field | (rs2 << 2) | 2;
  };
}

function branch(f3: number): Encoder {
  return ({ rd = 8, imm = 0 }) =>
    (f3 << 13) |
    (bits(imm, 8, 8) << 12) |
    (bits(imm, 4, 3) << 10) |
    ((rd & 7) << 7) |
    (bits(imm, 7, 6) << 5) |
    (bits(imm, 2, 1) << 3) |
    (bits(imm, 5, 5) << 2) |
    1;
}

function twoRegisters(bit12: number): Encoder {
  return ({ rd = 0, rs2 = 0 }) => (4 << 13) | (bit12 << 12) | (rd << 7) | (rs2 << 2) | 2;
}

export const COMPRESSED = {
  'c.addi4spn': ({ rd = 8, imm = 0 }) =>
    (bits(imm, 5, 4) << 11) |
    (bits(imm, 9, 6) << 7) |
    (bits(imm, 2, 2) << 6) |
    (bits(imm, 3, 3) << 5) |
    ((rd & 7) << 2),
  'c.fld': memory(1, 8),
  'c.lw': memory(2, 4),
  'c.ld': memory(3, 8),
  'c.fsd': memory(5, 8),
  'c.sw': memory(6, 4),
  'c.sd': memory(7, 8),
  'c.nop': ({ imm = 0 }) => immediate(0, 1)({ rd: 0, imm }),
  'c.addi': immediate(0, 1),
  'c.addiw': immediate(1, 1),
  'c.li': immediate(2, 1),
  'c.addi16sp': ({ imm = 0 }) =>
    (3 << 13) |
    (bits(imm, 9, 9) << 12) |
    (2 << 7) |
    (bits(imm, 4, 4) << 6) |
    (bits(imm, 6, 6) << 5) |
    (bits(imm, 8, 7) << 3) |
    (bits(imm, 5, 5) << 2) |
    1,
  'c.lui': immediate(3, 1),
  'c.srli': arithmetic(0),
  'c.srai': arithmetic(1),
  'c.andi': arithmetic(2),
  'c.sub': registers(0, 0),
  'c.xor': registers(0, 1),
  'c.or': registers(0, 2),
  'c.and': registers(0, 3),
  'c.subw': registers(1, 0),
  'c.addw': registers(1, 1),
  'c.j': ({ imm = 0 }) =>
    (5 << 13) |
    (bits(imm, 11, 11) << 12) |
    (bits(imm, 4, 4) << 11) |
    (bits(imm, 9, 8) << 9) |
    (bits(imm, 10, 10) << 8) |
    (bits(imm, 6, 6) << 7) |
    (bits(imm, 7, 7) << 6) |
    (bits(imm, 3, 1) << 3) |
    (bits(imm, 5, 5) << 2) |
    1,
  'c.beqz': branch(6),
  'c.bnez': branch(7),
  'c.slli': immediate(0, 2),
  'c.fldsp': stackLoad(1, 8),
  'c.lwsp': stackLoad(2, 4),
  'c.ldsp': stackLoad(3, 8),
  'c.jr': ({ rd = 0 }) => twoRegisters(0)({ rd, rs2: 0 }),
  'c.mv': twoRegisters(0),
  'c.ebreak': () => 0x9002,
  'c.jalr': ({ rd = 0 }) => twoRegisters(1)({ rd, rs2: 0 }),
  'c.add': twoRegisters(1),
  'c.fsdsp': stackStore(5, 8),
  'c.swsp': stackStore(6, 4),
  'c.sdsp': stackStore(7, 8),
} as const satisfies Record<string, Encoder>;

export type CompressedMnemonic = keyof typeof COMPRESSED;
