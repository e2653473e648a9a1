import type { Width } from './bus.ts';

/**
 * One row of a device's register table. `D` is the device. A row without `read` reads as 0, a row without
 * `write` takes no write; `access` says what its specification allows and decides. With `count`, the row
 * stands for an array of registers, `stride` bytes apart, and the handlers get the index.
 */
export interface Register<D> {
  readonly offset: number;
  readonly name: string;
  readonly width: Width;
  readonly access: 'r' | 'w' | 'rw';
  readonly count?: number;
  readonly stride?: number;
  readonly read?: (device: D, index: number) => number;
  readonly write?: (device: D, value: number, index: number) => void;
}

interface Slot<D> {
  readonly register: Register<D>;
  readonly index: number;
  /** Byte inside of the register that this offset names. */
  readonly byte: number;
}

/**
 * The registers of a device, defined once and dispatched from.
 *
 * A load narrower than its register gets that part of it, a load that spans several gets them all, little endian. A
 * store narrower than its register is dropped (no specification here allows one), a wider one reaches every
 * register that it covers from its start. Offsets without a register read as 0.
 */
export class RegisterTable<D> {
  readonly rows: readonly Register<D>[];
  #slots = new Map<number, Slot<D>>();

  constructor(rows: readonly Register<D>[]) {
    this.rows = rows;
    for (const register of rows) {
      const { count = 1, stride = register.width, width } = register;
      for (let index = 0; index < count; index++) {
        for (let byte = 0; byte < width; byte++) {
          const offset = register.offset + index * stride + byte;
          const taken = this.#slots.get(offset);
          if (taken !== undefined) {
            throw new RangeError(
              `register ${register.name} overlaps ${taken.register.name} at 0x${offset.toString(16)}`,
            );
          }
          this.#slots.set(offset, { register, index, byte });
        }
      }
    }
  }

  /** Value of `width` bytes at `offset`, unsigned. */
  read(device: D, offset: number, width: Width): number {
    let value = 0;
    for (let at = 0; at < width; ) {
      const slot = this.#slots.get(offset + at);
      if (slot === undefined) {
        at++;
        continue;
      }
      const { register, index, byte } = slot;
      const taken = Math.min(register.width - byte, width - at);
      if (register.access !== 'w' && register.read !== undefined) {
        const part = register.read(device, index) >>> (8 * byte);
        value |= (taken === 4 ? part : part & (2 ** (8 * taken) - 1)) << (8 * at);
      }
      at += taken;
    }
    return value >>> 0;
  }

  /** Stores `width` bytes of `value` at `offset`. */
  write(device: D, offset: number, width: Width, value: number): void {
    for (let at = 0; at < width; ) {
      const slot = this.#slots.get(offset + at);
      if (slot === undefined) {
        at++;
        continue;
      }
      const { register, index, byte } = slot;
      if (byte === 0 && register.width <= width - at && register.access !== 'r' && register.write !== undefined) {
        const part = value >>> (8 * at);
        register.write(device, register.width === 4 ? part : part & (2 ** (8 * register.width) - 1), index);
      }
      at += register.width - byte;
    }
  }

  /** Name of the register at `offset`, for messages. */
  nameAt(offset: number): string | undefined {
    return this.#slots.get(offset)?.register.name;
  }
}
