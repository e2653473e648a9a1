/** Room at first: functions of a few hundred instructions need some thousand bytes. */
const INITIAL_BYTES = 8192;
/** Sinks that are kept for use again, and the longest of them. */
const MOST_KEPT = 8;
const MOST_KEPT_BYTES = 1 << 16;
/** Names in UTF-8: all modules have the same few. */
const NAMES = new Map<string, Uint8Array>();

/** A growing byte buffer with the integer encodings of the WebAssembly binary format (core specification, 5.2.2). */
export class ByteSink {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.#length++] = value;
  }

  append(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#bytes.length) this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Unsigned LEB128 of a number in 0 .. 2^32-1. */
  unsigned(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of an int32. */
  signed32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Signed LEB128 of an int64, of which the halves are given as int32: arithmetic on bigints is slow. */
  signed64(high: number, low: number): void {
    let [upper, rest] = [high | 0, low | 0];
    // Once the upper half is but a copy of the sign, the lower one is all.
    while (upper !== rest >> 31) {
      this.byte((rest & 0x7f) | 0x80);
      rest = (rest >>> 7) | (upper << 25);
      upper >>= 7;
    }
    this.signed32(rest);
  }

  name(text: string): void {
    let bytes = NAMES.get(text);
    if (bytes === undefined) {
      bytes = new TextEncoder().encode(text);
      NAMES.set(text, bytes);
    }
    this.unsigned(bytes.length);
    this.append(bytes);
  }

  /** The bytes written so far, as they stand here: until more is written, or they are taken away. */
  get written(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** The bytes written so far, as a copy. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** Takes away what has been written: the room for it is used again. */
  clear(): void {
    this.#length = 0;
  }

  /** An empty one: to make room for each anew takes longer than to fill it. */
  static take(): ByteSink {
    return FREE.pop() ?? new ByteSink();
  }

  /** Gives a sink back, and with it what has been written. */
  static give(sink: ByteSink): void {
    if (sink.#bytes.length > MOST_KEPT_BYTES || FREE.length === MOST_KEPT) return;
    sink.clear();
    FREE.push(sink);
  }

  #grow(by: number): void {
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + by));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

const FREE: ByteSink[] = [];
