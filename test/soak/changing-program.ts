/** A program for the guest that changes itself all the time, into code that nobody has translated before. */
import { encode } from '../../src/isa/encode.ts';
import { type Assembler, assemble, R } from '../engine/assembler.ts';

const { a0, a1, a2, a3, a7, t0, s0, s1 } = R;
const NUMBER = 18;
const ENTRY = 0x1_0000;
const HEADER_BYTES = 64 + 56;
const EXIT = 93;
/** Loops that a program makes of its one loop, and rounds of each: more than the jumps after which it is translated. */
const VARIANTS = 40;
const ROUNDS = 20_000;

/** The first number of a program: the loop's number is in two immediates of 11 bits. */
const firstNumber = (program: number): number => (program * VARIANTS) % 2 ** 22;

const ADD = encode('addiw', { rd: a0, rs1: a0 });
const XOR = encode('xori', { rd: a2, rs1: a0 });

function write(a: Assembler, program: number): void {
  a.li(a0, 0).li(s1, VARIANTS).li(NUMBER, firstNumber(program)).to('jal', 'behind', { rd: s0 });
  a.label('loop').word(ADD).word(XOR).i('srliw', { rd: a3, rs1: a0, imm: 3 }).i('addw', { rd: a0, rs1: a2, rs2: a3 });
  a.i('addi', { rd: a1, rs1: a1, imm: -1 }).to('bne', 'loop', { rs1: a1 });
  a.i('addi', { rd: NUMBER, rs1: NUMBER, imm: 1 })
    .i('addi', { rd: s1, rs1: s1, imm: -1 })
    .to('beq', 'end', { rs1: s1 });
  a.label('behind');
  for (const [shift, word, imm] of [
    [0, ADD, 0],
    [11, XOR, 4],
  ] as const) {
    a.i('srli', { rd: t0, rs1: NUMBER, imm: shift }).i('slli', { rd: t0, rs1: t0, imm: 53 });
    a.i('srli', { rd: t0, rs1: t0, imm: 33 }).li(a2, word).i('add', { rd: t0, rs1: t0, rs2: a2 });
    a.i('sw', { rs1: s0, rs2: t0, imm });
  }
  a.i('fence.i').li(a1, ROUNDS).jump('loop').label('end');
  a.i('andi', { rd: a0, rs1: a0, imm: 127 }).li(a7, EXIT).i('ecall');
}

/** An ELF file for Linux; it exits with a status of its own. */
export function changingProgram(program: number): Uint8Array {
  const code = assemble((a) => write(a, program));
  const file = new Uint8Array(HEADER_BYTES + code.length);
  const view = new DataView(file.buffer);
  const words = (at: number, size: 2 | 4 | 8, ...values: number[]): void => {
    for (const [index, value] of values.entries()) {
      if (size === 8) view.setBigUint64(at + index * 8, BigInt(value), true);
      else if (size === 4) view.setUint32(at + index * 4, value, true);
      else view.setUint16(at + index * 2, value, true);
    }
  };
  // 64 bits, little-endian, executable, RISC-V; one segment that is all of the file, to be read, written and executed.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  words(16, 2, 2, 0xf3);
  words(20, 4, 1);
  words(24, 8, ENTRY + HEADER_BYTES, 64, 0);
  words(52, 2, 64, 56, 1);
  words(64, 4, 1, 7);
  words(72, 8, 0, ENTRY, ENTRY, file.length, file.length, 4096);
  file.set(code, HEADER_BYTES);
  return file;
}

/** What `changingProgram` exits with. */
export function changingStatus(program: number): number {
  let value = 0;
  for (let variant = 0; variant < VARIANTS; variant++) {
    const number = firstNumber(program) + variant;
    const [add, xor] = [number % 2048, Math.floor(number / 2048) % 2048];
    for (let round = 0; round < ROUNDS; round++) {
      value = (value + add) | 0;
      value = ((value ^ xor) + (value >>> 3)) | 0;
    }
  }
  return value & 127;
}
