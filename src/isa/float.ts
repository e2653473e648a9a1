import { i32, i64 } from '../wasm/index.ts';
import { bool, low, sext32 } from './base.ts';
import type { Context, FloatFormat, FloatOperation, I64 } from './context.ts';
import { does, type Extension, type Instruction, MASK, word } from './instruction.ts';

/** F and D (unprivileged specification, chapters 20 and 21): each is written once for both formats. */

const LOAD_FP = 0x07;
const STORE_FP = 0x27;
const OP_FP = 0x53;

/** A value's bits as the operations take them, by format: singles in the low half of an i64. */
const operand = (c: Context, format: FloatFormat, source: 1 | 2 | 3): I64 =>
  format === 'D' ? c.floatBits(source) : bool(c.singleBits(source));

function setResult(c: Context, format: FloatFormat, value: I64): void {
  if (format === 'D') c.setFloat64(value);
  else c.setFloat32(low(value));
}

interface Shape {
  readonly format: FloatFormat;
  readonly extension: Extension;
  /** The fmt field: 0 single, 1 double. */
  readonly fmt: number;
  readonly suffix: string;
  readonly sign: bigint;
}

const SINGLE: Shape = { format: 'S', extension: 'F', fmt: 0, suffix: 's', sign: 1n << 31n };
const DOUBLE: Shape = { format: 'D', extension: 'D', fmt: 1, suffix: 'd', sign: 1n << 63n };

const flipSign = (shape: Shape, value: I64): I64 => i64.xor(value, i64.const(shape.sign));

function arithmetic(s: Shape, name: string, funct5: number, operation: FloatOperation): Instruction {
  return does(
    s.extension,
    {
      name: `${name}.${s.suffix}`,
      mask: MASK.funct7NoRm,
      match: word(OP_FP, 0, (funct5 << 2) | s.fmt),
      format: 'R',
      syntax: 'frd, frs1, frs2, rm',
    },
    (c) => setResult(c, s.format, c.float(operation, s.format, operand(c, s.format, 1), operand(c, s.format, 2))),
  );
}

/** rs1 * rs2 + rs3 with one rounding; the other three forms negate the product, the addend, or both. */
function multiplyAdd(s: Shape, name: string, opcode: number, negateProduct: boolean, negateAddend: boolean) {
  return does(
    s.extension,
    {
      name: `${name}.${s.suffix}`,
      mask: MASK.funct2,
      match: word(opcode, 0, s.fmt),
      format: 'R4',
      syntax: 'frd, frs1, frs2, frs3, rm',
    },
    (c) => {
      const a = operand(c, s.format, 1);
      const addend = operand(c, s.format, 3);
      const value = c.float(
        'madd',
        s.format,
        negateProduct ? flipSign(s, a) : a,
        operand(c, s.format, 2),
        negateAddend ? flipSign(s, addend) : addend,
      );
      setResult(c, s.format, value);
    },
  );
}

function signInjection(s: Shape, name: string, funct3: number, sign: (a: I64, b: I64) => I64): Instruction {
  return does(
    s.extension,
    {
      name: `${name}.${s.suffix}`,
      mask: MASK.funct7,
      match: word(OP_FP, funct3, 0x10 | s.fmt),
      format: 'R',
      syntax: 'frd, frs1, frs2',
    },
    (c) => {
      const a = c.temporary('i64', operand(c, s.format, 1)).get;
      const signBit = i64.const(s.sign);
      const magnitude = i64.and(a, i64.const(s.sign - 1n));
      setResult(c, s.format, i64.or(magnitude, i64.and(sign(a, operand(c, s.format, 2)), signBit)));
    },
  );
}

/** Takes two operands and no rounding mode: minimum and maximum, comparisons. */
function pair(
  s: Shape,
  name: FloatOperation,
  funct3: number,
  funct7: number,
  syntax: string,
  write: (c: Context, value: I64) => void,
): Instruction {
  return does(
    s.extension,
    {
      name: `f${name}.${s.suffix}`,
      mask: MASK.funct7,
      match: word(OP_FP, funct3, funct7 | s.fmt),
      format: 'R',
      syntax,
    },
    (c) => write(c, c.float(name, s.format, operand(c, s.format, 1), operand(c, s.format, 2))),
  );
}

const minMax = (s: Shape, name: FloatOperation, funct3: number): Instruction =>
  pair(s, name, funct3, 0x14, 'frd, frs1, frs2', (c, value) => setResult(c, s.format, value));

const compare = (s: Shape, name: FloatOperation, funct3: number): Instruction =>
  pair(s, name, funct3, 0x50, 'rd, frs1, frs2', (c, value) => c.setRd(value));

const INTEGERS = [
  { suffix: 'w', rs2: 0, to: 'to_w', from: 'from_w' },
  { suffix: 'wu', rs2: 1, to: 'to_wu', from: 'from_wu' },
  { suffix: 'l', rs2: 2, to: 'to_l', from: 'from_l' },
  { suffix: 'lu', rs2: 3, to: 'to_lu', from: 'from_lu' },
] as const;

