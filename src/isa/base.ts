import { i32, i64, select } from '../wasm/index.ts';
import type { Context, I32, I64 } from './context.ts';
import { computes, does, type Instruction, MASK, word } from './instruction.ts';

/** RV64I (unprivileged specification, chapters 2 and 4), Zifencei. */

const OP = 0x33;
const OP_32 = 0x3b;
const OP_IMM = 0x13;
const OP_IMM_32 = 0x1b;
const LOAD = 0x03;
const STORE = 0x23;
const BRANCH = 0x63;

/** The low 32 bits of a 64-bit value, and a 32-bit result sign-extended into a register. */
export const low = (value: I64): I32 => i32.wrap(value);
export const sext32 = (value: I32): I64 => i64.extend_i32_s(value);
export const bool = (value: I32): I64 => i64.extend_i32_u(value);

type Binary = (a: I64, b: I64) => I64;

const register = (name: string, funct3: number, funct7: number, f: Binary, opcode = OP): Instruction =>
  computes(
    'I',
    { name, mask: MASK.funct7, match: word(opcode, funct3, funct7), format: 'R', syntax: 'rd, rs1, rs2' },
    (c) => f(c.rs1, c.rs2),
  );

const immediate = (name: string, funct3: number, f: Binary, opcode = OP_IMM): Instruction =>
  computes('I', { name, mask: MASK.funct3, match: word(opcode, funct3), format: 'I', syntax: 'rd, rs1, imm' }, (c) =>
    f(c.rs1, c.imm),
  );

const shift = (name: string, funct3: number, funct6: number, f: Binary): Instruction =>
  computes(
    'I',
    { name, mask: MASK.shift6, match: word(OP_IMM, funct3, funct6 << 1), format: 'shift6', syntax: 'rd, rs1, imm' },
    (c) => f(c.rs1, c.imm),
  );

const shiftWord = (name: string, funct3: number, funct7: number, f: Binary): Instruction =>
  computes(
    'I',
    { name, mask: MASK.funct7, match: word(OP_IMM_32, funct3, funct7), format: 'shift5', syntax: 'rd, rs1, imm' },
    (c) => f(c.rs1, c.imm),
  );

const add: Binary = (a, b) => i64.add(a, b);
const addWord: Binary = (a, b) => sext32(i32.add(low(a), low(b)));
const subWord: Binary = (a, b) => sext32(i32.sub(low(a), low(b)));
// Wasm takes a shift's distance modulo the width, as RISC-V does.
const sllWord: Binary = (a, b) => sext32(i32.shl(low(a), low(b)));
const srlWord: Binary = (a, b) => sext32(i32.shr_u(low(a), low(b)));
const sraWord: Binary = (a, b) => sext32(i32.shr_s(low(a), low(b)));
const slt: Binary = (a, b) => bool(i64.lt_s(a, b));
const sltu: Binary = (a, b) => bool(i64.lt_u(a, b));

const branch = (name: string, funct3: number, f: (a: I64, b: I64) => I32): Instruction =>
  does('I', { name, mask: MASK.funct3, match: word(BRANCH, funct3), format: 'B', syntax: 'rs1, rs2, offset' }, (c) =>
    c.branch(f(c.rs1, c.rs2)),
  );

const load = (name: string, funct3: number, bytes: 1 | 2 | 4 | 8, f: (address: I32) => I64): Instruction =>
  does('I', { name, mask: MASK.funct3, match: word(LOAD, funct3), format: 'I', syntax: 'rd, imm(rs1)' }, (c) =>
    c.setRd(f(c.readable(bytes, i64.add(c.rs1, c.imm)))),
  );

const store = (name: string, funct3: number, bytes: 1 | 2 | 4 | 8): Instruction =>
  does('I', { name, mask: MASK.funct3, match: word(STORE, funct3), format: 'S', syntax: 'rs2, imm(rs1)' }, (c) =>
    c.store(bytes, i64.add(c.rs1, c.imm), c.rs2),
  );

