import { type F64, f32, f64, type I64, i32, i64, select } from '../../wasm/index.ts';
import { FloatFlag } from '../softfloat/index.ts';
import type { NativeFunction } from './native.ts';
import { all, any, CANONICAL_NAN, isNan, isSignalingNan } from './patterns.ts';

const { NX, NV } = FloatFlag;

/** Conversions between the formats, and between floats and integers. */

export interface IntegerType {
  /** The least value, and the first above the greatest. */
  readonly least: number;
  readonly beyond: number;
  /** The greatest value as it stands in a register (words are sign-extended). */
  readonly greatest: bigint;
  /** A whole number as an integer; one that is out of range becomes the nearest. */
  readonly fromWhole: (value: F64) => I64;
  /** The integer in a register that holds one of this type, and whether it is taken as a signed one. */
  readonly read: (register: I64) => I64;
  readonly signed: boolean;
}

export const INTEGERS: Record<'w' | 'wu' | 'l' | 'lu', IntegerType> = {
  w: {
    least: -(2 ** 31),
    beyond: 2 ** 31,
    greatest: (1n << 31n) - 1n,
    fromWhole: (value) => i64.extend_i32_s(i32.trunc_sat_f64_s(value)),
    read: (register) => i64.extend_i32_s(i32.wrap(register)),
    signed: true,
  },
  wu: {
    least: 0,
    beyond: 2 ** 32,
    greatest: -1n,
    fromWhole: (value) => i64.extend_i32_s(i32.trunc_sat_f64_u(value)),
    read: (register) => i64.extend_i32_u(i32.wrap(register)),
    signed: false,
  },
  l: {
    least: -(2 ** 63),
    beyond: 2 ** 63,
    greatest: (1n << 63n) - 1n,
    fromWhole: i64.trunc_sat_f64_s,
    read: (register) => register,
    signed: true,
  },
  lu: {
    least: 0,
    beyond: 2 ** 64,
    greatest: -1n,
    fromWhole: i64.trunc_sat_f64_u,
    read: (register) => register,
    signed: false,
  },
};

export function toInteger(n: NativeFunction, type: IntegerType): void {
  const { code } = n;
  const value = n.value(n.a);
  const whole = code.local('f64', f64.trunc(value));
  code.if(i32.eqz(n.mode('RTZ')), () => {
    code.if(n.nearest, () => code.set(whole, f64.nearest(value)));
    code.if(n.mode('RDN'), () => code.set(whole, f64.floor(value)));
    code.if(n.mode('RUP'), () => code.set(whole, f64.ceil(value)));
    // Halves go away from zero. What is cut off is exact.
    const half = f64.ge(f64.abs(f64.sub(value, whole.get)), f64.const(0.5));
    const away = f64.add(whole.get, f64.copysign(f64.const(1), value));
    code.if(all(n.mode('RMM'), half), () => code.set(whole, away));
  });
  const result = n.local(type.fromWhole(whole.get));
  code.if(all(f64.ge(whole.get, f64.const(type.least)), f64.lt(whole.get, f64.const(type.beyond))), () => {
    n.returnIf(any(f64.eq(whole.get, value), n.inexactSet), result);
    n.returnRaising(NX, result);
  });
  n.returnRaising(NV, select(f64.eq(value, value), result, i64.const(type.greatest)));
}

export function fromInteger(n: NativeFunction, type: IntegerType): void {
  const { code, format } = n;
  const integer = n.local(type.read(n.a));
  let bits: I64;
  if (format === 'D') bits = n.doubleBits(type.signed ? f64.convert_i64_s(integer) : f64.convert_i64_u(integer));
  else bits = n.singleBits(type.signed ? f32.convert_i64_s(integer) : f32.convert_i64_u(integer));
  // From its first to its last bit that is 1, the magnitude has to fit.
  const sign = i64.shr_s(integer, i64.const(63));
  const magnitude = type.signed ? n.local(i64.sub(i64.xor(integer, sign), sign)) : integer;
  const outside = i64.add(i64.clz(magnitude), i64.ctz(magnitude));
  n.returnIf(i64.ge_u(outside, i64.const(64 - (format === 'D' ? 53 : 24))), bits);
  code.if(n.nearest, () => {
    n.returnIf(n.inexactSet, bits);
    n.returnRaising(NX, bits);
  });
}

export function convertFormat(n: NativeFunction): void {
  const { code, format } = n;
  const other = format === 'D' ? 'S' : 'D';
  code.if(isNan(other, n.a), () => {
    code.if(isSignalingNan(other, n.a), () => n.raise(NV));
    code.return(i64.const(CANONICAL_NAN[format]));
  });
  if (format === 'D') {
    code.return(i64.reinterpret(f64.promote(n.single(n.a))));
    return;
  }
  const double = n.double(n.a);
  const single = n.local(f32.demote(double));
  const bits = n.singleBits(single);
  const inexact = f64.ne(f64.promote(single), double);
  n.returnIf(i32.eqz(inexact), bits);
  code.if(n.nearest, () => n.returnSingle(single, bits, double, inexact));
}
