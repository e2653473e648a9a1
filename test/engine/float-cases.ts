import { BINARY64, type FloatFormat } from '../../src/engine/softfloat/index.ts';
import type { FloatOperation } from '../../src/isa/context.ts';
import { fromNumber, toNumber } from './softfloat/patterns.ts';

export type Operands = readonly [a: bigint, b: bigint, c: bigint];

/** Random bits: xorshift128 (Marsaglia, Xorshift RNGs, 2003). The same seed gives the same bits for ever. */
class Bits {
  readonly #state: Uint32Array;
  readonly #words = new Uint32Array(2);
  readonly #wide = new BigUint64Array(this.#words.buffer);

  constructor(seed: number) {
    this.#state = Uint32Array.of(seed + 1, 0x9e3779b9, 0x7f4a7c15, 0x85ebca6b);
    for (let i = 0; i < 16; i++) this.bits32();
  }

  bits32(): number {
    const s = this.#state;
    const t = s[3]! ^ (s[3]! << 11);
    s[3] = s[2]!;
    s[2] = s[1]!;
    s[1] = s[0]!;
    s[0] = s[0]! ^ (s[0]! >>> 19) ^ t ^ (t >>> 8);
    return s[0];
  }

  bits64(): bigint {
    this.#words[0] = this.bits32();
    this.#words[1] = this.bits32();
    return this.#wide[0]!;
  }

  /** In low..high, both included. */
  between(low: number, high: number): number {
    return low + (this.bits32() % (high - low + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.bits32() % choices.length]!;
  }
}

/** Draws operands that favour what arithmetic gets wrong: cancellation, halfway cases, both ends of the exponents. */
export class HardCases {
  readonly bits: Bits;
  readonly #format: FloatFormat;
  readonly #special: readonly bigint[];
  readonly #bias: number;

  constructor(format: FloatFormat, seed: number) {
    this.bits = new Bits(seed);
    this.#format = format;
    this.#bias = (format.exponentMask - 1) / 2;
    const { infinity, fractionMask, quietBit, nan } = format;
    const one = BigInt(this.#bias) << format.fractionBits;
    const positive = [0n, 1n, fractionMask, fractionMask + 1n, one, infinity - 1n, infinity, infinity + 1n, nan];
    this.#special = [...positive, infinity | (quietBit - 1n), nan | 1n].flatMap((bits) => [
      bits,
      bits | format.signBit,
    ]);
  }

