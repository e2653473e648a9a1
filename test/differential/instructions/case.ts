/** Programs that execute one instruction with boundary values and fold all results into memory and registers. */
import { Assembler } from '../assembler.ts';
import { ADUE, CSR_NUMBER } from '../csr.ts';
import { CODE, DATA, PAGE, STUB } from '../layout.ts';
import { PMP_ALL, type Program } from '../program.ts';

/** Where things stand in the data pages: integer operands, float operands, a place for memory operations, results. */
export const INTEGERS = DATA;
export const FLOATS = DATA + 0x200;
export const PLACE = DATA + 0x800;
const RESULTS = DATA + PAGE;

export const INTEGER_VALUES: readonly bigint[] = [
  0n,
  1n,
  2n,
  -1n,
  -2n,
  31n,
  32n,
  63n,
  64n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  -0x8000_0000n,
  0x1_0000_0000n,
  (1n << 63n) - 1n,
  1n << 63n,
  0x0123_4567_89ab_cdefn,
  0xff00_80ff_7f00_0180n,
];

const boxed = (single: bigint): bigint => (0xffff_ffffn << 32n) | single;

/** Doubles; singles with their box; the last one is a single without. */
export const DOUBLE_VALUES: readonly bigint[] = [
  0n,
  1n << 63n,
  0x3ff0n << 48n,
  0xbff8n << 48n,
  1n,
  (1n << 52n) - 1n,
  1n << 52n,
  0x7fef_ffff_ffff_ffffn,
  0x7ff0n << 48n,
  0xfff0n << 48n,
  0x7ff8n << 48n,
  0x7ff0_0000_0000_0001n,
  0x3ff0_0000_0000_0001n,
  0x41df_ffff_ffe0_0000n,
  0x43e0n << 48n,
  0x4340_0000_0000_0001n,
  0xc1e0_0000_0010_0000n,
  0x3fe0n << 48n,
];
export const SINGLE_VALUES: readonly bigint[] = [
  0n,
  0x8000_0000n,
  0x3f80_0000n,
  0xbfc0_0000n,
  1n,
  0x7f_ffffn,
  0x80_0000n,
  0x7f7f_ffffn,
  0x7f80_0000n,
  0xff80_0000n,
  0x7fc0_0000n,
  0x7f80_0001n,
  0x3f80_0001n,
  0x4eff_ffffn,
  0x5f00_0000n,
  0xcf00_0001n,
  0x3f00_0000n,
]
  .map(boxed)
  .concat(0x3f80_0000n);

/** Registers of the cases. A and B are the operands, RESULT takes the result; folding uses the others. */
export const A = 10;
export const B = 11;
export const C = 12;
export const RESULT = 13;
export const AUX = 14;
export const BASE = 15;
const OUTER = 6;
const INNER = 7;
const OUT = 16;
const LIMIT = 17;
const HASH = 20;
const FACTOR = 21;
const SHIFTED = 22;

/** A case under construction. */
export class Case {
  readonly a = new Assembler();
  #labels = 0;
  #floats: readonly bigint[] = DOUBLE_VALUES;

  constructor() {
    this.a.li(OUT, RESULTS);
    this.a.li(HASH, 0);
    this.a.li(FACTOR, 0x9e37_79b9_7f4a_7c15n);
    this.a.li(BASE, PLACE);
  }

  /** Chooses the float operands. */
  useFloats(values: readonly bigint[]): void {
    this.#floats = values;
  }

  label(): string {
    this.#labels += 1;
    return `L${this.#labels}`;
  }

  /** Mixes a register into the running hash. */
  fold(register: number): void {
    const { a } = this;
    a.op('xor', { rd: HASH, rs1: HASH, rs2: register });
    a.op('mul', { rd: HASH, rs1: HASH, rs2: FACTOR });
    a.op('srli', { rd: SHIFTED, rs1: HASH, imm: 29 });
    a.op('xor', { rd: HASH, rs1: HASH, rs2: SHIFTED });
  }

