/** Records what guests use into a file, for `ballonet replay`: see src/policy/trace.ts. */
import { writeSync } from 'node:fs';
import {
  BALLOON_STAT_FREE,
  COUNT_FAULTS,
  COUNT_SWAP_INS,
  COUNT_ZERO_FILLS,
  GUEST_BALLOON_STATISTICS,
  GUEST_MAXIMUM,
  GUEST_MINIMUM,
  GUEST_SHARES,
  GUEST_STALL_LIMIT,
} from '../memory/layout-guest.ts';
import type { Look } from '../memory/working-set.ts';
import { encodeRecord, TRACE_MAGIC, type TraceRecord } from '../policy/trace.ts';

/** Bytes that are kept until they are written. */
const BUFFER_BYTES = 65_536;

interface Counts {
  readonly faults: number;
  readonly fills: number;
  readonly swapIns: number;
}

/** Writes a trace; belongs to the memory manager's thread. */
export class Recorder {
  readonly #descriptor: number;
  readonly #limit: number;
  readonly #onError: (message: string) => void;
  #pieces: Uint8Array[] = [];
  #buffered = 0;
  #written = 0;
  #ended = false;
  #last: number | undefined;
  /** What each guest had counted at its last look, by slot. */
  readonly #guests = new Map<number, Counts>();

  /**
   * @param descriptor of an empty file, which whoever has opened it closes
   * @param limit bytes at which it ends
   * @param machine machine memory in frames, and `frames` what of it guests can have
   */
  constructor(
    descriptor: number,
    limit: number,
    { machine, frames }: { readonly machine: number; readonly frames: number },
    onError: (message: string) => void,
  ) {
    this.#descriptor = descriptor;
    this.#limit = limit;
    this.#onError = onError;
    this.#put(new TextEncoder().encode(TRACE_MAGIC));
    this.#record({ kind: 'host', machine, frames });
  }

  /** Takes in a look at a guest. */
  look({ guest, now, lost, samples, used, gone }: Look): void {
    const { slot, name } = guest;
    const counts = {
      faults: guest.get(COUNT_FAULTS),
      fills: guest.get(COUNT_ZERO_FILLS),
      swapIns: guest.get(COUNT_SWAP_INS),
    };
    let before = this.#guests.get(slot);
    if (before === undefined) {
      before = { faults: 0, fills: 0, swapIns: 0 };
      const [configured, minimum, maximum] = [guest.pages, guest.get(GUEST_MINIMUM), guest.get(GUEST_MAXIMUM)];
      const [shares, stallLimit] = [guest.get(GUEST_SHARES), guest.get(GUEST_STALL_LIMIT)];
      this.#record({ kind: 'guest', slot, name, configured, minimum, maximum, shares, stallLimit, samples });
    }
    this.#guests.set(slot, counts);
    const free = guest.get(GUEST_BALLOON_STATISTICS + BALLOON_STAT_FREE);
    const since = (now: number, then: number): number => (now - then) >>> 0;
    this.#record({
      kind: 'look',
      slot,
      elapsed: this.#elapsed(now),
      lost,
      free: Math.min(free, guest.pages),
      faults: since(counts.faults, before.faults),
      fills: since(counts.fills, before.fills),
      swapIns: since(counts.swapIns, before.swapIns),
      used,
      gone,
    });
  }

  /** A guest has ended. */
  guestEnded(slot: number, now: number): void {
    if (this.#guests.delete(slot)) this.#record({ kind: 'end', slot, elapsed: this.#elapsed(now) });
  }

  /** Writes what is left. */
  end(): void {
    this.#flush();
    this.#stop();
  }

  /** Whole milliseconds since the record before; what is rounded off comes with the next one. */
  #elapsed(now: number): number {
    const elapsed = this.#last === undefined ? 0 : Math.max(0, Math.round(now - this.#last));
    this.#last = this.#last === undefined ? now : this.#last + elapsed;
    return elapsed;
  }

  #record(record: TraceRecord): void {
    this.#put(encodeRecord(record));
  }

  #put(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (this.#written + this.#buffered + bytes.length > this.#limit) {
      this.#flush();
      this.#stop();
      this.#onError(`the recording has reached ${this.#limit} bytes and ends here; give more with recordLimit`);
      return;
    }
    this.#pieces.push(bytes);
    this.#buffered += bytes.length;
    if (this.#buffered >= BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#ended) return;
    try {
      const bytes = Buffer.concat(this.#pieces);
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done);
      this.#written += bytes.length;
      this.#pieces = [];
      this.#buffered = 0;
    } catch (error) {
      this.#stop();
      this.#onError(`the recording ends: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Takes in no more. */
  #stop(): void {
    this.#ended = true;
    this.#pieces = [];
  }
}
