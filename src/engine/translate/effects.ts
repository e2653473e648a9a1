import type { Context, FloatOperation } from '../../isa/context.ts';
import { INSTRUCTIONS } from '../../isa/decode.ts';
import type { Instruction } from '../../isa/instruction.ts';
import { type Expr, FunctionBuilder, type I64, i32, i64, type Local } from '../../wasm/index.ts';

/** Where execution goes after an instruction. */
export type Control =
  /** To the next one. */
  | 'next'
  /** To pc + imm or to the next one. */
  | 'branch'
  /** To pc + imm. */
  | 'relative'
  /** To an address that was computed. */
  | 'indirect'
  /** Through the interpreter: the instruction is no part of any region. */
  | 'interpreter';

/** A load or store at rs1 + imm. */
export interface MemoryAccess {
  readonly kind: 'read' | 'write';
  readonly bytes: number;
}

/** What an instruction reads, writes and may do, whatever its operands are. */
export interface Effects {
  readonly control: Control;
  readonly readsRs1: boolean;
  readonly readsRs2: boolean;
  readonly writesRd: boolean;
  /** Bit n: the floating-point source n is read. */
  readonly floatSources: number;
  readonly writesFloat: boolean;
  /** It needs mstatus.FS to be on. */
  readonly usesFloat: boolean;
  /** Floating-point operations that it performs, as operation and format. */
  readonly floatOperations: readonly string[];
  /** What it does in memory, when that is one access at rs1 + imm. */
  readonly access: MemoryAccess | undefined;
  /** True if rd becomes rs1 + imm and nothing else happens. */
  readonly addsImmediate: boolean;
}

interface Record {
  addsImmediate: boolean;
  access: MemoryAccess | undefined;
  control: Control;
  readsRs1: boolean;
  readsRs2: boolean;
  writesRd: boolean;
  floatSources: number;
  writesFloat: boolean;
  floatOperations: string[];
}

/** What an instruction is observed with. */
interface Operands {
  readonly rs1: I64;
  readonly rs2: I64;
  readonly imm: I64;
}

const OPERANDS: Operands = { rs1: i64.const(0), rs2: i64.const(0), imm: i64.const(0) };

/** What rd becomes by given operands; undefined if the instruction does not say so as an expression. */
export const resultOf = (instruction: Instruction, operands: Operands): I64 | undefined =>
  observe(instruction, operands).result;

/**
 * Runs an instruction's semantics against a context that only takes notes: nothing but the semantics says what an
 * instruction does.
 */
function observe(
  instruction: Instruction,
  { rs1: base, rs2: other, imm: offset }: Operands,
): { effects: Effects; result: I64 | undefined } {
  const code = new FunctionBuilder({ parameters: [], result: undefined });
  let result: I64 | undefined;
  const seen: Record = {
    access: undefined,
    addsImmediate: false,
    control: 'next',
    readsRs1: false,
    readsRs2: false,
    writesRd: false,
    floatSources: 0,
    writesFloat: false,
    floatOperations: [],
  };
  const zero = i32.const(0);
  const wide = code.local('i64').get;
  const isSum = (value: I64): boolean => {
    const { operator, operands } = value;
    return operator === 'add' && operands?.[0] === base && operands[1] === offset;
  };
  const access = (kind: MemoryAccess['kind'], bytes: number, address: I64): void => {
    if (isSum(address)) seen.access = { kind, bytes };
  };
  const control = (kind: Control) => (): void => {
    seen.control = kind;
  };
  const leave = control('interpreter');
  const context: Context = {
    code,
    get rs1() {
      seen.readsRs1 = true;
      return base;
    },
    get rs2() {
      seen.readsRs2 = true;
      return other;
    },
    imm: offset,
    pc: wide,
    nextPc: wide,
    temporary: <T extends 'i32' | 'i64'>(type: T, value: Expr<T>): Local<T> => code.local(type, value),
    setRd: (value) => {
      seen.writesRd = true;
      seen.addsImmediate = isSum(value);
      result = value;
    },
    readable: (bytes, address) => {
      access('read', bytes, address);
      return zero;
    },
    store: (bytes, address) => access('write', bytes, address),
    atomic: () => zero,
    reservable: () => zero,
    reservationAddress: zero,
    reservationValue: wide,
    reserve: () => {},
    jump: control('indirect'),
    jumpRelative: control('relative'),
    branch: control('branch'),
    floatBits: (source) => {
      seen.floatSources |= 1 << source;
      return wide;
    },
    singleBits: (source) => {
      seen.floatSources |= 1 << source;
      return zero;
    },
    setFloat64: () => {
      seen.writesFloat = true;
    },
    setFloat32: () => {
      seen.writesFloat = true;
    },
    float: (operation: FloatOperation, format) => {
      seen.floatOperations.push(operation + format);
      return wide;
    },
    csr: () => {
      seen.writesRd = true;
    },
    rs1FieldIsNonzero: zero,
    uimm: wide,
    ecall: leave,
    ebreak: leave,
    mret: leave,
    sret: leave,
    wfi: leave,
    fence: () => {},
    pause: () => {},
    fenceI: () => {},
    sfenceVma: () => {
      seen.readsRs1 = true;
      seen.readsRs2 = true;
    },
  };
  instruction.semantics(context);
  const usesFloat = instruction.extension === 'F' || instruction.extension === 'D';
  return { effects: { ...seen, usesFloat }, result };
}

/** By number of instruction. */
export const EFFECTS: readonly Effects[] = INSTRUCTIONS.map((instruction) => observe(instruction, OPERANDS).effects);