  /** Mixes a float register and the flags into the hash and clears the flags. */
  foldFloat(register: number): void {
    this.a.float('fmv.x.d', { rd: RESULT, rs1: register });
    this.fold(RESULT);
    this.foldFlags();
  }

  foldFlags(): void {
    this.a.op('csrrw', { rd: AUX, rs1: 0, imm: CSR_NUMBER.fflags });
    this.fold(AUX);
  }

  /** Stores the hash as the next result. */
  store(): void {
    this.a.op('sd', { rs1: OUT, rs2: HASH, imm: 0 });
    this.a.op('addi', { rd: OUT, rs1: OUT, imm: 8 });
  }

  #loop(pointer: number, start: number, count: number, body: () => void): void {
    const { a } = this;
    const again = this.label();
    a.li(pointer, start);
    a.label(again);
    body();
    a.op('addi', { rd: pointer, rs1: pointer, imm: 8 });
    a.li(LIMIT, start + count * 8);
    a.to('bltu', again, { rs1: pointer, rs2: LIMIT });
  }

  /** Runs the body with every integer value in register A; a result is stored for each. */
  integers(body: () => void): void {
    this.#loop(OUTER, INTEGERS, INTEGER_VALUES.length, () => {
      this.a.op('ld', { rd: A, rs1: OUTER, imm: 0 });
      body();
      this.store();
    });
  }

  /** Every pair of integer values in A and B; a result is stored for each value of A. */
  integerPairs(body: () => void): void {
    this.integers(() =>
      this.#loop(INNER, INTEGERS, INTEGER_VALUES.length, () => {
        this.a.op('ld', { rd: B, rs1: INNER, imm: 0 });
        body();
      }),
    );
  }

  /** Every float value in f10. */
  floats(body: () => void): void {
    this.#loop(OUTER, FLOATS, this.#floats.length, () => {
      this.a.op('fld', { rd: A, rs1: OUTER, imm: 0 });
      body();
      this.store();
    });
  }

  /** Every pair of float values in f10 and f11. */
  floatPairs(body: () => void): void {
    this.floats(() =>
      this.#loop(INNER, FLOATS, this.#floats.length, () => {
        this.a.op('fld', { rd: B, rs1: INNER, imm: 0 });
        body();
      }),
    );
  }

  /** Every triple of float values in f10, f11 and f12. */
  floatTriples(body: () => void): void {
    this.floatPairs(() =>
      this.#loop(C, FLOATS, this.#floats.length, () => {
        this.a.op('fld', { rd: C, rs1: C, imm: 0 });
        body();
      }),
    );
  }

  /** The program of the case; it runs in M-mode, and no instruction of it but the last traps. */
  build(number: number): Program {
    const { a } = this;
    while (a.offset % 4 !== 0) a.compressed('c.nop');
    const end = a.offset;
    a.op('ebreak');
    const pokes: [number, bigint][] = [];
    for (const [index, value] of INTEGER_VALUES.entries()) pokes.push([INTEGERS + index * 8, value]);
    for (const [index, value] of this.#floats.entries()) pokes.push([FLOATS + index * 8, value]);
    return {
      number,
      category: 'integer',
      entry: BigInt(CODE),
      codeAddress: BigInt(CODE),
      code: a.finish(),
      end: BigInt(CODE + end),
      mstatus: 0x7800n,
      satp: 0n,
      medeleg: 0n,
      mideleg: 0n,
      stvec: BigInt(STUB),
      fcsr: 0n,
      mie: 0n,
      mcounteren: 7n,
      scounteren: 7n,
      menvcfg: ADUE,
      pmpaddr: [0n, 0n, 0n, 0n],
      pmpcfg0: PMP_ALL,
      dataSeed: 0x1234_5678_9abc_def1n,
      trapLimit: 4,
      resume: [],
      x: Array.from({ length: 32 }, (_, n) => BigInt(n) * 0x0101_0101_0101_0101n),
      f: [],
      pokes,
    };
  }
}
