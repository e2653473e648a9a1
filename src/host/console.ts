/** The host's end of a guest's console. */

/** Output that is kept for the first listener, bytes. */
const MAX_BACKLOG = 1 << 20;
/** Output that {@link GuestConsole.until} and {@link GuestConsole.tail} look at, characters. */
const MAX_TAIL = 1 << 16;

/** A guest's console: bytes out by listeners, bytes in by {@link write}. */
export class GuestConsole {
  /** The newest output as text. */
  #tail = '';
  readonly #decoder = new TextDecoder();
  #backlog: Uint8Array[] | undefined = [];
  #backlogBytes = 0;
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #waiting = new Set<() => void>();
  #ended = false;
  readonly #send: (input: Uint8Array | { columns: number; rows: number }) => void;

  /** @param send takes input, or a new size, to the guest */
  constructor(send: (input: Uint8Array | { columns: number; rows: number }) => void) {
    this.#send = send;
  }

  /**
   * Calls `listener` with everything that the guest prints; the first one gets what was printed before too.
   * @returns a function that ends this
   */
  onOutput(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    const backlog = this.#backlog ?? [];
    this.#backlog = undefined;
    for (const bytes of backlog) listener(bytes);
    return () => this.#listeners.delete(listener);
  }

  /** Types for the guest. */
  write(input: string | Uint8Array): void {
    this.#send(typeof input === 'string' ? new TextEncoder().encode(input) : Uint8Array.from(input));
  }

  /** Tells the guest the size of its terminal, in characters. */
  resize(columns: number, rows: number): void {
    this.#send({ columns, rows });
  }

  /** The last 64 Ki characters of the output. */
  get tail(): string {
    return this.#tail;
  }

  /**
   * Waits until the newest output matches `pattern`; looks at the last 64 Ki characters.
   * @returns the match
   * @throws Error when the guest ends first, or after `timeoutMs`
   */
  async until(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.#tail);
      if (match !== null) return match;
      const left = deadline - Date.now();
      if (this.#ended || left <= 0) {
        const why = this.#ended ? 'the guest ended' : `nothing of the kind for ${timeoutMs} ms`;
        throw new Error(
          `waited for ${pattern} on the console: ${why}; it ends with ${JSON.stringify(this.#tail.slice(-400))}`,
        );
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
  }

  /** Output has come; for the host. */
  deliver(bytes: Uint8Array): void {
    this.#tail = (this.#tail + this.#decoder.decode(bytes, { stream: true })).slice(-MAX_TAIL);
    if (this.#backlog !== undefined) {
      this.#backlog.push(bytes);
      this.#backlogBytes += bytes.length;
      while (this.#backlogBytes > MAX_BACKLOG) this.#backlogBytes -= this.#backlog.shift()!.length;
    }
    for (const listener of this.#listeners) listener(bytes);
    for (const wake of this.#waiting) wake();
  }

  /** No more output will come; for the host. */
  end(): void {
    this.#ended = true;
    for (const wake of this.#waiting) wake();
  }
}
