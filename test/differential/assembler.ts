/** A small assembler with labels: what the monitor and the generated programs are written with. */
import { COMPRESSED, type CompressedMnemonic, type CompressedOperands } from './compressed.ts';
import { ATOMICS, ENCODERS, FLOATS, type Mnemonic, type Operands } from './encode.ts';

interface Fixup {
  offset: number;
  label: string;
  encode: (distance: number) => number;
  /** bytes of the instruction */
  size: 2 | 4;
  /** farthest distance in bytes that the instruction reaches */
  reach: number;
}

const REACH: Record<string, number> = { jal: 1 << 20, 'c.j': 2048, 'c.beqz': 256, 'c.bnez': 256 };

/** Collects instructions; offsets are from the start of the piece of code. */
export class Assembler {
  #bytes: number[] = [];
  #labels = new Map<string, number>();
  #fixups: Fixup[] = [];

  /** Bytes so far. */
  get offset(): number {
    return this.#bytes.length;
  }

  word(value: number): void {
    this.half(value & 0xffff);
    this.half(value >>> 16);
  }

  half(value: number): void {
    this.#bytes.push(value & 0xff, (value >>> 8) & 0xff);
  }

  label(name: string): void {
    if (this.#labels.has(name)) throw new Error(`assembler: label ${name} stands twice`);
    this.#labels.set(name, this.offset);
  }

  /** Offset of a label that was placed already. */
  labelOffset(name: string): number {
    const offset = this.#labels.get(name);
    if (offset === undefined) throw new Error(`assembler: label ${name} was not placed`);
    return offset;
  }

  op(name: Mnemonic, operands: Operands = {}): void {
    this.word(ENCODERS[name](operands));
  }

  atomic(name: string, operands: Operands): void {
    this.word(ATOMICS[name]!(operands));
  }

  float(name: string, operands: Operands): void {
    this.word(FLOATS[name]!.encode(operands));
  }

  compressed(name: CompressedMnemonic, operands: CompressedOperands = {}): void {
    this.half(COMPRESSED[name](operands));
  }

  /** A branch or jump to a label, which may stand before or after. */
  to(name: 'jal' | 'beq' | 'bne' | 'blt' | 'bge' | 'bltu' | 'bgeu', label: string, operands: Operands = {}): void {
    const encode = (imm: number): number => ENCODERS[name]({ ...operands, imm });
    this.#fixups.push({ offset: this.offset, label, encode, size: 4, reach: REACH[name] ?? 4096 });
    this.word(0);
  }

  compressedTo(name: 'c.j' | 'c.beqz' | 'c.bnez', label: string, rd = 8): void {
    const encode = (imm: number): number => COMPRESSED[name]({ rd, imm });
    this.#fixups.push({ offset: this.offset, label, encode, size: 2, reach: REACH[name]! });
    this.half(0);
  }

  jump(label: string): void {
    this.to('jal', label, { rd: 0 });
  }

  /** Loads a 64-bit constant with as many instructions as it takes. */
  li(rd: number, value: bigint | number): void {
    this.#constant(rd, BigInt.asIntN(64, BigInt(value)));
  }

  #constant(rd: number, value: bigint): void {
    if (value >= -2048n && value < 2048n) {
      this.op('addi', { rd, rs1: 0, imm: Number(value) });
      return;
    }
    const low = Number(BigInt.asIntN(12, value));
    if (BigInt.asIntN(32, value) === value) {
      const high = Number(BigInt.asUintN(20, (value - BigInt(low)) >> 12n));
      this.op('lui', { rd, imm: high });
      if (low !== 0) this.op('addiw', { rd, rs1: rd, imm: low });
      return;
    }
    this.#constant(rd, BigInt.asIntN(64, value - BigInt(low)) >> 12n);
    this.op('slli', { rd, rs1: rd, imm: 12 });
    if (low !== 0) this.op('addi', { rd, rs1: rd, imm: low });
  }

  /** The code with all labels resolved. */
  finish(): Uint8Array {
    const bytes = Uint8Array.from(this.#bytes);
    const view = new DataView(bytes.buffer);
    for (const { offset, label, encode, size, reach } of this.#fixups) {
      const distance = this.labelOffset(label) - offset;
      if (distance < -reach || distance >= reach) {
        throw new Error(`assembler: ${label} is ${distance} bytes away, the instruction reaches ${reach}`);
      }
      if (size === 2) view.setUint16(offset, encode(distance), true);
      else view.setUint32(offset, encode(distance), true);
    }
    return bytes;
  }
}
