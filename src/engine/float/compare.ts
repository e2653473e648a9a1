import type { FloatFormat } from '../../isa/context.ts';
import { f32, f64, type I32, type I64, i32, i64, select } from '../../wasm/index.ts';
import { FloatFlag } from '../softfloat/index.ts';
import type { NativeFunction } from './native.ts';
import {
  all,
  any,
  CANONICAL_NAN,
  isInfinite,
  isNan,
  isNormalOrAbove,
  isQuietNan,
  isSignalingNan,
  isZero,
  SIGN,
} from './patterns.ts';

const { NV } = FloatFlag;

/** Minimum, maximum, comparisons and classes: none of them rounds. */

const eitherSignals = ({ format, a, b }: NativeFunction): I32 =>
  any(isSignalingNan(format, a), isSignalingNan(format, b));

/** minimumNumber or maximumNumber: a number goes before a NaN. WebAssembly's operators order the zeros as RISC-V does. */
export function minMax(n: NativeFunction, operation: 'min' | 'max'): void {
  const { code, format } = n;
  const bits =
    format === 'D'
      ? n.doubleBits(f64[operation](n.double(n.a), n.double(n.b)))
      : n.singleBits(f32[operation](n.single(n.a), n.single(n.b)));
  n.returnIf(i32.eqz(isNan(format, bits)), bits);
  code.if(eitherSignals(n), () => n.raise(NV));
  const other = select(isNan(format, n.b), i64.const(CANONICAL_NAN[format]), n.b);
  code.return(select(isNan(format, n.a), other, n.a));
}

/** Unordered is false. Equality raises NV for signaling NaNs only. */
export function compare(n: NativeFunction, operation: 'eq' | 'lt' | 'le'): void {
  const { code } = n;
  const [a, b] = [n.value(n.a), n.value(n.b)];
  n.returnIf(all(f64.eq(a, a), f64.eq(b, b)), i64.extend_i32_u(f64[operation](a, b)));
  if (operation === 'eq') code.if(eitherSignals(n), () => n.raise(NV));
  else n.raise(NV);
  code.return(i64.const(0));
}

export function classify({ code, format, a }: NativeFunction): void {
  code.return(classOf(format, a));
}

/** The one-hot class; bits as in the unprivileged specification, F, floating-point classify. */
export function classOf(format: FloatFormat, a: I64): I64 {
  // Zero, subnormal, normal and infinite are 4 to 7; negative numbers have the same backwards from 3.
  const atLeastSubnormal = i32.eqz(isZero(format, a));
  const steps = i32.add(i32.add(atLeastSubnormal, isNormalOrAbove(format, a)), isInfinite(format, a));
  const positive = i32.add(i32.const(4), steps);
  const isNegative = i64.ne(i64.and(a, i64.const(SIGN[format])), i64.const(0));
  const ordered = i32.xor(positive, select(isNegative, i32.const(7), i32.const(0)));
  const number = select(isNan(format, a), i32.add(i32.const(8), isQuietNan(format, a)), ordered);
  return i64.shl(i64.const(1), i64.extend_i32_u(number));
}