export const BASE: readonly Instruction[] = [
  computes('I', { name: 'lui', mask: MASK.opcode, match: 0x37, format: 'U', syntax: 'rd, imm' }, (c) => c.imm),
  computes('I', { name: 'auipc', mask: MASK.opcode, match: 0x17, format: 'U', syntax: 'rd, imm' }, (c) =>
    i64.add(c.pc, c.imm),
  ),
  does('I', { name: 'jal', mask: MASK.opcode, match: 0x6f, format: 'J', syntax: 'rd, offset' }, (c) => {
    c.setRd(c.nextPc);
    c.jumpRelative();
  }),
  does('I', { name: 'jalr', mask: MASK.funct3, match: word(0x67), format: 'I', syntax: 'rd, imm(rs1)' }, (c) => {
    // The target is read before rd is written: the two registers can be the same.
    const target = c.temporary('i64', i64.and(i64.add(c.rs1, c.imm), i64.const(-2)));
    c.setRd(c.nextPc);
    c.jump(target.get);
  }),
  branch('beq', 0, i64.eq),
  branch('bne', 1, i64.ne),
  branch('blt', 4, i64.lt_s),
  branch('bge', 5, i64.ge_s),
  branch('bltu', 6, i64.lt_u),
  branch('bgeu', 7, i64.ge_u),
  load('lb', 0, 1, i64.load8_s),
  load('lh', 1, 2, i64.load16_s),
  load('lw', 2, 4, i64.load32_s),
  load('ld', 3, 8, i64.load),
  load('lbu', 4, 1, i64.load8_u),
  load('lhu', 5, 2, i64.load16_u),
  load('lwu', 6, 4, i64.load32_u),
  store('sb', 0, 1),
  store('sh', 1, 2),
  store('sw', 2, 4),
  store('sd', 3, 8),
  immediate('addi', 0, add),
  immediate('slti', 2, slt),
  immediate('sltiu', 3, sltu),
  immediate('xori', 4, i64.xor),
  immediate('ori', 6, i64.or),
  immediate('andi', 7, i64.and),
  shift('slli', 1, 0x00, i64.shl),
  shift('srli', 5, 0x00, i64.shr_u),
  shift('srai', 5, 0x10, i64.shr_s),
  register('add', 0, 0x00, add),
  register('sub', 0, 0x20, i64.sub),
  register('sll', 1, 0x00, i64.shl),
  register('slt', 2, 0x00, slt),
  register('sltu', 3, 0x00, sltu),
  register('xor', 4, 0x00, i64.xor),
  register('srl', 5, 0x00, i64.shr_u),
  register('sra', 5, 0x20, i64.shr_s),
  register('or', 6, 0x00, i64.or),
  register('and', 7, 0x00, i64.and),
  immediate('addiw', 0, addWord, OP_IMM_32),
  shiftWord('slliw', 1, 0x00, sllWord),
  shiftWord('srliw', 5, 0x00, srlWord),
  shiftWord('sraiw', 5, 0x20, sraWord),
  register('addw', 0, 0x00, addWord, OP_32),
  register('subw', 0, 0x20, subWord, OP_32),
  register('sllw', 1, 0x00, sllWord, OP_32),
  register('srlw', 5, 0x00, srlWord, OP_32),
  register('sraw', 5, 0x20, sraWord, OP_32),
  does('I', { name: 'fence', mask: MASK.funct3, match: word(0x0f, 0), format: 'I', syntax: 'pred, succ' }, (c) =>
    c.fence(),
  ),
  // Zihintpause: the FENCE that orders nothing.
  does('I', { name: 'pause', mask: MASK.all, match: 0x0100000f, format: 'none', syntax: '' }, (c) => c.pause()),
  does('Zifencei', { name: 'fence.i', mask: MASK.funct3, match: word(0x0f, 1), format: 'I', syntax: '' }, (c) =>
    c.fenceI(),
  ),
];

/** M (chapter 12). RISC-V defines division by zero and overflow where Wasm traps. */
const MIN = i64.const(-(1n << 63n));
const ZERO = i64.const(0);
const ONES = i64.const(-1);

const mul = (name: string, funct3: number, opcode: number, f: (c: Context) => I64): Instruction =>
  computes('M', { name, mask: MASK.funct7, match: word(opcode, funct3, 1), format: 'R', syntax: 'rd, rs1, rs2' }, f);

