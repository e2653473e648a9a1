import { COMPRESSED } from './compressed.ts';
import { CSRS, csrIndex } from './csr.ts';
import { type Decoded, decode, INSTRUCTIONS, isCompressed } from './decode.ts';

/** Register names of the calling convention (RISC-V ABIs specification, 1.1 and 1.2). */
export const X_NAMES: readonly string[] =
  'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'.split(' ');
export const F_NAMES: readonly string[] = (
  'ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 ' +
  'fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11'
).split(' ');

/** Rounding modes; 5 and 6 are reserved, 7 (that of frm) is not written. */
const ROUNDING_MODES: readonly string[] = ['rne', 'rtz', 'rdn', 'rup', 'rmm', 'rm5', 'rm6', ''];

/** Bits 26 (aq) and 25 (rl) of atomic instructions. */
const ORDERINGS: readonly string[] = ['', '.rl', '.aq', '.aqrl'];

const COMPRESSED_SYNTAX = new Map(COMPRESSED.map((form) => [form.name, form.syntax]));

/**
 * An instruction in assembly: compressed ones by their own names (`c.addi`), no other aliases; jumps and branches with
 * the address they go to. What is no instruction comes out as the data it is.
 *
 * @param bits 32 bits, of which the upper half is not looked at when the lower one is a compressed instruction
 * @param address where the instruction stands
 */
export function disassemble(bits: number, address = 0n): string {
  const decoded = decode(bits);
  if (decoded === undefined) {
    return isCompressed(bits) ? `.half ${hex(bits & 0xffff)}` : `.word ${hex(bits >>> 0)}`;
  }
  const instruction = INSTRUCTIONS[decoded.number]!;
  const syntax = decoded.length === 2 ? COMPRESSED_SYNTAX.get(decoded.name)! : instruction.syntax;
  const name = instruction.extension === 'A' ? decoded.name + ORDERINGS[(bits >>> 25) & 3]! : decoded.name;
  const operands = syntax
    .replace(/[a-z]\w*/g, (token) => operandText(token, decoded, address))
    .replace(/, $/, '')
    .replaceAll(', ', ',');
  return operands === '' ? name : `${name} ${operands}`;
}

function operandText(token: string, decoded: Decoded, address: bigint): string {
  const { rd, rs1, rs2, rs3, imm, rm } = decoded.operands;
  switch (token) {
    case 'rd':
      return X_NAMES[rd]!;
    case 'rs1':
      return X_NAMES[rs1]!;
    case 'rs2':
      return X_NAMES[rs2]!;
    case 'frd':
      return F_NAMES[rd]!;
    case 'frs1':
      return F_NAMES[rs1]!;
    case 'frs2':
      return F_NAMES[rs2]!;
    case 'frs3':
      return F_NAMES[rs3]!;
    case 'imm':
      return INSTRUCTIONS[decoded.number]!.format === 'U' ? hex(imm >>> 12) : String(imm);
    case 'uimm':
      return String(rs1);
    case 'csr':
      return csrName(imm);
    case 'offset':
      return hex(BigInt.asUintN(64, address + BigInt(imm)));
    case 'rm':
      return ROUNDING_MODES[rm]!;
    case 'pred':
      return fenceSet(imm >>> 4);
    case 'succ':
      return fenceSet(imm);
    default:
      throw new Error(`the syntax of ${decoded.name} has an unknown operand ${token}`);
  }
}

function csrName(number: number): string {
  const index = csrIndex(number);
  return index === undefined ? hex(number) : CSRS[index]!.name;
}

/** Device input and output, memory reads and writes: bits 3 to 0. */
function fenceSet(bits: number): string {
  const set = [...'iorw'].filter((_letter, index) => ((bits >>> (3 - index)) & 1) !== 0).join('');
  return set === '' ? '0' : set;
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
