import type { ByteSink } from './sink.ts';

/**
 * Typed WebAssembly expressions. An `Expr` is a tree that writes the instructions which leave its value on the stack;
 * it is evaluated once for every time it is used in a statement, so a value that is needed twice goes into a local.
 * The TypeScript type carries the WebAssembly type: mixing i32 with i64 does not compile.
 */
export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export class Expr<T extends ValType> {
  readonly type: T;
  readonly emit: (sink: ByteSink) => void;
  /** The value, when it is known while the code is built, and is an int32 (sign-extended to the type). */
  readonly constant: number | undefined;
  /** Of an operation on values, and of a load without an offset: its name, and what it is applied to. */
  readonly operator: string | undefined;
  readonly operands: readonly Expr<ValType>[] | undefined;

  constructor(
    type: T,
    emit: (sink: ByteSink) => void,
    constant?: number,
    operator?: string,
    operands?: readonly Expr<ValType>[],
  ) {
    this.type = type;
    this.emit = emit;
    this.constant = constant;
    this.operator = operator;
    this.operands = operands;
  }
}

/** An address a constant above another one, of which it is known that the sum does not wrap: accesses have the constant as their offset. */
export class Displaced extends Expr<'i32'> {
  readonly base: I32;
  readonly displacement: number;

  constructor(base: I32, displacement: number) {
    super('i32', (sink) => {
      base.emit(sink);
      if (displacement === 0) return;
      sink.byte(0x41);
      sink.signed32(displacement);
      sink.byte(0x6a);
    });
    this.base = base;
    this.displacement = displacement;
  }
}

/** Writes an access to memory: its address, what comes behind that on the stack, the opcode and its memory operand. */
export function memoryAccess(
  sink: ByteSink,
  { address, offset, opcode }: { readonly address: I32; readonly offset: number; readonly opcode: number },
  behind?: Expr<ValType>,
): void {
  const isDisplaced = address instanceof Displaced;
  (isDisplaced ? address.base : address).emit(sink);
  behind?.emit(sink);
  sink.byte(opcode);
  memoryOperand(sink, 0, isDisplaced ? offset + address.displacement : offset);
}

export type I32 = Expr<'i32'>;
export type I64 = Expr<'i64'>;
export type F32 = Expr<'f32'>;
export type F64 = Expr<'f64'>;

type Binary<T extends ValType, R extends ValType> = (a: Expr<T>, b: Expr<T>) => Expr<R>;
type Unary<T extends ValType, R extends ValType> = (a: Expr<T>) => Expr<R>;
type Load<R extends ValType> = (address: I32, offset?: number) => Expr<R>;

export function binaries<N extends string, T extends ValType, R extends ValType>(
  result: R,
  opcodes: Record<N, number>,
) {
  const table = {} as Record<N, Binary<T, R>>;
  for (const name of Object.keys(opcodes) as N[]) {
    const opcode = opcodes[name];
    table[name] = (a, b) =>
      new Expr(
        result,
        (sink) => {
          a.emit(sink);
          b.emit(sink);
          sink.byte(opcode);
        },
        undefined,
        name,
        [a, b],
      );
  }
  return table;
}

export function unaries<N extends string, T extends ValType, R extends ValType>(
  result: R,
  opcodes: Record<N, number[]>,
) {
  const table = {} as Record<N, Unary<T, R>>;
  for (const name of Object.keys(opcodes) as N[]) {
    const opcode = opcodes[name];
    table[name] = (a) =>
      new Expr(
        result,
        (sink) => {
          a.emit(sink);
          for (const byte of opcode) sink.byte(byte);
        },
        undefined,
        name,
        [a],
      );
  }
  return table;
}

/** Writes a memory operand; `align` is the base-2 logarithm of the alignment. */
export function memoryOperand(sink: ByteSink, align: number, offset: number): void {
  sink.unsigned(align);
  sink.unsigned(offset);
}

export function loads<N extends string, R extends ValType>(
  result: R,
  opcodes: Record<N, [opcode: number, align: number]>,
) {
  const table = {} as Record<N, Load<R>>;
  for (const name of Object.keys(opcodes) as N[]) {
    const [opcode] = opcodes[name];
    table[name] = (address, offset = 0) =>
      new Expr(
        result,
        (sink) => memoryAccess(sink, { address, offset, opcode }),
        undefined,
        offset === 0 ? name : undefined,
        offset === 0 ? [address] : undefined,
      );
  }
  return table;
}

const SIMD_PREFIX = 0xfd;

/**
 * a * b + c by relaxed SIMD's multiply-add of vectors whose lanes are all alike. The engine decides, the same way each
 * time, whether the product is rounded before it is added; where processors fuse, V8 does.
 */
export function relaxedMultiplyAdd<T extends 'f32' | 'f64'>(
  type: T,
  splat: number,
  multiplyAdd: number,
  extract: number,
) {
  return (a: Expr<T>, b: Expr<T>, c: Expr<T>): Expr<T> =>
    new Expr(type, (sink) => {
      for (const operand of [a, b, c]) {
        operand.emit(sink);
        sink.byte(SIMD_PREFIX);
        sink.unsigned(splat);
      }
      sink.byte(SIMD_PREFIX);
      sink.unsigned(multiplyAdd);
      sink.byte(SIMD_PREFIX);
      sink.unsigned(extract);
      sink.byte(0);
    });
}

const ATOMIC_PREFIX = 0xfe;

/** An atomic access (threads proposal): the address has to be a multiple of the access' size. */
export function atomicLoad<R extends ValType>(result: R, opcode: number, align: number): Load<R> {
  return (address, offset = 0) =>
    new Expr(result, (sink) => {
      address.emit(sink);
      sink.byte(ATOMIC_PREFIX);
      sink.unsigned(opcode);
      memoryOperand(sink, align, offset);
    });
}

type AtomicRmw<T extends ValType> = (address: I32, value: Expr<T>, offset?: number) => Expr<T>;
type AtomicCompareExchange<T extends ValType> = (
  address: I32,
  expected: Expr<T>,
  value: Expr<T>,
  offset?: number,
) => Expr<T>;

export function atomicRmw<T extends ValType>(type: T, opcode: number, align: number): AtomicRmw<T> {
  return (address, value, offset = 0) =>
    new Expr(type, (sink) => {
      address.emit(sink);
      value.emit(sink);
      sink.byte(ATOMIC_PREFIX);
      sink.unsigned(opcode);
      memoryOperand(sink, align, offset);
    });
}

export function atomicCompareExchange<T extends ValType>(
  type: T,
  opcode: number,
  align: number,
): AtomicCompareExchange<T> {
  return (address, expected, value, offset = 0) =>
    new Expr(type, (sink) => {
      address.emit(sink);
      expected.emit(sink);
      value.emit(sink);
      sink.byte(ATOMIC_PREFIX);
      sink.unsigned(opcode);
      memoryOperand(sink, align, offset);
    });
}

/** Picks one of two values; both are evaluated. */
export function select<T extends ValType>(condition: I32, ifTrue: Expr<T>, ifFalse: Expr<T>): Expr<T> {
  return new Expr(ifTrue.type, (sink) => {
    ifTrue.emit(sink);
    ifFalse.emit(sink);
    condition.emit(sink);
    sink.byte(0x1b);
  });
}