/** A divisor for which the Wasm instruction does not trap; the result is replaced where it was unusable. */
function divide(c: Context, signed: boolean, operation: Binary, ifZero: (dividend: I64) => I64, ifOverflow: I64): I64 {
  const a = c.temporary('i64', c.rs1).get;
  const b = c.temporary('i64', c.rs2).get;
  const unusable = c.temporary(
    'i32',
    signed ? i32.or(i64.eqz(b), i32.and(i64.eq(a, MIN), i64.eq(b, ONES))) : i64.eqz(b),
  ).get;
  const safe = operation(a, select(unusable, i64.const(1), b));
  const special = signed ? select(i64.eqz(b), ifZero(a), ifOverflow) : ifZero(a);
  return select(unusable, special, safe);
}

function divideWord(c: Context, signed: boolean, operation: Binary, ifZero: (dividend: I64) => I64): I64 {
  const extend = signed ? i64.extend_i32_s : i64.extend_i32_u;
  const a = c.temporary('i64', extend(low(c.rs1))).get;
  const b = c.temporary('i64', extend(low(c.rs2))).get;
  // In 64 bits the quotient of 32-bit values does not overflow; its low half is what the specification asks for.
  const safe = operation(a, select(i64.eqz(b), i64.const(1), b));
  return sext32(low(select(i64.eqz(b), ifZero(a), safe)));
}

/** The high half of the unsigned 128-bit product, from four 32-bit products. */
function multiplyHigh(c: Context, a: I64, b: I64): I64 {
  const half = i64.const(32);
  const lowHalf = (value: I64): I64 => i64.and(value, i64.const(0xffffffffn));
  const highHalf = (value: I64): I64 => i64.shr_u(value, half);
  const lowLow = c.temporary('i64', i64.mul(lowHalf(a), lowHalf(b))).get;
  const middle = c.temporary('i64', i64.add(i64.mul(highHalf(a), lowHalf(b)), highHalf(lowLow))).get;
  const other = c.temporary('i64', i64.add(i64.mul(lowHalf(a), highHalf(b)), lowHalf(middle))).get;
  return i64.add(i64.add(i64.mul(highHalf(a), highHalf(b)), highHalf(middle)), highHalf(other));
}

/** A signed factor counts as itself minus 2^64 when negative: subtract the other factor from the high half. */
const correction = (factor: I64, other: I64): I64 => i64.and(i64.shr_s(factor, i64.const(63)), other);

export const MULTIPLY: readonly Instruction[] = [
  mul('mul', 0, OP, (c) => i64.mul(c.rs1, c.rs2)),
  mul('mulh', 1, OP, (c) => {
    const a = c.temporary('i64', c.rs1).get;
    const b = c.temporary('i64', c.rs2).get;
    return i64.sub(i64.sub(multiplyHigh(c, a, b), correction(a, b)), correction(b, a));
  }),
  mul('mulhsu', 2, OP, (c) => {
    const a = c.temporary('i64', c.rs1).get;
    const b = c.temporary('i64', c.rs2).get;
    return i64.sub(multiplyHigh(c, a, b), correction(a, b));
  }),
  mul('mulhu', 3, OP, (c) => {
    const a = c.temporary('i64', c.rs1).get;
    const b = c.temporary('i64', c.rs2).get;
    return multiplyHigh(c, a, b);
  }),
  mul('div', 4, OP, (c) => divide(c, true, i64.div_s, () => ONES, MIN)),
  mul('divu', 5, OP, (c) => divide(c, false, i64.div_u, () => ONES, ZERO)),
  mul('rem', 6, OP, (c) => divide(c, true, i64.rem_s, (a) => a, ZERO)),
  mul('remu', 7, OP, (c) => divide(c, false, i64.rem_u, (a) => a, ZERO)),
  mul('mulw', 0, OP_32, (c) => sext32(i32.mul(low(c.rs1), low(c.rs2)))),
  mul('divw', 4, OP_32, (c) => divideWord(c, true, i64.div_s, () => ONES)),
  mul('divuw', 5, OP_32, (c) => divideWord(c, false, i64.div_u, () => ONES)),
  mul('remw', 6, OP_32, (c) => divideWord(c, true, i64.rem_s, (a) => a)),
  mul('remuw', 7, OP_32, (c) => divideWord(c, false, i64.rem_u, (a) => a)),
];
