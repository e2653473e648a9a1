import { Expr, type I32, type I64, memoryAccess, STORE_OPCODES, type ValType } from './expr.ts';
import { ByteSink } from './sink.ts';

export const VALUE_TYPE_CODES: Record<ValType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
const EMPTY_BLOCK_TYPE = 0x40;

/** A branch target; it stays valid until the block, loop or if that made it ends. */
export interface Label {
  readonly depth: number;
}

export class Local<T extends ValType> {
  readonly type: T;
  readonly index: number;
  /** Reads the local. */
  readonly get: Expr<T>;

  constructor(type: T, index: number) {
    this.type = type;
    this.index = index;
    this.get = new Expr(type, (sink) => {
      sink.byte(0x20);
      sink.unsigned(index);
    });
  }
}

export interface FunctionType {
  readonly parameters: readonly ValType[];
  readonly result: ValType | undefined;
}

/** A function that can be called, before or after its body is written. */
export interface FunctionReference extends FunctionType {
  readonly index: number;
}

/** The type of functions that are called through a table, as an index into the module's types. */
export interface TypeReference extends FunctionType {
  readonly typeIndex: number;
}

/** Writes one function body, statement by statement, with structured control flow. */
export class FunctionBuilder {
  readonly type: FunctionType;
  readonly #code: ByteSink;
  readonly #locals: ValType[] = [];
  readonly #unlikely: number[] = [];
  #depth = 0;

  /** @param code takes the instructions, and nothing else until `finish`; empty */
  constructor(type: FunctionType, code: ByteSink = new ByteSink()) {
    this.type = type;
    this.#code = code;
  }

  parameter<T extends ValType>(index: number, type: T): Local<T> {
    if (this.type.parameters[index] !== type) throw new Error(`parameter ${index} is not ${type}`);
    return new Local(type, index);
  }

