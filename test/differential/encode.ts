/**
 * Instruction encodings of the test programs, written down from the specification and apart from the product's
 * instruction table on purpose: a wrong opcode there must not be generated here as well.
 */

/** Operands of an instruction; what its format does not have is ignored. */
export interface Operands {
  rd?: number;
  rs1?: number;
  rs2?: number;
  rs3?: number;
  /** immediate, shift amount, CSR number, or zimm in rs1's place for the csrr?i forms */
  imm?: number;
  /** rounding mode, 7 = dynamic */
  rm?: number;
  /** bit 1 aq, bit 0 rl */
  order?: number;
}

type Encoder = (operands: Operands) => number;

const r = (op: number, f3: number, f7: number): Encoder => {
  return (o) => ((f7 << 25) | ((o.rs2 ?? 0) << 20) | ((o.rs1 ?? 0) << 15) | (f3 << 12) | ((o.rd ?? 0) << 7) | op) >>> 0;
};
const i = (op: number, f3: number): Encoder => {
  return (o) => ((((o.imm ?? 0) & 0xfff) << 20) | ((o.rs1 ?? 0) << 15) | (f3 << 12) | ((o.rd ?? 0) << 7) | op) >>> 0;
};
/** Shifts and the like: the upper immediate bits belong to the opcode, `bits` of the lower ones to the operand. */
const shift = (op: number, f3: number, top: number, bits: number): Encoder => {
  return (o) => i(op, f3)({ ...o, imm: top | ((o.imm ?? 0) & ((1 << bits) - 1)) });
};
const unary = (op: number, f3: number, imm: number): Encoder => {
  return (o) => i(op, f3)({ ...o, imm });
};
const s = (op: number, f3: number): Encoder => {
  return (o) => {
    const imm = o.imm ?? 0;
    return r(op, f3, (imm >> 5) & 0x7f)({ rd: imm & 31, rs1: o.rs1 ?? 0, rs2: o.rs2 ?? 0 });
  };
};
const b = (f3: number): Encoder => {
  return (o) => {
    const imm = o.imm ?? 0;
    const high = ((imm >> 6) & 0x40) | ((imm >> 5) & 0x3f);
    const low = (imm & 0x1e) | ((imm >> 11) & 1);
    return r(0x63, f3, high)({ rd: low, rs1: o.rs1 ?? 0, rs2: o.rs2 ?? 0 });
  };
};
const u = (op: number): Encoder => {
  return (o) => (((o.imm ?? 0) << 12) | ((o.rd ?? 0) << 7) | op) >>> 0;
};
const jal: Encoder = (o) => {
  const imm = o.imm ?? 0;
  const field = ((imm >> 1) & 0x80000) | ((imm << 8) & 0x7fe00) | ((imm >> 3) & 0x100) | ((imm >> 12) & 0xff);
  return ((field << 12) | ((o.rd ?? 0) << 7) | 0x6f) >>> 0;
};
const csr = (f3: number): Encoder => i(0x73, f3);
const fixed = (word: number): Encoder => {
  return () => word;
};
const amo = (f3: number, f5: number): Encoder => {
  return (o) => r(0x2f, f3, (f5 << 2) | (o.order ?? 0))(o);
};
/** Float instruction with a rounding mode. */
const f = (f7: number, rs2?: number): Encoder => {
  return (o) => r(0x53, o.rm ?? 7, f7)(rs2 === undefined ? o : { ...o, rs2 });
};
/** Float instruction with a function in the rounding mode's place. */
const ff = (f7: number, f3: number, rs2?: number): Encoder => {
  return (o) => r(0x53, f3, f7)(rs2 === undefined ? o : { ...o, rs2 });
};
const r4 = (op: number, format: number): Encoder => {
  return (o) => r(op, o.rm ?? 7, ((o.rs3 ?? 0) << 2) | format)(o);
};

export const INTEGER_REGISTER = {
  add: r(0x33, 0, 0),
  sub: r(0x33, 0, 0x20),
  sll: r(0x33, 1, 0),
  slt: r(0x33, 2, 0),
  sltu: r(0x33, 3, 0),
  xor: r(0x33, 4, 0),
  srl: r(0x33, 5, 0),
  sra: r(0x33, 5, 0x20),
  or: r(0x33, 6, 0),
  and: r(0x33, 7, 0),
  addw: r(0x3b, 0, 0),
  subw: r(0x3b, 0, 0x20),
  sllw: r(0x3b, 1, 0),
  srlw: r(0x3b, 5, 0),
  sraw: r(0x3b, 5, 0x20),
} as const;

