/** Reads what the guest of the benchmark prints. */
import { MARK } from '../boot.ts';
import { PREFIX } from './guest-script.ts';

/** A line's outcome in one run. */
export interface Measured {
  readonly name: string;
  /** By the guest's clock. */
  readonly seconds: number;
  /** From start to end as seen outside, the working out of the result included. */
  readonly outsideSeconds: number;
  /** What the work came to. */
  readonly result: string;
}

/** What a guest does: it boots, prepares, works on a line, or has done them all. */
export type Stage = 'boot' | 'preparation' | 'end' | { readonly line: string };

/** The guest said something that it should not, or that the work went wrong. */
export class GuestRunError extends Error {
  override readonly name = 'GuestRunError';
}

/** Takes a guest's console as it comes, and knows how far the guest is. */
export class RunReader {
  #rest = '';
  #tail = '';
  #stage: Stage = 'boot';
  #since: number;
  #bootSeconds: number | undefined;
  #failed: string | undefined;
  readonly #measured: Measured[] = [];

  /** @param now when the guest's process was started, milliseconds */
  constructor(now: number) {
    this.#since = now;
  }

  get stage(): Stage {
    return this.#stage;
  }

  /** When the stage began, milliseconds. */
  get since(): number {
    return this.#since;
  }

  /** From the start to the first line of init; undefined before that. */
  get bootSeconds(): number | undefined {
    return this.#bootSeconds;
  }

  get measured(): readonly Measured[] {
    return this.#measured;
  }

  /** What the guest printed last. */
  get tail(): string {
    return this.#tail;
  }

  /** The line that failed with its exit status, after which the guest ends. */
  get failed(): string | undefined {
    return this.#failed;
  }

  /**
   * Takes some output.
   * @param now when it came, milliseconds
   * @throws GuestRunError if it is not what the guest's script prints
   */
  feed(text: string, now: number): void {
    this.#tail = (this.#tail + text).slice(-2000);
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line.replaceAll('\r', ''), now);
  }

  #line(line: string, now: number): void {
    if (this.#stage === 'boot') {
      if (!line.includes(MARK)) return;
      this.#bootSeconds = (now - this.#since) / 1000;
      this.#enter('preparation', now);
      return;
    }
    const at = line.indexOf(PREFIX);
    if (at < 0) return;
    const [kind, name, ...rest] = line.slice(at + PREFIX.length).split(' ');
    const running = typeof this.#stage === 'object' ? this.#stage.line : undefined;
    if (kind === 'end' && running === undefined) {
      this.#enter('end', now);
    } else if (kind === 'start' && name !== undefined && running === undefined) {
      this.#enter({ line: name }, now);
    } else if (kind === 'failed' && name !== undefined && name === running) {
      this.#failed = `line ${name} failed with exit status ${rest.join(' ') || 'unknown'}`;
    } else if (kind === 'line' && name !== undefined && name === running && /^\d+\.\d+$/.test(rest[0] ?? '')) {
      const result = rest.slice(1).join(' ');
      if (result === '') throw new GuestRunError(`line ${name} has no result`);
      const outsideSeconds = (now - this.#since) / 1000;
      this.#measured.push({ name, seconds: Number(rest[0]), outsideSeconds, result });
      this.#enter('preparation', now);
    } else {
      throw new GuestRunError(`the guest printed ${JSON.stringify(line)} out of turn`);
    }
  }

  #enter(stage: Stage, now: number): void {
    this.#stage = stage;
    this.#since = now;
  }
}
