import { i32, i64, select } from '../wasm/index.ts';
import { bool, low, sext32 } from './base.ts';
import type { Context, I32, I64 } from './context.ts';
import { computes, type Extension, type Instruction, MASK, word } from './instruction.ts';

/** Zba, Zbb and Zbs (unprivileged specification, chapter 28 "B"). */

const OP = 0x33;
const OP_32 = 0x3b;
const OP_IMM = 0x13;
const OP_IMM_32 = 0x1b;

const register = (
  extension: Extension,
  name: string,
  opcode: number,
  funct3: number,
  funct7: number,
  f: (a: I64, b: I64, c: Context) => I64,
): Instruction =>
  computes(
    extension,
    { name, mask: MASK.funct7, match: word(opcode, funct3, funct7), format: 'R', syntax: 'rd, rs1, rs2' },
    (c) => f(c.rs1, c.rs2, c),
  );

const shift6 = (
  extension: Extension,
  name: string,
  opcode: number,
  funct3: number,
  funct6: number,
  f: (a: I64, imm: I64) => I64,
): Instruction =>
  computes(
    extension,
    { name, mask: MASK.shift6, match: word(opcode, funct3, funct6 << 1), format: 'shift6', syntax: 'rd, rs1, imm' },
    (c) => f(c.rs1, c.imm),
  );

const unary = (
  name: string,
  opcode: number,
  funct3: number,
  funct7: number,
  rs2: number,
  f: (a: I64, c: Context) => I64,
): Instruction =>
  computes(
    'Zbb',
    { name, mask: MASK.unary, match: word(opcode, funct3, funct7, rs2), format: 'R', syntax: 'rd, rs1' },
    (c) => f(c.rs1, c),
  );

const zeroExtend32 = (value: I64): I64 => i64.and(value, i64.const(0xffffffffn));
const not = (value: I64): I64 => i64.xor(value, i64.const(-1));
const oneShifted = (distance: I64): I64 => i64.shl(i64.const(1), distance);

function pick(c: Context, compare: (a: I64, b: I64) => I32): I64 {
  const a = c.temporary('i64', c.rs1).get;
  const b = c.temporary('i64', c.rs2).get;
  return select(compare(a, b), a, b);
}

/** Every byte becomes 0xff if it had a bit set, else 0. */
function orCombine(value: I64, c: Context): I64 {
  const lowBits = i64.const(0x0101010101010101n);
  const v = c.temporary('i64', value).get;
  const folded4 = c.temporary(
    'i64',
    i64.or(v, i64.and(i64.shr_u(v, i64.const(4)), i64.const(0x0f0f0f0f0f0f0f0fn))),
  ).get;
  const folded2 = c.temporary(
    'i64',
    i64.or(folded4, i64.and(i64.shr_u(folded4, i64.const(2)), i64.const(0x3f3f3f3f3f3f3f3fn))),
  ).get;
  const folded1 = i64.and(i64.or(folded2, i64.shr_u(folded2, i64.const(1))), lowBits);
  return i64.mul(folded1, i64.const(0xff));
}

function reverseBytes(value: I64, c: Context): I64 {
  const swap = (v: I64, distance: number, mask: bigint): I64 =>
    i64.or(
      i64.and(i64.shr_u(v, i64.const(distance)), i64.const(mask)),
      i64.shl(i64.and(v, i64.const(mask)), i64.const(distance)),
    );
  const bytes = c.temporary('i64', swap(c.temporary('i64', value).get, 8, 0x00ff00ff00ff00ffn)).get;
  const halves = c.temporary('i64', swap(bytes, 16, 0x0000ffff0000ffffn)).get;
  return i64.rotl(halves, i64.const(32));
}