function conversions(s: Shape): Instruction[] {
  return INTEGERS.flatMap((integer) => [
    does(
      s.extension,
      {
        name: `fcvt.${integer.suffix}.${s.suffix}`,
        mask: MASK.unaryNoRm,
        match: word(OP_FP, 0, 0x60 | s.fmt, integer.rs2),
        format: 'R',
        syntax: 'rd, frs1, rm',
      },
      (c) => c.setRd(c.float(integer.to, s.format, operand(c, s.format, 1))),
    ),
    does(
      s.extension,
      {
        name: `fcvt.${s.suffix}.${integer.suffix}`,
        mask: MASK.unaryNoRm,
        match: word(OP_FP, 0, 0x68 | s.fmt, integer.rs2),
        format: 'R',
        syntax: 'frd, rs1, rm',
      },
      (c) => setResult(c, s.format, c.float(integer.from, s.format, c.rs1)),
    ),
  ]);
}

function unary(s: Shape, name: string, funct3: number, funct7: number, syntax: string, f: (c: Context) => void) {
  return does(
    s.extension,
    { name, mask: MASK.unary, match: word(OP_FP, funct3, funct7 | s.fmt), format: 'R', syntax },
    f,
  );
}

function bothFormats(s: Shape): Instruction[] {
  const { format, suffix } = s;
  return [
    arithmetic(s, 'fadd', 0x00, 'add'),
    arithmetic(s, 'fsub', 0x01, 'sub'),
    arithmetic(s, 'fmul', 0x02, 'mul'),
    arithmetic(s, 'fdiv', 0x03, 'div'),
    does(
      s.extension,
      {
        name: `fsqrt.${suffix}`,
        mask: MASK.unaryNoRm,
        match: word(OP_FP, 0, 0x2c | s.fmt),
        format: 'R',
        syntax: 'frd, frs1, rm',
      },
      (c) => setResult(c, format, c.float('sqrt', format, operand(c, format, 1))),
    ),
    multiplyAdd(s, 'fmadd', 0x43, false, false),
    multiplyAdd(s, 'fmsub', 0x47, false, true),
    multiplyAdd(s, 'fnmsub', 0x4b, true, false),
    multiplyAdd(s, 'fnmadd', 0x4f, true, true),
    signInjection(s, 'fsgnj', 0, (_a, b) => b),
    signInjection(s, 'fsgnjn', 1, (_a, b) => i64.xor(b, i64.const(-1))),
    signInjection(s, 'fsgnjx', 2, (a, b) => i64.xor(a, b)),
    minMax(s, 'min', 0),
    minMax(s, 'max', 1),
    compare(s, 'le', 0),
    compare(s, 'lt', 1),
    compare(s, 'eq', 2),
    unary(s, `fclass.${suffix}`, 1, 0x70, 'rd, frs1', (c) =>
      c.setRd(c.float('classify', format, operand(c, format, 1))),
    ),
    ...conversions(s),
  ];
}

const memory = (opcode: number, funct3: number) => ({ mask: MASK.funct3, match: word(opcode, funct3) });

export const FLOAT: readonly Instruction[] = [
  ...bothFormats(SINGLE),
  ...bothFormats(DOUBLE),
  does(
    'D',
    { name: 'fcvt.s.d', mask: MASK.unaryNoRm, match: word(OP_FP, 0, 0x20, 1), format: 'R', syntax: 'frd, frs1, rm' },
    (c) => c.setFloat32(low(c.float('from_other', 'S', c.floatBits(1)))),
  ),
  does(
    'D',
    { name: 'fcvt.d.s', mask: MASK.unaryNoRm, match: word(OP_FP, 0, 0x21, 0), format: 'R', syntax: 'frd, frs1, rm' },
    (c) => c.setFloat64(c.float('from_other', 'D', bool(c.singleBits(1)))),
  ),
  // Moves of singles take the low half as it is: they do not look at the NaN box.
  unary(SINGLE, 'fmv.x.w', 0, 0x70, 'rd, frs1', (c) => c.setRd(sext32(low(c.floatBits(1))))),
  unary(SINGLE, 'fmv.w.x', 0, 0x78, 'frd, rs1', (c) => c.setFloat32(low(c.rs1))),
  unary(DOUBLE, 'fmv.x.d', 0, 0x70, 'rd, frs1', (c) => c.setRd(c.floatBits(1))),
  unary(DOUBLE, 'fmv.d.x', 0, 0x78, 'frd, rs1', (c) => c.setFloat64(c.rs1)),
  does('F', { name: 'flw', ...memory(LOAD_FP, 2), format: 'I', syntax: 'frd, imm(rs1)' }, (c) =>
    c.setFloat32(i32.load(c.readable(4, i64.add(c.rs1, c.imm)))),
  ),
  does('D', { name: 'fld', ...memory(LOAD_FP, 3), format: 'I', syntax: 'frd, imm(rs1)' }, (c) =>
    c.setFloat64(i64.load(c.readable(8, i64.add(c.rs1, c.imm)))),
  ),
  does('F', { name: 'fsw', ...memory(STORE_FP, 2), format: 'S', syntax: 'frs2, imm(rs1)' }, (c) =>
    c.store(4, i64.add(c.rs1, c.imm), c.floatBits(2)),
  ),
  does('D', { name: 'fsd', ...memory(STORE_FP, 3), format: 'S', syntax: 'frs2, imm(rs1)' }, (c) =>
    c.store(8, i64.add(c.rs1, c.imm), c.floatBits(2)),
  ),
];
