import type { IrqLine, MmioDevice, Width } from './bus.ts';
import { RegisterTable } from './registers.ts';

/** Bits of the interrupt enable register. */
const IER = { RDI: 1, THRI: 2, RLSI: 4, MSI: 8 } as const;
/** Interrupt identification, highest priority first; bits 6 and 7 show that the FIFOs are on. */
const IIR = { RLSI: 0x06, RDI: 0x04, TIMEOUT: 0x0c, THRI: 0x02, MSI: 0x00, NONE: 0x01, FIFO: 0xc0 } as const;
/** FIFO control; bits 6 and 7 choose the receive trigger level. */
const FCR = { ENABLE: 1, CLEAR_RECEIVE: 2, CLEAR_TRANSMIT: 4 } as const;
/** Line control: DLAB turns offsets 0 and 1 into the divisor latch. */
const LCR_DLAB = 0x80;
/** Modem control: DTR, RTS, OUT1, OUT2 in bits 0 to 3, loopback in bit 4. */
const MCR_LOOP = 0x10;
/** Line status. The transmitter is always empty: a byte leaves as it is written. */
const LSR = { DR: 0x01, OE: 0x02, BI: 0x10, THRE: 0x20, TEMT: 0x40 } as const;
/** Modem status with clear to send, data set ready and carrier detect on. */
const MSR_CONNECTED = 0xb0;

/** Receive trigger levels by FCR bits 6 and 7, in bytes. */
const TRIGGER = [1, 4, 8, 14];
/** Bytes of the receive FIFO. */
const FIFO_DEPTH = 16;
/** Bytes of input held for a guest that does not read, before {@link Uart16550.receive} refuses more. */
const INPUT_QUEUE = 4096;
const OUTPUT_BATCH = 4096;

export interface Uart16550Options {
  readonly irq: IrqLine;
  /** Takes what the guest wrote, in batches. The array is the receiver's. */
  readonly output: (bytes: Uint8Array) => void;
  /** Called when input was refused and there is room again. */
  readonly drained?: () => void;
}

/**
 * A 16550A as the 8250 drivers of Linux, OpenSBI and U-Boot use it. Bytes leave at once, so the transmitter is always
 * empty and THRE is raised again right after a byte; input waits in a bounded queue, so the receiver never overruns.
 * Baud rate and parity are stored and have no effect.
 */
export class Uart16550 implements MmioDevice {
  readonly name = 'uart16550';
  #irq: IrqLine;
  #output: (bytes: Uint8Array) => void;
  #drained: (() => void) | undefined;
  #batch = new Uint8Array(OUTPUT_BATCH);
  #batched = 0;
  #input: number[] = [];
  #refused = false;
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr = 0;
  #scr = 0;
  #divisor = 0;
  /** Break received and not yet seen in LSR. */
  #break = false;
  #threPending = false;
  #msrDelta = 0;

