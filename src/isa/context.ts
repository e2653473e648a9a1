import type { Expr, FunctionBuilder, I32, I64, Local } from '../wasm/index.ts';

/** Operations of the floating-point unit that round, raise flags or look at NaNs; everything else is plain bit work. */
export type FloatOperation =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'sqrt'
  | 'madd'
  | 'min'
  | 'max'
  | 'eq'
  | 'lt'
  | 'le'
  | 'classify'
  | 'to_w'
  | 'to_wu'
  | 'to_l'
  | 'to_lu'
  | 'from_w'
  | 'from_wu'
  | 'from_l'
  | 'from_lu'
  | 'from_other';

export type FloatFormat = 'S' | 'D';
export type CsrOperation = 'write' | 'set' | 'clear';

/**
 * What the semantics of an instruction are written against. An interpreter gives operands that are read through the
 * decoded instruction; a translator gives constants and Wasm locals. The semantics do not know which.
 */
export interface Context {
  readonly code: FunctionBuilder;
  /** The instruction's source registers. */
  readonly rs1: I64;
  readonly rs2: I64;
  /** The immediate, sign-extended or as the format has it. */
  readonly imm: I64;
  readonly pc: I64;
  /** The address of the instruction behind this one. */
  readonly nextPc: I64;
  /** A local for a value that is needed twice; it may be used until the end of the instruction. */
  temporary<T extends 'i32' | 'i64'>(type: T, value: Expr<T>): Local<T>;
  setRd(value: I64): void;

  /** Makes `bytes` bytes at a guest-virtual address readable; gives the machine address. */
  readable(bytes: 1 | 2 | 4 | 8, address: I64): I32;
  /** Stores the low bytes of a value at a guest-virtual address. */
  store(bytes: 1 | 2 | 4 | 8, address: I64, value: I64): void;
  /** Makes an aligned word writable (and readable) for an atomic operation; gives the machine address. */
  atomic(bytes: 4 | 8, address: I64): I32;
  /** As `atomic`, for LR: a fault is a load fault. */
  reservable(bytes: 4 | 8, address: I64): I32;
  /** The reservation's machine address (0: none) and the value that was loaded with it. */
  readonly reservationAddress: I32;
  readonly reservationValue: I64;
  reserve(address: I32, value: I64): void;

  jump(target: I64): void;
  /** Jumps to pc + imm. */
  jumpRelative(): void;
  branch(condition: I32): void;

  /** The bits of a source register of the floating-point file as they are. */
  floatBits(source: 1 | 2 | 3): I64;
  /** A single-precision operand's bits: the canonical NaN if the register is not NaN-boxed (unprivileged, D 22.2). */
  singleBits(source: 1 | 2 | 3): I32;
  setFloat64(bits: I64): void;
  /** Writes a NaN-boxed single. */
  setFloat32(bits: I32): void;
  /** Computes with the instruction's rounding mode; operands and results are bits in the low part of an i64. */
  float(operation: FloatOperation, format: FloatFormat, ...operands: I64[]): I64;

  csr(operation: CsrOperation, operand: I64, writes: I32): void;
  /** True if the rs1 field (a register number or a 5-bit immediate) is not 0. */
  readonly rs1FieldIsNonzero: I32;
  /** The rs1 field as an unsigned 5-bit immediate. */
  readonly uimm: I64;

  ecall(): void;
  ebreak(): void;
  mret(): void;
  sret(): void;
  wfi(): void;
  /** Orders memory accesses as the instruction's immediate says: predecessor and successor sets, mode. */
  fence(): void;
  /** A hint that the hart spins: it waits for what another hart does. */
  pause(): void;
  fenceI(): void;
  sfenceVma(): void;
}

export type Semantics = (c: Context) => void;
export type { I32, I64 };
