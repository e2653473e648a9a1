import { CSRS } from '../../src/isa/csr.ts';
import { encode, encodeCompressed } from '../../src/isa/encode.ts';
import type { Operands } from '../../src/isa/format.ts';

/** Registers by the names that tests use. */
export const R = {
  zero: 0,
  ra: 1,
  sp: 2,
  gp: 3,
  tp: 4,
  t0: 5,
  t1: 6,
  t2: 7,
  s0: 8,
  s1: 9,
  a0: 10,
  a1: 11,
  a2: 12,
  a3: 13,
  a4: 14,
  a5: 15,
  a6: 16,
  a7: 17,
  t3: 28,
  t4: 29,
  t5: 30,
  t6: 31,
} as const;

const CSR_NUMBERS = new Map(CSRS.map((csr) => [csr.name, csr.number]));

export function csrNumber(name: string): number {
  const number = CSR_NUMBERS.get(name);
  if (number === undefined) throw new Error(`no CSR is named ${name}`);
  return number;
}

/** Collects instructions for one place in memory. Each method gives the assembler, so that calls can be chained. */
export class Assembler {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: (() => void)[] = [];

  /** Bytes so far. */
  get length(): number {
    return this.#bytes.length;
  }

  /** A 32-bit instruction from the instruction table. */
  i(name: string, operands: Partial<Operands> = {}): this {
    return this.word(encode(name, operands));
  }

  /** A compressed one, with the operands of the instruction that it stands for. */
  c(name: string, operands: Partial<Operands> = {}): this {
    return this.half(encodeCompressed(name, operands));
  }

  word(bits: number): this {
    return this.half(bits & 0xffff).half(bits >>> 16);
  }

  half(bits: number): this {
    this.#bytes.push(bits & 0xff, (bits >>> 8) & 0xff);
    return this;
  }

  label(name: string): this {
    this.#labels.set(name, this.length);
    return this;
  }

  /** Where a label stands, in bytes from the start; only once it was placed. */
  offset(label: string): number {
    const offset = this.#labels.get(label);
    if (offset === undefined) throw new Error(`no label ${label}`);
    return offset;
  }

  /** A branch or jump to a label that stands anywhere. */
  to(name: string, label: string, operands: Partial<Operands> = {}): this {
    const at = this.length;
    this.#fixups.push(() => {
      const word = encode(name, { ...operands, imm: this.offset(label) - at });
      for (let i = 0; i < 4; i++) this.#bytes[at + i] = (word >>> (8 * i)) & 0xff;
    });
    return this.word(0);
  }

  jump(label: string): this {
    return this.to('jal', label);
  }

  /** Loads any 64-bit constant. */
  li(rd: number, value: bigint | number): this {
    const wanted = BigInt.asIntN(64, BigInt(value));
    if (BigInt.asIntN(12, wanted) === wanted) return this.i('addi', { rd, imm: Number(wanted) });
    const low = BigInt.asIntN(12, wanted);
    if (BigInt.asIntN(32, wanted) === wanted) {
      this.i('lui', { rd, imm: Number(BigInt.asIntN(32, wanted - low)) });
      return this.i('addiw', { rd, rs1: rd, imm: Number(low) });
    }
    this.li(rd, BigInt.asIntN(52, (wanted - low) >> 12n));
    this.i('slli', { rd, rs1: rd, imm: 12 });
    return this.i('addi', { rd, rs1: rd, imm: Number(low) });
  }

  /** csrrw, csrrs or csrrc with a CSR by name. */
  csr(name: 'csrrw' | 'csrrs' | 'csrrc' | 'csrrwi' | 'csrrsi' | 'csrrci', rd: number, csr: string, rs1 = 0): this {
    return this.i(name, { rd, rs1, imm: csrNumber(csr) });
  }

  /** Sets a CSR to a constant, by way of a register (t6 if not said). */
  setCsr(csr: string, value: bigint | number, by: number = R.t6): this {
    return this.li(by, value).csr('csrrw', 0, csr, by);
  }

  nops(count: number): this {
    for (let i = 0; i < count; i++) this.i('addi');
    return this;
  }

  finish(): Uint8Array {
    for (const fix of this.#fixups) fix();
    return Uint8Array.from(this.#bytes);
  }
}

export const assemble = (write: (a: Assembler) => void): Uint8Array => {
  const assembler = new Assembler();
  write(assembler);
  return assembler.finish();
};