  static readonly #registers = new RegisterTable<Uart16550>([
    {
      offset: 0,
      name: 'RBR/THR/DLL',
      width: 1,
      access: 'rw',
      read: (d) => (d.#dlab ? d.#divisor & 0xff : d.#readByte()),
      write: (d, value) => {
        if (d.#dlab) d.#divisor = (d.#divisor & 0xff00) | value;
        else d.#writeByte(value);
      },
    },
    {
      offset: 1,
      name: 'IER/DLM',
      width: 1,
      access: 'rw',
      read: (d) => (d.#dlab ? d.#divisor >>> 8 : d.#ier),
      write: (d, value) => {
        if (d.#dlab) {
          d.#divisor = (value << 8) | (d.#divisor & 0xff);
          return;
        }
        // Turning THRI on with an empty transmitter raises it at once; drivers probe for that.
        if ((value & ~d.#ier & IER.THRI) !== 0) d.#threPending = true;
        d.#ier = value & 0x0f;
        d.#drive();
      },
    },
    {
      offset: 2,
      name: 'IIR/FCR',
      width: 1,
      access: 'rw',
      read: (d) => {
        const cause = d.#cause();
        // Reading IIR acknowledges THRE, if that is what it shows.
        if (cause === IIR.THRI) d.#threPending = false;
        d.#drive();
        return cause | ((d.#fcr & FCR.ENABLE) !== 0 ? IIR.FIFO : 0);
      },
      write: (d, value) => d.#setFifo(value),
    },
    {
      offset: 3,
      name: 'LCR',
      width: 1,
      access: 'rw',
      read: (d) => d.#lcr,
      write: (d, value) => {
        d.#lcr = value;
      },
    },
    {
      offset: 4,
      name: 'MCR',
      width: 1,
      access: 'rw',
      read: (d) => d.#mcr,
      write: (d, value) => {
        const before = d.#modemStatus() & 0xf0;
        d.#mcr = value & 0x1f;
        d.#msrDelta |= (before ^ (d.#modemStatus() & 0xf0)) >>> 4;
        d.#drive();
      },
    },
    { offset: 5, name: 'LSR', width: 1, access: 'r', read: (d) => d.#readLineStatus() },
    {
      offset: 6,
      name: 'MSR',
      width: 1,
      access: 'r',
      read: (d) => {
        const value = d.#modemStatus() | d.#msrDelta;
        d.#msrDelta = 0;
        d.#drive();
        return value;
      },
    },
    {
      offset: 7,
      name: 'SCR',
      width: 1,
      access: 'rw',
      read: (d) => d.#scr,
      write: (d, value) => {
        d.#scr = value;
      },
    },
  ]);

  constructor(options: Uart16550Options) {
    this.#irq = options.irq;
    this.#output = options.output;
    this.#drained = options.drained;
  }

  read(offset: number, width: Width): number {
    return Uart16550.#registers.read(this, offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    Uart16550.#registers.write(this, offset, width, value);
  }

  /**
   * Offers input; returns how many bytes of it were taken. After fewer than all, `drained` is called once there is
   * room.
   */
  receive(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, INPUT_QUEUE - this.#input.length);
    for (let i = 0; i < taken; i++) this.#input.push(bytes[i]!);
    this.#refused ||= taken < bytes.length;
    this.#drive();
    return taken;
  }

  /** A break on the line (Linux: the SysRq key): a zero byte with the break indicator. */
  sendBreak(): void {
    this.#break = true;
    this.#input.push(0);
    this.#drive();
  }

  /** Hands the bytes gathered so far to `output`. */
  flush(): void {
    if (this.#batched === 0) return;
    const bytes = this.#batch.slice(0, this.#batched);
    this.#batched = 0;
    this.#output(bytes);
  }

  get #dlab(): boolean {
    return (this.#lcr & LCR_DLAB) !== 0;
  }

  #readByte(): number {
    const byte = this.#input.shift() ?? 0;
    if (this.#refused && this.#input.length <= INPUT_QUEUE / 2) {
      this.#refused = false;
      this.#drained?.();
    }
    this.#drive();
    return byte;
  }

  #writeByte(value: number): void {
    if ((this.#mcr & MCR_LOOP) !== 0) {
      if (this.#input.length < INPUT_QUEUE) this.#input.push(value);
    } else {
      this.#batch[this.#batched++] = value;
      if (this.#batched === OUTPUT_BATCH) this.flush();
    }
    this.#threPending = true;
    this.#drive();
  }

  #setFifo(value: number): void {
    // Switching the FIFOs on or off empties them, as the clear bits do. What waits behind the FIFO has not arrived yet.
    if (((value ^ this.#fcr) & FCR.ENABLE) !== 0 || (value & FCR.CLEAR_RECEIVE) !== 0)
      this.#input.splice(0, FIFO_DEPTH);
    if ((value & FCR.CLEAR_TRANSMIT) !== 0) this.#threPending = true;
    this.#fcr = value & 0xc9;
    this.#drive();
  }

  #readLineStatus(): number {
    const value = LSR.THRE | LSR.TEMT | (this.#input.length > 0 ? LSR.DR : 0) | (this.#break ? LSR.BI : 0);
    this.#break = false;
    this.#drive();
    return value;
  }

  /** In loopback the modem outputs are the inputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD. */
  #modemStatus(): number {
    const mcr = this.#mcr;
    if ((mcr & MCR_LOOP) === 0) return MSR_CONNECTED;
    return ((mcr & 2) << 3) | ((mcr & 1) << 5) | ((mcr & 0x0c) << 4);
  }

  #cause(): number {
    const enabled = this.#ier;
    if ((enabled & IER.RLSI) !== 0 && this.#break) return IIR.RLSI;
    if ((enabled & IER.RDI) !== 0 && this.#input.length > 0) {
      const level = (this.#fcr & FCR.ENABLE) !== 0 ? TRIGGER[this.#fcr >>> 6]! : 1;
      // Fewer bytes than the trigger level: the character timeout, which here has always passed.
      return this.#input.length >= level ? IIR.RDI : IIR.TIMEOUT;
    }
    if ((enabled & IER.THRI) !== 0 && this.#threPending) return IIR.THRI;
    if ((enabled & IER.MSI) !== 0 && this.#msrDelta !== 0) return IIR.MSI;
    return IIR.NONE;
  }

  #drive(): void {
    this.#irq.set(this.#cause() !== IIR.NONE);
  }
}
