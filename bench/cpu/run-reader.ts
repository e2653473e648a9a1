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
  /** Time that processors spent on the guest's process in between, all threads together. */
  readonly cpuSeconds: number;
  /** What the work came to. */
  readonly result: string;
}

/** What a guest does: it boots, prepares, works on a line, or has done them all. */
export type Stage = 'boot' | 'preparation' | 'end' | { readonly line: string };

/** Clocks outside of the guest at one moment. */
export interface Moment {
  /** Milliseconds. */
  readonly wall: number;
  /** What the guest's process has spent of processors, seconds. */
  readonly cpu: number;
}

/** What passed between two moments. */
export interface Spent {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** The guest said something that it should not, or that the work went wrong. */
export class GuestRunError extends Error {
  override readonly name = 'GuestRunError';
}

/** Takes a guest's console as it comes, and knows how far the guest is. */
export class RunReader {
  #rest = '';
  #tail = '';
  #stage: Stage = 'boot';
  #since: Moment;
  #boot: Spent | undefined;
  #failed: string | undefined;
  readonly #measured: Measured[] = [];

  /** @param start when the guest's process was started */
  constructor(start: Moment) {
    this.#since = start;
  }

  get stage(): Stage {
    return this.#stage;
  }

  /** When the stage began. */
  get since(): Moment {
    return this.#since;
  }

  /** From the start of the guest's process to the first line of init; undefined until that is there. */
  get boot(): Spent | undefined {
    return this.#boot;
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
   * @param now when it came
   * @throws GuestRunError if it is not what the guest's script prints
   */
  feed(text: string, now: Moment): void {
    this.#tail = (this.#tail + text).slice(-2000);
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line.replaceAll('\r', ''), now);
  }

  #line(line: string, now: Moment): void {
    if (this.#stage === 'boot') {
      if (!line.includes(MARK)) return;
      this.#boot = this.#spent(now);
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
      const { seconds: outsideSeconds, cpuSeconds } = this.#spent(now);
      this.#measured.push({ name, seconds: Number(rest[0]), outsideSeconds, cpuSeconds, result });
      this.#enter('preparation', now);
    } else {
      throw new GuestRunError(`the guest printed ${JSON.stringify(line)} out of turn`);
    }
  }

  #spent(now: Moment): Spent {
    return { seconds: (now.wall - this.#since.wall) / 1000, cpuSeconds: now.cpu - this.#since.cpu };
  }

  #enter(stage: Stage, now: Moment): void {
    this.#stage = stage;
    this.#since = now;
  }
}
