import type { IrqLine, MmioDevice, Width } from './bus.ts';
import { type HartLines, MIP } from './hart-lines.ts';
import { MAX_HARTS, PLIC_SOURCES } from './map.ts';
import { RegisterTable } from './registers.ts';

/** Bitmap words: source 0 does not exist, so 96 sources need bits 1 to 96. */
const WORDS = (PLIC_SOURCES >>> 5) + 1;
/** Priorities and thresholds hold 0 to 7, as on QEMU's `virt`. */
const PRIORITY_MASK = 7;
/** Each hart has two. */
const MAX_CONTEXTS = 2 * MAX_HARTS;

interface Context {
  readonly hart: HartLines;
  /** `mip` bit that this context drives: MEIP or SEIP. */
  readonly bit: number;
  readonly enabled: Uint32Array;
  threshold: number;
  level: boolean;
}

/**
 * Platform-level interrupt controller (RISC-V PLIC specification 1.0.0). Context 2h is M-mode of hart h, 2h + 1 its
 * S-mode. All sources are level triggered: the gateway forwards one request while the line is high, and the next one
 * only after completion if the line is still high. A forwarded request stays pending when the line falls (section 3).
 */
export class Plic implements MmioDevice {
  readonly name = 'plic';
  #priority = new Uint8Array(PLIC_SOURCES + 1);
  #pending = new Uint32Array(WORDS);
  /** Claimed and not completed: the gateway is closed. */
  #inService = new Uint32Array(WORDS);
  #level = new Uint32Array(WORDS);
  #contexts: Context[];

  static readonly #registers = new RegisterTable<Plic>([
    {
      offset: 0x4,
      name: 'priority',
      width: 4,
      access: 'rw',
      count: PLIC_SOURCES,
      read: (d, i) => d.#priority[i + 1]!,
      write: (d, value, i) => {
        d.#priority[i + 1] = value & PRIORITY_MASK;
        d.#update();
      },
    },
    { offset: 0x1000, name: 'pending', width: 4, access: 'r', count: WORDS, read: (d, i) => d.#pending[i]! },
    ...Array.from({ length: MAX_CONTEXTS }, (_, c) => ({
      offset: 0x2000 + c * 0x80,
      name: `enable[${c}]`,
      width: 4 as const,
      access: 'rw' as const,
      count: WORDS,
      read: (d: Plic, i: number) => d.#contexts[c]?.enabled[i] ?? 0,
      write: (d: Plic, value: number, i: number) => d.#enable(c, i, value),
    })),
    {
      offset: 0x20_0000,
      name: 'threshold',
      width: 4,
      access: 'rw',
      count: MAX_CONTEXTS,
      stride: 0x1000,
      read: (d, c) => d.#contexts[c]?.threshold ?? 0,
      write: (d, value, c) => {
        const context = d.#contexts[c];
        if (context === undefined) return;
        context.threshold = value & PRIORITY_MASK;
        d.#update();
      },
    },
    {
      offset: 0x20_0004,
      name: 'claim/complete',
      width: 4,
      access: 'rw',
      count: MAX_CONTEXTS,
      stride: 0x1000,
      read: (d, c) => d.#claim(c),
      write: (d, value, c) => d.#complete(c, value),
    },
  ]);

  /** `harts`: the interrupt inputs of hart 0, 1, ... */
  constructor(harts: readonly HartLines[]) {
    if (harts.length * 2 > MAX_CONTEXTS)
      throw new RangeError(`plic: ${harts.length} harts, at most ${MAX_CONTEXTS / 2}`);
    this.#contexts = harts.flatMap((hart) =>
      [MIP.MEIP, MIP.SEIP].map((bit) => ({ hart, bit, enabled: new Uint32Array(WORDS), threshold: 0, level: false })),
    );
  }

  read(offset: number, width: Width): number {
    return Plic.#registers.read(this, offset, width);
  }

  write(offset: number, width: Width, value: number): void {
    Plic.#registers.write(this, offset, width, value);
  }

  /** The input of source `irq`, 1 to 96. */
  line(irq: number): IrqLine {
    if (!Number.isInteger(irq) || irq < 1 || irq > PLIC_SOURCES) {
      throw new RangeError(`plic: source ${irq}, there are 1 to ${PLIC_SOURCES}`);
    }
    return { set: (level) => this.#setLevel(irq, level) };
  }

  #setLevel(irq: number, level: boolean): void {
    const word = irq >>> 5;
    const bit = 1 << (irq & 31);
    if (((this.#level[word]! & bit) !== 0) === level) return;
    this.#level[word]! ^= bit;
    if (level && (this.#inService[word]! & bit) === 0) {
      this.#pending[word]! |= bit;
      this.#update();
    }
  }

  #enable(index: number, word: number, value: number): void {
    const context = this.#contexts[index];
    if (context === undefined) return;
    context.enabled[word] =
      word === 0 ? value & ~1 : value & (word === WORDS - 1 ? 2 ** ((PLIC_SOURCES & 31) + 1) - 1 : -1);
    this.#update();
  }

  /** The enabled pending source of highest priority above `floor`, the lowest number among equals; 0 if none. */
  #best(context: Context, floor: number): number {
    let best = 0;
    let priority = floor;
    for (let word = 0; word < WORDS; word++) {
      let bits = this.#pending[word]! & context.enabled[word]!;
      while (bits !== 0) {
        const irq = word * 32 + (31 - Math.clz32(bits & -bits));
        bits &= bits - 1;
        if (this.#priority[irq]! > priority) {
          priority = this.#priority[irq]!;
          best = irq;
        }
      }
    }
    return best;
  }

  /** A claim disregards the threshold (section 9). */
  #claim(index: number): number {
    const context = this.#contexts[index];
    if (context === undefined) return 0;
    const irq = this.#best(context, 0);
    if (irq === 0) return 0;
    const word = irq >>> 5;
    const bit = 1 << (irq & 31);
    this.#pending[word]! &= ~bit;
    this.#inService[word]! |= bit;
    this.#update();
    return irq;
  }

  /** A completion of a source that is not enabled for the context is ignored (section 10). */
  #complete(index: number, irq: number): void {
    const context = this.#contexts[index];
    if (context === undefined || irq < 1 || irq > PLIC_SOURCES) return;
    const word = irq >>> 5;
    const bit = 1 << (irq & 31);
    if ((context.enabled[word]! & this.#inService[word]! & bit) === 0) return;
    this.#inService[word]! &= ~bit;
    if ((this.#level[word]! & bit) !== 0) {
      this.#pending[word]! |= bit;
      this.#update();
    }
  }

  #update(): void {
    for (const context of this.#contexts) {
      const level = this.#best(context, context.threshold) !== 0;
      if (level === context.level) continue;
      context.level = level;
      context.hart.setPending(context.bit, level);
    }
  }
}
