import type { GuestRam } from '../../src/devices/guest-ram.ts';
import { RAM_BASE } from '../../src/devices/map.ts';

/** Guest RAM in one array; every access outside of it throws. */
export class ArrayRam implements GuestRam {
  readonly base = RAM_BASE;
  readonly size: number;
  readonly bytes: Uint8Array;
  #view: DataView;

  constructor(size: number) {
    this.size = size;
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  contains(gpa: number, length: number): boolean {
    return gpa >= this.base && gpa + length <= this.base + this.size;
  }

  read(gpa: number, target: Uint8Array): void {
    const at = this.#at(gpa, target.length);
    target.set(this.bytes.subarray(at, at + target.length));
  }

  write(gpa: number, source: Uint8Array): void {
    this.bytes.set(source, this.#at(gpa, source.length));
  }

  readU16(gpa: number): number {
    return this.#view.getUint16(this.#at(gpa, 2), true);
  }

  readU32(gpa: number): number {
    return this.#view.getUint32(this.#at(gpa, 4), true);
  }

  readU64(gpa: number): bigint {
    return this.#view.getBigUint64(this.#at(gpa, 8), true);
  }

  writeU16(gpa: number, value: number): void {
    this.#view.setUint16(this.#at(gpa, 2), value, true);
  }

  writeU32(gpa: number, value: number): void {
    this.#view.setUint32(this.#at(gpa, 4), value, true);
  }

  writeU64(gpa: number, value: bigint): void {
    this.#view.setBigUint64(this.#at(gpa, 8), value, true);
  }

  #at(gpa: number, length: number): number {
    if (!this.contains(gpa, length)) throw new RangeError(`0x${gpa.toString(16)}+${length} is not RAM`);
    return gpa - this.base;
  }
}
