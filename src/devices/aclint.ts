import type { MmioDevice, Width } from './bus.ts';
import type { Clock } from './clock.ts';
import { type HartLines, MIP } from './hart-lines.ts';
import { MAX_HARTS } from './map.ts';
import { RegisterTable } from './registers.ts';

const NEVER = 2n ** 64n - 1n;

export interface AclintOptions {
  readonly clock: Clock;
  /** The interrupt inputs of hart 0, 1, ... */
  readonly harts: readonly HartLines[];
  /** Called when a hart's next timer moved, with its new deadline in ticks (Infinity: none). */
  readonly deadlineChanged?: (hart: number, ticks: number) => void;
}

/**
 * MSWI and MTIMER of the ACLINT specification 1.0 in the layout of the SiFive CLINT: MSIP at 0, MTIMECMP at 0x4000,
 * MTIME at 0xbff8. The timer does not tick by itself: whoever runs the harts asks {@link nextDeadline} and calls
 * {@link update} when it has passed.
 */
export class Aclint implements MmioDevice {
  readonly name = 'aclint';
  #clock: Clock;
  #harts: readonly HartLines[];
  #deadlineChanged: ((hart: number, ticks: number) => void) | undefined;
  #msip: boolean[];
  #mtip: boolean[];
  #compare: bigint[];
  /** `#compare` as a number of ticks, Infinity where a double is not exact (that is 28 years of ticks). */
  #deadlines: number[];

  static readonly #registers = new RegisterTable<Aclint>([
    {
      offset: 0,
      name: 'msip',
      width: 4,
      access: 'rw',
      count: MAX_HARTS,
      read: (d, hart) => (d.#msip[hart] ? 1 : 0),
      write: (d, value, hart) => d.#setMsip(hart, (value & 1) !== 0),
    },
    {
      offset: 0x4000,
      name: 'mtimecmp',
      width: 4,
      access: 'rw',
      count: MAX_HARTS,
      stride: 8,
      read: (d, hart) => Number((d.#compare[hart] ?? 0n) & 0xffff_ffffn),
      write: (d, value, hart) => d.#setCompare(hart, ((d.#compare[hart] ?? 0n) & ~0xffff_ffffn) | BigInt(value >>> 0)),
    },
    {
      offset: 0x4004,
      name: 'mtimecmp_high',
      width: 4,
      access: 'rw',
      count: MAX_HARTS,
      stride: 8,
      read: (d, hart) => Number((d.#compare[hart] ?? 0n) >> 32n),
      write: (d, value, hart) =>
        d.#setCompare(hart, ((d.#compare[hart] ?? 0n) & 0xffff_ffffn) | (BigInt(value >>> 0) << 32n)),
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
    this.#deadlineChanged = options.deadlineChanged;
    this.#msip = options.harts.map(() => false);
    this.#mtip = options.harts.map(() => false);
    this.#compare = options.harts.map(() => NEVER);
    this.#deadlines = options.harts.map(() => Infinity);
  }

  read(offset: number, width: Width): number {
    return Aclint.#registers.read(this, offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    Aclint.#registers.write(this, offset, width, value);
  }

  /** MTIMECMP of `hart` in ticks, Infinity if it will not come. */
  deadline(hart: number): number {
    return this.#deadlines[hart] ?? Infinity;
  }

  /** The earliest MTIMECMP that is still ahead, in ticks, Infinity if there is none. */
  nextDeadline(): number {
    let next = Infinity;
    for (const [hart, deadline] of this.#deadlines.entries()) {
      if (!this.#mtip[hart] && deadline < next) next = deadline;
    }
    return next;
  }

  /** Brings MTIP of every hart up to date with the clock. */
  update(): void {
    const now = this.#clock.ticks();
    for (const hart of this.#harts.keys()) this.#compareTime(hart, now);
  }

  #compareTime(hart: number, now: number): void {
    const level = this.#deadlines[hart]! <= now;
    if (level === this.#mtip[hart]) return;
    this.#mtip[hart] = level;
    this.#harts[hart]!.setPending(MIP.MTIP, level);
  }

  #setMsip(hart: number, level: boolean): void {
    if (hart >= this.#harts.length || this.#msip[hart] === level) return;
    this.#msip[hart] = level;
    this.#harts[hart]!.setPending(MIP.MSIP, level);
  }

  #setCompare(hart: number, value: bigint): void {
    if (hart >= this.#harts.length) return;
    this.#compare[hart] = value;
    this.#deadlines[hart] = value > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(value);
    this.#compareTime(hart, this.#clock.ticks());
    this.#deadlineChanged?.(hart, this.#deadlines[hart]!);
  }

  #setTime(ticks: number): void {
    if (ticks > Number.MAX_SAFE_INTEGER) return;
    this.#clock.setTicks?.(ticks);
    this.update();
    for (const [hart, deadline] of this.#deadlines.entries()) this.#deadlineChanged?.(hart, deadline);
  }
}
