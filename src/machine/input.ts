/** Console input on its way to the guest: kept until whoever reads the console takes it. */
export class InputQueue {
  #bytes: number[] = [];
  readonly #receive: (bytes: Uint8Array) => number;

  /** @param receive hands bytes to the guest's console; returns how many it took. */
  constructor(receive: (bytes: Uint8Array) => number) {
    this.#receive = receive;
  }

  add(bytes: Uint8Array): void {
    this.#bytes.push(...bytes);
  }

  /** Gives the console what it takes. */
  offer(): void {
    if (this.#bytes.length === 0) return;
    const taken = this.#receive(Uint8Array.from(this.#bytes));
    this.#bytes.splice(0, taken);
  }

  /** The next byte, for an interface that asks for input itself. */
  take(): number | undefined {
    return this.#bytes.shift();
  }

  takeUpTo(length: number): Uint8Array {
    return Uint8Array.from(this.#bytes.splice(0, length));
  }
}
