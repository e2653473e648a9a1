/** fast-check generators of float patterns that favour what arithmetic gets wrong. */
import fc from 'fast-check';
import { BINARY32, BINARY64, type FloatFormat } from '../../../src/engine/softfloat/index.ts';

/** Patterns of a format: any bits, extreme and middling exponents, few or many significand bits. */
export function patterns(format: FloatFormat): fc.Arbitrary<bigint> {
  const width = BigInt(format.width);
  const fields = BigInt(format.exponentMask);
  const bias = (fields - 1n) / 2n;
  const exponent = fc.oneof(
    fc.bigInt(0n, 3n),
    fc.bigInt(fields - 3n, fields),
    fc.bigInt(bias - 70n, bias + 70n),
    fc.bigInt(0n, fields),
  );
  const fraction = fc.oneof(
    fc.constantFrom(0n, 1n, format.fractionMask, format.quietBit, format.quietBit - 1n),
    fc.bigInt(0n, format.fractionMask),
    fc.bigInt(0n, format.fractionBits - 1n).map((shift) => 1n << shift),
    fc.bigInt(0n, format.fractionBits).map((shift) => (format.fractionMask << shift) & format.fractionMask),
  );
  const built = fc
    .tuple(fc.boolean(), exponent, fraction)
    .map(([negative, e, f]) => (negative ? format.signBit : 0n) | (e << format.fractionBits) | f);
  return fc.oneof({ weight: 4, arbitrary: built }, { weight: 1, arbitrary: fc.bigInt(0n, (1n << width) - 1n) });
}

/** Finite patterns only. */
export function finitePatterns(format: FloatFormat): fc.Arbitrary<bigint> {
  return patterns(format).filter((bits) => (bits & (format.signBit - 1n)) < format.infinity);
}

const view = new DataView(new ArrayBuffer(8));

/** The host's number for a pattern. NaN payloads are lost. */
export function toNumber(format: FloatFormat, bits: bigint): number {
  if (format === BINARY64) {
    view.setBigUint64(0, bits);
    return view.getFloat64(0);
  }
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}

/** The pattern of a host number, rounded to nearest for binary32; a NaN gives the canonical one. */
export function fromNumber(format: FloatFormat, value: number): bigint {
  if (Number.isNaN(value)) return format.nan;
  if (format === BINARY64) {
    view.setFloat64(0, value);
    return view.getBigUint64(0);
  }
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}

export const FORMATS: readonly { name: string; number: 0 | 1; format: FloatFormat }[] = [
  { name: 'binary32', number: 0, format: BINARY32 },
  { name: 'binary64', number: 1, format: BINARY64 },
];
