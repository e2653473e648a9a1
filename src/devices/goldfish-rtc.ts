import type { IrqLine, MmioDevice, Width } from './bus.ts';
import { RegisterTable } from './registers.ts';

const LOW = 0xffff_ffffn;

/**
 * The real-time clock of Android's goldfish board: nanoseconds since 1970 in two halves (reading the low one latches
 * the high one) and one alarm. Like the ACLINT it does not tick: whoever runs the machine asks {@link msToAlarm} and
 * calls {@link update}.
 */
export class GoldfishRtc implements MmioDevice {
  readonly name = 'goldfish rtc';
  #now: () => bigint;
  #irq: IrqLine;
  /** What the guest set the clock ahead of the host's, in nanoseconds. */
  #offset = 0n;
  #latched = 0n;
  #timeHigh = 0n;
  #alarmHigh = 0n;
  /** The armed alarm in the guest's nanoseconds. */
  #alarm: bigint | undefined;
  #pending = false;
  #enabled = false;

  static readonly #registers = new RegisterTable<GoldfishRtc>([
    {
      offset: 0x00,
      name: 'TIME_LOW',
      width: 4,
      access: 'rw',
      read: (d) => {
        d.#latched = d.#time();
        return Number(d.#latched & LOW);
      },
      write: (d, value) => {
        d.#offset = ((d.#timeHigh << 32n) | BigInt(value)) - d.#now();
        d.update();
      },
    },
    {
      offset: 0x04,
      name: 'TIME_HIGH',
      width: 4,
      access: 'rw',
      read: (d) => Number((d.#latched >> 32n) & LOW),
      write: (d, value) => {
        d.#timeHigh = BigInt(value);
      },
    },
    {
      offset: 0x08,
      name: 'ALARM_LOW',
      width: 4,
      access: 'rw',
      read: (d) => Number((d.#alarm ?? 0n) & LOW),
      write: (d, value) => {
        d.#alarm = (d.#alarmHigh << 32n) | BigInt(value);
        d.update();
      },
    },
    {
      offset: 0x0c,
      name: 'ALARM_HIGH',
      width: 4,
      access: 'rw',
      read: (d) => Number(((d.#alarm ?? 0n) >> 32n) & LOW),
      write: (d, value) => {
        d.#alarmHigh = BigInt(value);
      },
    },
    {
      offset: 0x10,
      name: 'IRQ_ENABLED',
      width: 4,
      access: 'rw',
      read: (d) => (d.#enabled ? 1 : 0),
      write: (d, value) => {
        d.#enabled = (value & 1) !== 0;
        d.#drive();
      },
    },
    {
      offset: 0x14,
      name: 'CLEAR_ALARM',
      width: 4,
      access: 'w',
      write: (d) => {
        d.#alarm = undefined;
      },
    },
    { offset: 0x18, name: 'ALARM_STATUS', width: 4, access: 'r', read: (d) => (d.#alarm === undefined ? 0 : 1) },
    {
      offset: 0x1c,
      name: 'CLEAR_INTERRUPT',
      width: 4,
      access: 'w',
      write: (d) => {
        d.#pending = false;
        d.#drive();
      },
    },
  ]);

  /** `now`: the host's wall clock in nanoseconds since 1970. */
  constructor(now: () => bigint, irq: IrqLine) {
    this.#now = now;
    this.#irq = irq;
  }

  read(offset: number, width: Width): number {
    return GoldfishRtc.#registers.read(this, offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    GoldfishRtc.#registers.write(this, offset, width, value);
  }

  /** Milliseconds of the host's wall clock to the alarm, Infinity if none is armed. */
  msToAlarm(): number {
    if (this.#alarm === undefined) return Infinity;
    return Math.max(0, Number(this.#alarm - this.#time()) / 1e6);
  }

  /** Fires the alarm if its time has come. */
  update(): void {
    if (this.#alarm === undefined || this.#alarm > this.#time()) return;
    this.#alarm = undefined;
    this.#pending = true;
    this.#drive();
  }

  #time(): bigint {
    return BigInt.asUintN(64, this.#now() + this.#offset);
  }

  #drive(): void {
    this.#irq.set(this.#pending && this.#enabled);
  }
}
