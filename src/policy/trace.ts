/**
 * What a host records for replay: the uses of sampled pages of each guest, look by look, and what the guests say of
 * themselves. Compact: numbers of 7 bits a byte, page numbers as differences. A trace begins with TRACE_MAGIC and has records,
 * each a number for its kind and then its fields.
 */

/** First bytes of a trace: name and version. */
export const TRACE_MAGIC = 'ballonet trace 2\n';

/** The host: its machine memory, and what of it guests can have, in frames. */
export interface HostRecord {
  readonly kind: 'host';
  readonly machine: number;
  readonly frames: number;
}

/** A guest that is new; memory in pages. */
export interface GuestRecord {
  readonly kind: 'guest';
  readonly slot: number;
  readonly name: string;
  readonly configured: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly shares: number;
  /** Thousandths. */
  readonly stallLimit: number;
  /** Sampled pages at most; which they are follows from that and the configured memory. */
  readonly samples: number;
}

/** A look at a guest's sample. */
export interface LookRecord {
  readonly kind: 'look';
  readonly slot: number;
  /** Milliseconds since the record before. */
  readonly elapsed: number;
  /** Milliseconds since the guest's last look that its harts have lost, waiting for memory or for a processor. */
  readonly lost: number;
  /** Pages that the guest calls free, -1 while it has said nothing. */
  readonly free: number;
  /** Faults, zero fills, and pages from swap since the last look. */
  readonly faults: number;
  readonly fills: number;
  readonly swapIns: number;
  /** Sampled pages that were used since the last look, and those that the guest has given back; rising. */
  readonly used: ArrayLike<number>;
  readonly gone: ArrayLike<number>;
}

/** A guest has ended. */
export interface EndRecord {
  readonly kind: 'end';
  readonly slot: number;
  readonly elapsed: number;
}

export type TraceRecord = HostRecord | GuestRecord | LookRecord | EndRecord;

const KINDS = ['host', 'guest', 'look', 'end'] as const;

/** A trace, or a part of it, can't be read. */
export class TraceError extends Error {
  override readonly name = 'TraceError';
}

/** The bytes of a record. */
export function encodeRecord(record: TraceRecord): Uint8Array {
  const bytes: number[] = [];
  const put = (value: number): void => {
    let rest = Math.max(0, Math.round(value));
    while (rest >= 128) {
      bytes.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  };
  const putRising = (numbers: ArrayLike<number>): void => {
    put(numbers.length);
    let before = 0;
    for (const number of Array.from(numbers)) {
      put(number - before);
      before = number;
    }
  };
  put(KINDS.indexOf(record.kind));
  switch (record.kind) {
    case 'host':
      put(record.machine);
      put(record.frames);
      break;
    case 'guest': {
      const name = new TextEncoder().encode(record.name);
      const { slot, configured, minimum, maximum, shares, stallLimit, samples } = record;
      for (const value of [slot, configured, minimum, maximum, shares, stallLimit, samples, name.length]) put(value);
      bytes.push(...name);
      break;
    }
    case 'look': {
      const { slot, elapsed, lost, free, faults, fills, swapIns } = record;
      for (const value of [slot, elapsed, lost, free + 1, faults, fills, swapIns]) put(value);
      putRising(record.used);
      putRising(record.gone);
      break;
    }
    case 'end':
      put(record.slot);
      put(record.elapsed);
      break;
  }
  return Uint8Array.from(bytes);
}

/**
 * The records of a trace. A last record that is cut off, as a host that was killed leaves it, is left out.
 * @throws TraceError if it is none
 */
export function* readTrace(bytes: Uint8Array): Generator<TraceRecord> {
  const magic = new TextEncoder().encode(TRACE_MAGIC);
  if (bytes.length < magic.length || !magic.every((byte, i) => byte === bytes[i])) {
    throw new TraceError(`this is no trace: it does not begin with "${TRACE_MAGIC.trim()}"; make one with --record`);
  }
  const reader = new Reader(bytes, magic.length);
  while (!reader.atEnd) {
    const record = readRecord(reader);
    if (reader.cutOff) return;
    yield record;
  }
}

/** Takes numbers out of bytes; behind the end they are 0, and `cutOff` says so. */
class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  cutOff = false;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  get at(): number {
    return this.#at;
  }

  number(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || factor > 2 ** 49) {
        this.cutOff = true;
        return 0;
      }
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  rising(): Int32Array {
    const count = this.number();
    if (count > this.#bytes.length - this.#at) {
      this.cutOff = true;
      return new Int32Array();
    }
    let before = 0;
    return Int32Array.from({ length: count }, () => {
      before += this.number();
      return before;
    });
  }

  text(): string {
    const length = this.number();
    if (length > this.#bytes.length - this.#at) {
      this.cutOff = true;
      return '';
    }
    this.#at += length;
    return new TextDecoder().decode(this.#bytes.subarray(this.#at - length, this.#at));
  }
}

function readRecord(reader: Reader): TraceRecord {
  const start = reader.at;
  const number = reader.number();
  const kind = KINDS[number];
  const next = (): number => reader.number();
  switch (kind) {
    case 'host':
      return { kind, machine: next(), frames: next() };
    case 'guest': {
      const [slot, configured, minimum, maximum] = [next(), next(), next(), next()];
      const [shares, stallLimit, samples] = [next(), next(), next()];
      return { kind, slot, configured, minimum, maximum, shares, stallLimit, samples, name: reader.text() };
    }
    case 'look': {
      const [slot, elapsed, lost, free] = [next(), next(), next(), next() - 1];
      const [faults, fills, swapIns] = [next(), next(), next()];
      return { kind, slot, elapsed, lost, free, faults, fills, swapIns, used: reader.rising(), gone: reader.rising() };
    }
    case 'end':
      return { kind, slot: next(), elapsed: next() };
    default:
      throw new TraceError(`byte ${start} of the trace: ${number} is no kind of record; the file is damaged`);
  }
}