export const BITMANIP: readonly Instruction[] = [
  register('Zba', 'add.uw', OP_32, 0, 0x04, (a, b) => i64.add(zeroExtend32(a), b)),
  ...[1, 2, 3].flatMap((n) => [
    register('Zba', `sh${n}add`, OP, 2 * n, 0x10, (a, b) => i64.add(i64.shl(a, i64.const(n)), b)),
    register('Zba', `sh${n}add.uw`, OP_32, 2 * n, 0x10, (a, b) => i64.add(i64.shl(zeroExtend32(a), i64.const(n)), b)),
  ]),
  shift6('Zba', 'slli.uw', OP_IMM_32, 1, 0x02, (a, imm) => i64.shl(zeroExtend32(a), imm)),

  register('Zbb', 'andn', OP, 7, 0x20, (a, b) => i64.and(a, not(b))),
  register('Zbb', 'orn', OP, 6, 0x20, (a, b) => i64.or(a, not(b))),
  register('Zbb', 'xnor', OP, 4, 0x20, (a, b) => not(i64.xor(a, b))),
  unary('clz', OP_IMM, 1, 0x30, 0, (a) => i64.clz(a)),
  unary('ctz', OP_IMM, 1, 0x30, 1, (a) => i64.ctz(a)),
  unary('cpop', OP_IMM, 1, 0x30, 2, (a) => i64.popcnt(a)),
  unary('sext.b', OP_IMM, 1, 0x30, 4, (a) => i64.extend8_s(a)),
  unary('sext.h', OP_IMM, 1, 0x30, 5, (a) => i64.extend16_s(a)),
  unary('clzw', OP_IMM_32, 1, 0x30, 0, (a) => bool(i32.clz(low(a)))),
  unary('ctzw', OP_IMM_32, 1, 0x30, 1, (a) => bool(i32.ctz(low(a)))),
  unary('cpopw', OP_IMM_32, 1, 0x30, 2, (a) => bool(i32.popcnt(low(a)))),
  unary('zext.h', OP_32, 4, 0x04, 0, (a) => i64.and(a, i64.const(0xffff))),
  unary('orc.b', OP_IMM, 5, 0x14, 7, orCombine),
  unary('rev8', OP_IMM, 5, 0x35, 0x18, reverseBytes),
  register('Zbb', 'max', OP, 6, 0x05, (_a, _b, c) => pick(c, i64.gt_s)),
  register('Zbb', 'maxu', OP, 7, 0x05, (_a, _b, c) => pick(c, i64.gt_u)),
  register('Zbb', 'min', OP, 4, 0x05, (_a, _b, c) => pick(c, i64.lt_s)),
  register('Zbb', 'minu', OP, 5, 0x05, (_a, _b, c) => pick(c, i64.lt_u)),
  register('Zbb', 'rol', OP, 1, 0x30, (a, b) => i64.rotl(a, b)),
  register('Zbb', 'ror', OP, 5, 0x30, (a, b) => i64.rotr(a, b)),
  shift6('Zbb', 'rori', OP_IMM, 5, 0x18, (a, imm) => i64.rotr(a, imm)),
  register('Zbb', 'rolw', OP_32, 1, 0x30, (a, b) => sext32(i32.rotl(low(a), low(b)))),
  register('Zbb', 'rorw', OP_32, 5, 0x30, (a, b) => sext32(i32.rotr(low(a), low(b)))),
  computes(
    'Zbb',
    { name: 'roriw', mask: MASK.funct7, match: word(OP_IMM_32, 5, 0x30), format: 'shift5', syntax: 'rd, rs1, imm' },
    (c) => sext32(i32.rotr(low(c.rs1), low(c.imm))),
  ),

  register('Zbs', 'bclr', OP, 1, 0x24, (a, b) => i64.and(a, not(oneShifted(b)))),
  register('Zbs', 'bext', OP, 5, 0x24, (a, b) => i64.and(i64.shr_u(a, b), i64.const(1))),
  register('Zbs', 'binv', OP, 1, 0x34, (a, b) => i64.xor(a, oneShifted(b))),
  register('Zbs', 'bset', OP, 1, 0x14, (a, b) => i64.or(a, oneShifted(b))),
  shift6('Zbs', 'bclri', OP_IMM, 1, 0x12, (a, b) => i64.and(a, not(oneShifted(b)))),
  shift6('Zbs', 'bexti', OP_IMM, 5, 0x12, (a, b) => i64.and(i64.shr_u(a, b), i64.const(1))),
  shift6('Zbs', 'binvi', OP_IMM, 1, 0x1a, (a, b) => i64.xor(a, oneShifted(b))),
  shift6('Zbs', 'bseti', OP_IMM, 1, 0x0a, (a, b) => i64.or(a, oneShifted(b))),
];