  operands(operation: FloatOperation): Operands {
    if (operation.startsWith('from_') && operation !== 'from_other') return [this.#integer(), 0n, 0n];
    const a = this.#number();
    const b = this.#number();
    const c = this.#number();
    // A third has nothing to do with the operation, and some have nothing but zeros, infinities, NaNs and the like.
    const kind = this.bits.between(0, 11);
    if (kind === 0)
      return [this.bits.pick(this.#special), this.bits.pick(this.#special), this.bits.pick(this.#special)];
    if (kind <= 5) return [a, b, c];
    switch (operation) {
      case 'add':
      case 'sub':
        return [a, this.#near(a), 0n];
      case 'mul':
      case 'div':
        return [...this.#pair(operation), 0n];
      case 'sqrt':
        return [this.#square(), 0n, 0n];
      case 'madd':
        return this.#multiplyAdd();
      case 'min':
      case 'max':
      case 'eq':
      case 'lt':
      case 'le':
        return [a, this.#moved(a ^ (BigInt(this.bits.between(0, 1)) * this.#format.signBit), 1), 0n];
      case 'from_other':
        return [this.#nearSingle(), 0n, 0n];
      case 'classify':
        return [a, 0n, 0n];
      default:
        return [this.#nearInteger(), 0n, 0n];
    }
  }

  #sign(): bigint {
    return this.bits.between(0, 1) === 0 ? 0n : this.#format.signBit;
  }

  /** A pattern; the exponent field is brought into range. */
  #build(exponent: number, fraction = this.#fraction()): bigint {
    const { exponentMask, fractionBits } = this.#format;
    const field = Math.min(Math.max(exponent, 0), exponentMask - 1);
    return this.#sign() | (BigInt(field) << fractionBits) | fraction;
  }

  #exponent(pattern: bigint): number {
    return Number(pattern >> this.#format.fractionBits) & this.#format.exponentMask;
  }

  #fraction(): bigint {
    const { fractionBits, fractionMask } = this.#format;
    const shift = BigInt(this.bits.between(0, Number(fractionBits)));
    const random = this.bits.bits64() & fractionMask;
    switch (this.bits.between(0, 6)) {
      case 0:
        return (random << shift) & fractionMask;
      case 1:
        return random >> shift;
      case 2:
        return (fractionMask << shift) & fractionMask;
      case 3:
        return fractionMask >> shift;
      case 4:
        return (1n << shift) & fractionMask;
      default:
        return random;
    }
  }

  #number(): bigint {
    const { exponentMask, width, precision } = this.#format;
    switch (this.bits.between(0, 7)) {
      case 0:
        return BigInt.asUintN(width, this.bits.bits64());
      case 1:
        return this.bits.pick(this.#special);
      case 2:
        return this.#build(this.bits.between(0, 3));
      case 3:
        return this.#build(exponentMask - this.bits.between(1, 4));
      case 4:
        return this.#build(this.bits.between(0, exponentMask - 1));
      default:
        return this.#build(this.#bias + this.bits.between(-precision - 3, precision + 3));
    }
  }

  /** Some units in the last place further, but not into another sign. */
  #moved(pattern: bigint, most: number): bigint {
    const { signBit } = this.#format;
    const size = (pattern & (signBit - 1n)) + BigInt(this.bits.between(-most, most));
    return (pattern & signBit) | (size < 0n ? 0n : BigInt.asUintN(this.#format.width - 1, size));
  }

  /** A number to add: cancels much, or is about half a unit in the last place of the other, or so much smaller. */
  #near(a: bigint): bigint {
    const { signBit, precision } = this.#format;
    const exponent = this.#exponent(a);
    switch (this.bits.between(0, 4)) {
      case 0:
        return this.#moved(a, 2);
      case 1:
        return this.#moved(a ^ signBit, 3);
      case 2:
        return this.#moved(this.#build(exponent - precision + this.bits.between(-1, 1), 0n), 1);
      default:
        return this.#build(exponent + this.bits.between(-precision - 2, precision + 2));
    }
  }

  #pair(operation: 'mul' | 'div'): [bigint, bigint] {
    return this.bits.between(0, 4) === 0 ? this.#almostTiny(operation) : this.#factors(operation);
  }

  /** Factors, or dividend and divisor, whose result is exact, halfway, or near an end of the exponents. */
  #factors(operation: 'mul' | 'div'): [bigint, bigint] {
    const { exponentMask, precision } = this.#format;
    if (this.bits.between(0, 2) === 0) {
      const [x, y] = [this.#short(), this.#short()];
      return operation === 'mul' ? [x, y] : [this.#rounded(this.#value(x) * this.#value(y)), y];
    }
    // The exponent field of the result.
    const wanted = this.bits.pick([
      this.bits.between(-precision - 2, 3),
      exponentMask + this.bits.between(-3, 1),
      this.bits.between(0, exponentMask),
    ]);
    const a = this.#build(this.bits.between(0, exponentMask - 1));
    const other = wanted - this.#exponent(a) + this.#bias;
    return [a, this.#build(operation === 'mul' ? other : 2 * this.#bias - other)];
  }

  /** As `#factors`; the result is about the smallest normal number, on which side of it rounding decides. */
  #almostTiny(operation: 'mul' | 'div'): [bigint, bigint] {
    const { fractionBits } = this.#format;
    const a = (BigInt(this.#bias) << fractionBits) | this.#fraction();
    const b = this.#moved(operation === 'mul' ? this.#rounded(1 / this.#value(a)) : a, 2);
    const scaled = (pattern: bigint, power: number): bigint =>
      this.#sign() | (pattern + (BigInt(power) << fractionBits));
    const part = this.bits.between(3, this.#bias - 1);
    const down = this.#bias - this.bits.between(0, 2);
    return [scaled(a, -part), scaled(b, operation === 'mul' ? part - down : down - part)];
  }

  /** A number of few significant bits, about half of the precision. */
  #short(): bigint {
    const bits = this.bits.between(1, (this.#format.precision + 3) >> 1);
    const integer = Number(this.bits.bits64() >> BigInt(64 - bits));
    return this.#rounded(integer * 2 ** this.bits.between(-30, 30)) | this.#sign();
  }

  /** The square of a number of few bits or of a rounded root, or what stands beside it; any exponent. */
  #square(): bigint {
    const { fractionBits, exponentMask, signBit } = this.#format;
    const root = this.bits.between(0, 1) === 0 ? this.#short() : this.#build(this.#bias);
    const square = this.#moved(this.#rounded(this.#value(root) ** 2) & (signBit - 1n), 2);
    const most = (this.#bias - 1) / 2;
    const moved = square + (BigInt(2 * this.bits.between(-most, most)) << fractionBits);
    const field = moved >> fractionBits;
    return field > 0n && field < BigInt(exponentMask) ? moved : square;
  }

  #multiplyAdd(): Operands {
    const { precision, exponentMask, signBit, infinity } = this.#format;
    if (this.bits.between(0, 15) === 0) return [infinity, this.#sign(), this.bits.pick(this.#special)];
    const [a, b] = this.bits.between(0, 2) === 0 ? this.#pair('mul') : [this.#number(), this.#number()];
    const product = this.#rounded(this.#value(a) * this.#value(b));
    const exponent = this.#exponent(product);
    switch (this.bits.between(0, 4)) {
      case 0:
        return [a, b, this.#moved(product ^ signBit, 2)];
      case 1:
        return [a, b, this.#moved(this.#build(exponent + this.bits.between(-1, 1) * precision, 0n), 1)];
      case 2: {
        // The low part of the product is about halfway between two neighbours of the sum.
        const distance = this.bits.pick([-2 * precision, -precision, precision, 2 * precision]);
        return [a, b, this.#build(exponent + distance + this.bits.between(-2, 2))];
      }
      case 3:
        return [a, b, this.#build(this.bits.pick([0, 1, exponentMask - 2, exponentMask - 1]))];
      default:
        return [a, b, this.#build(exponent + this.bits.between(-precision - 2, precision + 2))];
    }
  }

  /** About a whole number or halfway between two, or about the ends of the integers' ranges. */
  #nearInteger(): bigint {
    const magnitude = this.bits.pick([
      this.bits.between(0, 40) / 2,
      2 ** this.bits.pick([31, 32, 63, 64]) + this.bits.between(-4, 4) / 2,
      Number(this.bits.bits64() >> BigInt(this.bits.between(0, 63))) / 2,
    ]);
    return this.#moved(this.#rounded(magnitude) | this.#sign(), 1);
  }

  /** A double at or about a single, or halfway between two; a single if that is the format. */
  #nearSingle(): bigint {
    if (this.#format !== BINARY64) return this.#number();
    if (this.bits.between(0, 4) === 0) {
      // At the smallest normal single, or half or a quarter of a unit in the last place of a single below it.
      const units = this.bits.pick([0n, 1n << 28n, 1n << 29n]);
      return this.#sign() | this.#moved(((1023n - 126n) << 52n) - units, 2);
    }
    const single = this.#build(1023 + this.bits.between(-152, 128)) & ~((1n << 29n) - 1n);
    const extra = this.bits.pick([0n, 1n << 28n, this.bits.bits64() & ((1n << 29n) - 1n)]);
    return this.#moved(single | extra, 1);
  }

  #integer(): bigint {
    const shift = BigInt(this.bits.between(0, 63));
    const near = BigInt(this.bits.between(-3, 3));
    return BigInt.asUintN(
      64,
      this.bits.pick([
        this.bits.bits64(),
        this.bits.bits64() >> shift,
        (1n << shift) + near,
        near - (1n << shift),
        (this.bits.bits64() >> 11n) << (shift & 15n),
        // Halfway between two floats of either format.
        (((this.bits.bits64() >> 40n) << 1n) + 1n) << (shift & 31n),
        (((this.bits.bits64() >> 11n) << 1n) + 1n) << (shift & 7n),
      ]),
    );
  }

  #value(pattern: bigint): number {
    return toNumber(this.#format, pattern);
  }

  #rounded(value: number): bigint {
    return fromNumber(this.#format, value);
  }
}
