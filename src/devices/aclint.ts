import type { MmioDevice, Width } from './bus.ts';
import type { Clock } from './clock.ts';
import { type HartLines, MIP } from './hart-lines.ts';
import { MAX_HARTS } from './map.ts';
import { RegisterTable } from './registers.ts';

/** Where the MTIMECMP registers are: 32-bit words, low half first, those of hart h at `at[h]` and behind. */
export interface CompareRegisters {
  readonly words: Int32Array;
  readonly at: readonly number[];
}

export interface AclintOptions {
  readonly clock: Clock;
  /** The interrupt inputs of hart 0, 1, ... */
  readonly harts: readonly HartLines[];
  /** Shared by the threads that have an instance of the same ACLINT; default: its own, no deadline set. */
  readonly compare?: CompareRegisters;
  /** The hart whose timer this instance watches, when each hart's thread has one; default: it watches all. */
  readonly watched?: number;
  /** Called when a hart's next timer moved, with its new deadline in ticks (Infinity: none). */
  readonly deadlineChanged?: (hart: number, ticks: number) => void;
}

/** Own registers for a number of harts: all ones, never. */
function ownRegisters(harts: number): CompareRegisters {
  return { words: new Int32Array(2 * harts).fill(-1), at: Array.from({ length: harts }, (_, hart) => 2 * hart) };
}

/**
 * MSWI and MTIMER of the ACLINT specification 1.0 in the layout of the SiFive CLINT: MSIP at 0, MTIMECMP at 0x4000,
 * MTIME at 0xbff8. The timer does not tick by itself: whoever runs the harts asks {@link nextDeadline} and calls
 * {@link update} when it has passed.
 *
 * It keeps nothing of its own but where its registers are (MSIP is the interrupt line itself), so that the thread of each
 * hart can have an instance, and a hart that sets its timer or interrupts another one waits for nobody.
 */
export class Aclint implements MmioDevice {
  readonly name = 'aclint';
  #clock: Clock;
  #harts: readonly HartLines[];
  #compare: CompareRegisters;
  #watched: readonly number[];
  #deadlineChanged: ((hart: number, ticks: number) => void) | undefined;

  static readonly #registers = new RegisterTable<Aclint>([
    {
      offset: 0,
      name: 'msip',
      width: 4,
      access: 'rw',
      count: MAX_HARTS,
      read: (d, hart) => (d.#harts[hart]?.isPending(MIP.MSIP) ? 1 : 0),
      write: (d, value, hart) => d.#setMsip(hart, (value & 1) !== 0),
    },
    {
      offset: 0x4000,
      name: 'mtimecmp',
      width: 4,
      access: 'rw',
      count: MAX_HARTS,
      stride: 8,
      read: (d, hart) => d.#half(hart, 0),
      write: (d, value, hart) => d.#setHalf(hart, 0, value),
    },
    {
      offset: 0x4004,
      name: 'mtimecmp_high',
      width: 4,
      access: 'rw',
      count: MAX_HARTS,
      stride: 8,
      read: (d, hart) => d.#half(hart, 1),
      write: (d, value, hart) => d.#setHalf(hart, 1, value),
    },
    {
      offset: 0xbff8,
      name: 'mtime',
      width: 4,
      access: 'rw',
      read: (d) => d.#clock.ticks() % 2 ** 32,
      write: (d, value) => {
        const ticks = d.#clock.ticks();
        d.#setTime(ticks - (ticks % 2 ** 32) + (value >>> 0));
      },
    },
    {
      offset: 0xbffc,
      name: 'mtime_high',
      width: 4,
      access: 'rw',
      read: (d) => Math.floor(d.#clock.ticks() / 2 ** 32),
      write: (d, value) => d.#setTime((d.#clock.ticks() % 2 ** 32) + (value >>> 0) * 2 ** 32),
    },
  ]);

  constructor(options: AclintOptions) {
    if (options.harts.length > MAX_HARTS)
      throw new RangeError(`aclint: ${options.harts.length} harts, at most ${MAX_HARTS}`);
    this.#clock = options.clock;
    this.#harts = options.harts;
    this.#compare = options.compare ?? ownRegisters(options.harts.length);
    this.#watched = options.watched === undefined ? [...options.harts.keys()] : [options.watched];
    this.#deadlineChanged = options.deadlineChanged;
  }

  read(offset: number, width: Width): number {
    return Aclint.#registers.read(this, offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    Aclint.#registers.write(this, offset, width, value);
  }

  /** MTIMECMP of `hart` in ticks, Infinity if it will not come (a double is not exact behind 28 years of ticks). */
  deadline(hart: number): number {
    if (hart >= this.#harts.length) return Infinity;
    const ticks = this.#half(hart, 1) * 2 ** 32 + this.#half(hart, 0);
    return ticks > Number.MAX_SAFE_INTEGER ? Infinity : ticks;
  }

  /** The earliest watched MTIMECMP that is still ahead, in ticks, Infinity if there is none. */
  nextDeadline(): number {
    let next = Infinity;
    for (const hart of this.#watched) {
      if (!this.#harts[hart]!.isPending(MIP.MTIP)) next = Math.min(next, this.deadline(hart));
    }
    return next;
  }

  /** Brings MTIP of the watched harts up to date with the clock. */
  update(): void {
    const now = this.#clock.ticks();
    for (const hart of this.#watched) this.#compareTime(hart, now);
  }

  #compareTime(hart: number, now: number): void {
    const level = this.deadline(hart) <= now;
    if (level !== this.#harts[hart]!.isPending(MIP.MTIP)) this.#harts[hart]!.setPending(MIP.MTIP, level);
  }

  #setMsip(hart: number, level: boolean): void {
    const lines = this.#harts[hart];
    if (lines !== undefined && lines.isPending(MIP.MSIP) !== level) lines.setPending(MIP.MSIP, level);
  }

  #half(hart: number, half: 0 | 1): number {
    const at = this.#compare.at[hart];
    return at === undefined ? 0 : Atomics.load(this.#compare.words, at + half) >>> 0;
  }

  #setHalf(hart: number, half: 0 | 1, value: number): void {
    if (hart >= this.#harts.length) return;
    Atomics.store(this.#compare.words, this.#compare.at[hart]! + half, value | 0);
    if (this.#watched.includes(hart)) this.#compareTime(hart, this.#clock.ticks());
    this.#deadlineChanged?.(hart, this.deadline(hart));
  }

  #setTime(ticks: number): void {
    if (ticks > Number.MAX_SAFE_INTEGER) return;
    this.#clock.setTicks?.(ticks);
    this.update();
    for (const hart of this.#harts.keys()) this.#deadlineChanged?.(hart, this.deadline(hart));
  }
}
