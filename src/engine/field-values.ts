import { type Field32, type Field64, offset32, offset64 } from './state.ts';

/** The fields of a hart's state (state.ts) for the code around the engine. */
export class FieldValues {
  readonly #area: number;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;

  /** @param area byte address of the hart area */
  constructor(buffer: ArrayBufferLike, area: number) {
    this.#area = area;
    this.#i32 = new Int32Array(buffer);
    this.#i64 = new BigInt64Array(buffer);
  }

  get32(field: Field32): number {
    return this.#i32[(this.#area + offset32(field)) >>> 2]!;
  }

  set32(field: Field32, value: number): void {
    this.#i32[(this.#area + offset32(field)) >>> 2] = value;
  }

  /** As a signed number. */
  get64(field: Field64): bigint {
    return this.#i64[(this.#area + offset64(field)) / 8]!;
  }

  set64(field: Field64, value: bigint): void {
    this.#i64[(this.#area + offset64(field)) / 8] = value;
  }
}