export const INTEGER_IMMEDIATE = {
  addi: i(0x13, 0),
  slti: i(0x13, 2),
  sltiu: i(0x13, 3),
  xori: i(0x13, 4),
  ori: i(0x13, 6),
  andi: i(0x13, 7),
  slli: shift(0x13, 1, 0, 6),
  srli: shift(0x13, 5, 0, 6),
  srai: shift(0x13, 5, 0x400, 6),
  addiw: i(0x1b, 0),
  slliw: shift(0x1b, 1, 0, 5),
  srliw: shift(0x1b, 5, 0, 5),
  sraiw: shift(0x1b, 5, 0x400, 5),
} as const;

export const MULTIPLY_DIVIDE = {
  mul: r(0x33, 0, 1),
  mulh: r(0x33, 1, 1),
  mulhsu: r(0x33, 2, 1),
  mulhu: r(0x33, 3, 1),
  div: r(0x33, 4, 1),
  divu: r(0x33, 5, 1),
  rem: r(0x33, 6, 1),
  remu: r(0x33, 7, 1),
  mulw: r(0x3b, 0, 1),
  divw: r(0x3b, 4, 1),
  divuw: r(0x3b, 5, 1),
  remw: r(0x3b, 6, 1),
  remuw: r(0x3b, 7, 1),
} as const;

/** Zba, Zbb, Zbs with two source registers. */
export const BIT_REGISTER = {
  'add.uw': r(0x3b, 0, 4),
  sh1add: r(0x33, 2, 0x10),
  sh2add: r(0x33, 4, 0x10),
  sh3add: r(0x33, 6, 0x10),
  'sh1add.uw': r(0x3b, 2, 0x10),
  'sh2add.uw': r(0x3b, 4, 0x10),
  'sh3add.uw': r(0x3b, 6, 0x10),
  andn: r(0x33, 7, 0x20),
  orn: r(0x33, 6, 0x20),
  xnor: r(0x33, 4, 0x20),
  max: r(0x33, 6, 5),
  maxu: r(0x33, 7, 5),
  min: r(0x33, 4, 5),
  minu: r(0x33, 5, 5),
  rol: r(0x33, 1, 0x30),
  ror: r(0x33, 5, 0x30),
  rolw: r(0x3b, 1, 0x30),
  rorw: r(0x3b, 5, 0x30),
  bclr: r(0x33, 1, 0x24),
  bext: r(0x33, 5, 0x24),
  binv: r(0x33, 1, 0x34),
  bset: r(0x33, 1, 0x14),
} as const;

/** Zba, Zbb, Zbs with one source register and possibly a shift amount. */
export const BIT_IMMEDIATE = {
  'slli.uw': shift(0x1b, 1, 0x80, 6),
  rori: shift(0x13, 5, 0x600, 6),
  roriw: shift(0x1b, 5, 0x600, 5),
  bclri: shift(0x13, 1, 0x480, 6),
  bexti: shift(0x13, 5, 0x480, 6),
  binvi: shift(0x13, 1, 0x680, 6),
  bseti: shift(0x13, 1, 0x280, 6),
  clz: unary(0x13, 1, 0x600),
  ctz: unary(0x13, 1, 0x601),
  cpop: unary(0x13, 1, 0x602),
  clzw: unary(0x1b, 1, 0x600),
  ctzw: unary(0x1b, 1, 0x601),
  cpopw: unary(0x1b, 1, 0x602),
  'sext.b': unary(0x13, 1, 0x604),
  'sext.h': unary(0x13, 1, 0x605),
  'zext.h': (o: Operands) => r(0x3b, 4, 4)({ ...o, rs2: 0 }),
  'orc.b': unary(0x13, 5, 0x287),
  rev8: unary(0x13, 5, 0x6b8),
} as const;

export const LOADS = {
  lb: i(3, 0),
  lh: i(3, 1),
  lw: i(3, 2),
  ld: i(3, 3),
  lbu: i(3, 4),
  lhu: i(3, 5),
  lwu: i(3, 6),
} as const;
export const STORES = { sb: s(0x23, 0), sh: s(0x23, 1), sw: s(0x23, 2), sd: s(0x23, 3) } as const;
export const FLOAT_LOADS = { flw: i(7, 2), fld: i(7, 3) } as const;
export const FLOAT_STORES = { fsw: s(0x27, 2), fsd: s(0x27, 3) } as const;

export const BRANCHES = { beq: b(0), bne: b(1), blt: b(4), bge: b(5), bltu: b(6), bgeu: b(7) } as const;
export const JUMPS = { jal, jalr: i(0x67, 0) } as const;
export const UPPER = { lui: u(0x37), auipc: u(0x17) } as const;

