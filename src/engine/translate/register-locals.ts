import { type F64, type FunctionBuilder, f64, type I64, i32, i64, type Local } from '../../wasm/index.ts';
import type { HartFields } from '../emit.ts';
import { F_OFFSET, X_OFFSET } from '../state.ts';
import { difference, type RegisterSet, union } from './registers.ts';
import { asWord } from './words.ts';

/** Where the registers stand: which may differ from memory, and the locals of those that are words. */
export interface RegisterState {
  readonly changed: RegisterSet;
  readonly words: ReadonlyMap<number, Local<'i32'>>;
}

/** The guest's registers in a translated region: locals, and which of them memory does not have yet. */
export class RegisterLocals {
  readonly x: ReadonlyMap<number, Local<'i64'>>;
  readonly f: ReadonlyMap<number, Local<'f64'>>;
  readonly #code: FunctionBuilder;
  readonly #h: HartFields;
  readonly #retired: RegisterSet;
  /** Registers whose locals may differ from memory. */
  changed: RegisterSet = { x: 0, f: 0 };
  /**
   * Registers that are the sign extensions of 32-bit values, by number: their own locals are not set, as most are never asked
   * for all of their bits.
   */
  #words = new Map<number, Local<'i32'>>();
  readonly #wordLocals = new Map<number, Local<'i32'>>();

  /**
   * @param used registers that have locals
   * @param retired registers that are stored by `retire` somewhere
   */
  constructor(code: FunctionBuilder, h: HartFields, used: RegisterSet, retired: RegisterSet) {
    this.#code = code;
    this.#h = h;
    this.#retired = retired;
    const file = <T extends 'i64' | 'f64'>(type: T, set: number): Map<number, Local<T>> =>
      new Map(REGISTERS.filter((n) => set & (1 << n)).map((n) => [n, code.local(type)]));
    this.x = file('i64', used.x);
    this.f = file('f64', used.f);
  }

  /** Takes registers from memory. */
  load(registers: RegisterSet): void {
    for (const [n, local] of this.x) {
      if (registers.x & (1 << n)) this.#code.set(local, i64.load(this.#h.hart, X_OFFSET + n * 8));
    }
    for (const [n, local] of this.f) {
      if (registers.f & (1 << n)) this.#code.set(local, f64.load(this.#h.hart, F_OFFSET + n * 8));
    }
  }

  getX(n: number): I64 {
    if (n === 0) return i64.const(0);
    const word = this.#words.get(n);
    return word === undefined ? this.x.get(n)!.get : i64.extend_i32_s(word.get);
  }

  /** n is not 0. */
  setX(n: number, value: I64): void {
    this.changed = union(this.changed, { x: 1 << n, f: 0 });
    const word = asWord(value);
    if (word === undefined) {
      this.#code.set(this.x.get(n)!, value);
      this.#words.delete(n);
      return;
    }
    const local = this.#wordLocal(n);
    this.#code.set(local, word);
    this.#words.set(n, local);
  }

  #wordLocal(n: number): Local<'i32'> {
    let local = this.#wordLocals.get(n);
    if (local === undefined) {
      local = this.#code.local('i32');
      this.#wordLocals.set(n, local);
    }
    return local;
  }

  getF(n: number): F64 {
    return this.f.get(n)!.get;
  }

  setF(n: number, value: F64): void {
    this.#code.set(this.f.get(n)!, value);
    this.changed = union(this.changed, { x: 0, f: 1 << n });
  }

  /** What holds now, to be put back later. */
  get state(): RegisterState {
    return { changed: this.changed, words: new Map(this.#words) };
  }

  set state({ changed, words }: RegisterState) {
    this.changed = changed;
    this.#words = new Map(words);
  }

  /** @param words registers that are words at the start of a block */
  beginBlock(changed: RegisterSet, words: number): void {
    this.changed = changed;
    this.#words = new Map();
    for (const n of this.x.keys()) if (words & (1 << n)) this.#words.set(n, this.#wordLocal(n));
  }

  /**
   * Has the registers where a block expects them.
   * @param words registers that are words at its start; of others that is known to hold for their values
   * @param wanted registers that have to be right there
   */
  handOn(words: number, wanted: RegisterSet): void {
    this.#widen(wanted.x & ~words);
    for (const n of this.x.keys()) {
      if (words & (1 << n) && !this.#words.has(n)) this.#code.set(this.#wordLocal(n), i32.wrap(this.x.get(n)!.get));
    }
  }

  /** Stores the registers that may have changed. */
  spill(): void {
    this.#put(this.changed);
  }

  /** Stores the registers that may have changed but for those that are handed on. */
  retire(carried: RegisterSet): void {
    this.#put(difference(this.changed, carried));
  }

  /** Makes the locals such as the place expects where all ways out come together that store `changed`. */
  leave(): void {
    this.#widen(this.changed.x);
    // Nothing is to be kept for those that have nothing to store.
    const unchanged = difference(this.#retired, this.changed);
    for (const [n, local] of this.x) if (unchanged.x & (1 << n)) this.#code.set(local, i64.const(0));
    for (const [n, local] of this.f) if (unchanged.f & (1 << n)) this.#code.set(local, f64.const(0));
  }

  #widen(registers: number): void {
    for (const n of this.#words.keys()) {
      if (registers & (1 << n)) this.#code.set(this.x.get(n)!, this.getX(n));
    }
  }

  #put(registers: RegisterSet): void {
    for (const n of this.x.keys()) {
      if (registers.x & (1 << n)) this.#code.store(8, this.#h.hart, this.getX(n), X_OFFSET + n * 8);
    }
    for (const n of this.f.keys()) {
      if (registers.f & (1 << n)) this.#code.store(8, this.#h.hart, i64.reinterpret(this.getF(n)), F_OFFSET + n * 8);
    }
  }
}

const REGISTERS = Array.from({ length: 32 }, (_, n) => n);