  local<T extends ValType>(type: T, initial?: Expr<T>): Local<T> {
    const local = new Local(type, this.type.parameters.length + this.#locals.length);
    this.#locals.push(type);
    if (initial !== undefined) this.set(local, initial);
    return local;
  }

  set<T extends ValType>(local: Local<T>, value: Expr<T>): void {
    value.emit(this.#code);
    this.#code.byte(0x21);
    this.#code.unsigned(local.index);
  }

  /** Stores the low `bytes` bytes of a value at address + offset. */
  store(bytes: 1 | 2 | 4 | 8, address: I32, value: I32 | I64, offset = 0): void {
    const opcodes: Partial<Record<number, number>> = STORE_OPCODES[value.type];
    const opcode = opcodes[bytes];
    if (opcode === undefined) throw new Error(`no ${bytes}-byte store of ${value.type}`);
    memoryAccess(this.#code, { address, offset, opcode }, value);
  }

  /** memory.fill: `length` bytes from `address` on become `byte`. */
  fill(address: I32, byte: I32, length: I32): void {
    address.emit(this.#code);
    byte.emit(this.#code);
    length.emit(this.#code);
    this.#code.byte(0xfc);
    this.#code.unsigned(11);
    this.#code.byte(0);
  }

  /** atomic.fence (threads proposal): orders all accesses before it before all accesses behind it. */
  atomicFence(): void {
    for (const byte of [0xfe, 0x03, 0x00]) this.#code.byte(byte);
  }

  /** Evaluates an expression for its effect. */
  drop(value: Expr<ValType>): void {
    value.emit(this.#code);
    this.#code.byte(0x1a);
  }

  /** Calls a function that has no result. */
  callVoid(callee: FunctionReference, ...args: Expr<ValType>[]): void {
    if (callee.result !== undefined) throw new Error('the function has a result');
    emitCall(this.#code, callee, args);
  }

  return(value?: Expr<ValType>): void {
    value?.emit(this.#code);
    this.#code.byte(0x0f);
  }

  /** Goes over to a function of the module's table, which returns in this function's place. */
  returnCallIndirect(type: TypeReference, index: I32, ...args: Expr<ValType>[]): void {
    emitArguments(this.#code, type, args);
    index.emit(this.#code);
    this.#code.byte(0x13);
    this.#code.unsigned(type.typeIndex);
    this.#code.byte(0);
  }

  /** Goes over to a function, which returns in this function's place. */
  returnCall(target: FunctionReference, ...args: Expr<ValType>[]): void {
    emitArguments(this.#code, target, args);
    this.#code.byte(0x12);
    this.#code.unsigned(target.index);
  }

  unreachable(): void {
    this.#code.byte(0x00);
  }

  /** A block: a branch to its label goes behind it. */
  block(body: (end: Label) => void): void {
    this.#structured(0x02, body);
  }

  /** A loop: a branch to its label goes to its start. */
  loop(body: (start: Label) => void): void {
    this.#structured(0x03, body);
  }

  if(condition: I32, then: (end: Label) => void, otherwise?: (end: Label) => void): void {
    condition.emit(this.#code);
    this.#code.byte(0x04);
    this.#code.byte(EMPTY_BLOCK_TYPE);
    const label = { depth: ++this.#depth };
    then(label);
    if (otherwise !== undefined) {
      this.#code.byte(0x05);
      otherwise(label);
    }
    this.#code.byte(0x0b);
    this.#depth--;
  }

  /** An `if` that is hardly ever true: the compiler puts its code out of the way (branch hinting proposal). */
  unlikely(condition: I32, then: (end: Label) => void, otherwise?: (end: Label) => void): void {
    condition.emit(this.#code);
    this.#unlikely.push(this.#code.length);
    this.if(new Expr('i32', () => {}), then, otherwise);
  }

  br(label: Label): void {
    this.#code.byte(0x0c);
    this.#code.unsigned(this.#depth - label.depth);
  }

  brIf(label: Label, condition: I32): void {
    condition.emit(this.#code);
    this.#code.byte(0x0d);
    this.#code.unsigned(this.#depth - label.depth);
  }

  brTable(selector: I32, labels: readonly Label[], otherwise: Label): void {
    selector.emit(this.#code);
    this.#code.byte(0x0e);
    this.#code.unsigned(labels.length);
    for (const label of labels) this.#code.unsigned(this.#depth - label.depth);
    this.#code.unsigned(this.#depth - otherwise.depth);
  }

  /**
   * A jump table: runs `bodies[selector]`. Each body has to leave by itself (by a branch or a return);
   * a selector that is out of range is unreachable.
   */
  switch(selector: I32, bodies: readonly (() => void)[]): void {
    const labels: Label[] = [];
    // bodies[0] stands behind the innermost block, so that block i, counted from the inside, ends before bodies[i].
    const open = (): void => {
      this.#code.byte(0x02);
      this.#code.byte(EMPTY_BLOCK_TYPE);
      labels.unshift({ depth: ++this.#depth });
    };
    const close = (): void => {
      this.#code.byte(0x0b);
      this.#depth--;
    };
    open();
    for (let i = 0; i < bodies.length; i++) open();
    this.brTable(selector, labels.slice(0, bodies.length), labels[bodies.length]!);
    for (const body of bodies) {
      close();
      body();
      this.unreachable();
    }
    close();
    this.unreachable();
  }

  /**
   * Writes the body: its entry of the code section without the size.
   * @returns byte offsets from the start of the body of the `if` instructions that are hardly ever true
   */
  finish(body: ByteSink): number[] {
    if (this.#depth !== 0) throw new Error('a block was left open');
    const before = body.length;
    const groups: { type: ValType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last?.type === type) last.count++;
      else groups.push({ type, count: 1 });
    }
    body.unsigned(groups.length);
    for (const group of groups) {
      body.unsigned(group.count);
      body.byte(VALUE_TYPE_CODES[group.type]);
    }
    const start = body.length - before;
    body.append(this.#code.written);
    body.byte(0x0b);
    return this.#unlikely.map((offset) => start + offset);
  }

  #structured(opcode: number, body: (label: Label) => void): void {
    this.#code.byte(opcode);
    this.#code.byte(EMPTY_BLOCK_TYPE);
    body({ depth: ++this.#depth });
    this.#code.byte(0x0b);
    this.#depth--;
  }
}

function emitArguments(sink: ByteSink, callee: FunctionType, args: readonly Expr<ValType>[]): void {
  if (args.length !== callee.parameters.length) throw new Error('wrong number of arguments');
  for (const [index, argument] of args.entries()) {
    if (argument.type !== callee.parameters[index]) throw new Error(`argument ${index} is ${argument.type}`);
    argument.emit(sink);
  }
}

function emitCall(sink: ByteSink, callee: FunctionReference, args: readonly Expr<ValType>[]): void {
  emitArguments(sink, callee, args);
  sink.byte(0x10);
  sink.unsigned(callee.index);
}

/** Calls the function at an index of the module's table. */
export function callIndirect<R extends ValType>(
  type: R,
  callee: TypeReference,
  index: I32,
  ...args: Expr<ValType>[]
): Expr<R> {
  if (callee.result !== type) throw new Error(`the function's result is ${callee.result}, not ${type}`);
  return new Expr(type, (sink) => {
    emitArguments(sink, callee, args);
    index.emit(sink);
    sink.byte(0x11);
    sink.unsigned(callee.typeIndex);
    sink.byte(0);
  });
}

/** Calls a function with a result; the caller names the result's type, which is checked. */
export function call<R extends ValType>(type: R, callee: FunctionReference, ...args: Expr<ValType>[]): Expr<R> {
  if (callee.result !== type) throw new Error(`the function's result is ${callee.result}, not ${type}`);
  return new Expr(type, (sink) => emitCall(sink, callee, args));
}