export const CSR = {
  csrrw: csr(1),
  csrrs: csr(2),
  csrrc: csr(3),
  csrrwi: csr(5),
  csrrsi: csr(6),
  csrrci: csr(7),
} as const;

export const SYSTEM = {
  ecall: fixed(0x73),
  ebreak: fixed(0x0010_0073),
  mret: fixed(0x3020_0073),
  sret: fixed(0x1020_0073),
  wfi: fixed(0x1050_0073),
  'sfence.vma': r(0x73, 0, 9),
  fence: i(0x0f, 0),
  'fence.i': fixed(0x100f),
} as const;

const ATOMIC_FUNCTIONS = {
  lr: 2,
  sc: 3,
  amoswap: 1,
  amoadd: 0,
  amoxor: 4,
  amoand: 0xc,
  amoor: 8,
  amomin: 0x10,
  amomax: 0x14,
  amominu: 0x18,
  amomaxu: 0x1c,
} as const;
export const ATOMICS: Record<string, Encoder> = {};
for (const [name, f5] of Object.entries(ATOMIC_FUNCTIONS)) {
  ATOMICS[`${name}.w`] = amo(2, f5);
  ATOMICS[`${name}.d`] = amo(3, f5);
}

/** Which register file an operand of a float instruction is in. */
export interface FloatInstruction {
  encode: Encoder;
  /** destination is an integer register */
  toInteger: boolean;
  /** first source is an integer register */
  fromInteger: boolean;
  /** the rm field is a rounding mode */
  rounds: boolean;
}

/** F and D without loads and stores. */
export const FLOATS: Record<string, FloatInstruction> = {};
const float = (name: string, encode: Encoder, rounds: boolean, toInteger = false, fromInteger = false): void => {
  FLOATS[name] = { encode, rounds, toInteger, fromInteger };
};
for (const [suffix, format] of [
  ['s', 0],
  ['d', 1],
] as const) {
  const word = format === 0 ? 'w' : 'd';
  float(`fadd.${suffix}`, f(format), true);
  float(`fsub.${suffix}`, f(4 | format), true);
  float(`fmul.${suffix}`, f(8 | format), true);
  float(`fdiv.${suffix}`, f(0xc | format), true);
  float(`fsqrt.${suffix}`, f(0x2c | format, 0), true);
  float(`fsgnj.${suffix}`, ff(0x10 | format, 0), false);
  float(`fsgnjn.${suffix}`, ff(0x10 | format, 1), false);
  float(`fsgnjx.${suffix}`, ff(0x10 | format, 2), false);
  float(`fmin.${suffix}`, ff(0x14 | format, 0), false);
  float(`fmax.${suffix}`, ff(0x14 | format, 1), false);
  float(`fle.${suffix}`, ff(0x50 | format, 0), false, true);
  float(`flt.${suffix}`, ff(0x50 | format, 1), false, true);
  float(`feq.${suffix}`, ff(0x50 | format, 2), false, true);
  float(`fclass.${suffix}`, ff(0x70 | format, 1, 0), false, true);
  float(`fmv.x.${word}`, ff(0x70 | format, 0, 0), false, true);
  float(`fmv.${word}.x`, ff(0x78 | format, 0, 0), false, false, true);
  for (const [number, integer] of ['w', 'wu', 'l', 'lu'].entries()) {
    float(`fcvt.${integer}.${suffix}`, f(0x60 | format, number), true, true);
    float(`fcvt.${suffix}.${integer}`, f(0x68 | format, number), true, false, true);
  }
  float(`fmadd.${suffix}`, r4(0x43, format), true);
  float(`fmsub.${suffix}`, r4(0x47, format), true);
  float(`fnmsub.${suffix}`, r4(0x4b, format), true);
  float(`fnmadd.${suffix}`, r4(0x4f, format), true);
}
float('fcvt.s.d', f(0x20, 1), true);
float('fcvt.d.s', f(0x21, 0), true);

/** Everything above by name, except the float operations, which need to know their register files. */
export const ENCODERS = {
  ...INTEGER_REGISTER,
  ...INTEGER_IMMEDIATE,
  ...MULTIPLY_DIVIDE,
  ...BIT_REGISTER,
  ...BIT_IMMEDIATE,
  ...LOADS,
  ...STORES,
  ...FLOAT_LOADS,
  ...FLOAT_STORES,
  ...BRANCHES,
  ...JUMPS,
  ...UPPER,
  ...CSR,
  ...SYSTEM,
} as const;

export type Mnemonic = keyof typeof ENCODERS;
