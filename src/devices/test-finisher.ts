import type { MmioDevice, Width } from './bus.ts';
import { RegisterTable } from './registers.ts';

/** How a guest ended by itself. */
export type Finish =
  | { readonly kind: 'pass' }
  | { readonly kind: 'fail'; readonly code: number }
  | { readonly kind: 'reset' };

/** The values of the low half word; a failure's exit code is in the high one. */
const FINISHER_PASS = 0x5555;
const FINISHER_FAIL = 0x3333;
const FINISHER_RESET = 0x7777;

/** SiFive's test device: one register that ends the machine. Other values do nothing. */
export class TestFinisher implements MmioDevice {
  readonly name = 'test finisher';
  #finish: (finish: Finish) => void;

  static readonly #registers = new RegisterTable<TestFinisher>([
    // bits 0..15: what to do, bits 16..31: exit code of a failure
    { offset: 0, name: 'finish', width: 4, access: 'w', write: (d, value) => d.#store(value) },
  ]);

  constructor(finish: (finish: Finish) => void) {
    this.#finish = finish;
  }

  read(offset: number, width: Width): number {
    return TestFinisher.#registers.read(this, offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    // A 2-byte store of the low half is as good as the whole word: the code is then 0.
    if (offset === 0 && width === 2) this.#store(value & 0xffff);
    else TestFinisher.#registers.write(this, offset, width, value);
  }

  #store(value: number): void {
    const what = value & 0xffff;
    if (what === FINISHER_PASS) this.#finish({ kind: 'pass' });
    else if (what === FINISHER_FAIL) this.#finish({ kind: 'fail', code: value >>> 16 });
    else if (what === FINISHER_RESET) this.#finish({ kind: 'reset' });
  }
}
