import {
  atomicCompareExchange,
  atomicLoad,
  atomicRmw,
  binaries,
  Expr,
  type F32,
  type F64,
  type I32,
  type I64,
  loads,
  relaxedMultiplyAdd,
  unaries,
} from './operators.ts';

export {
  Displaced,
  Expr,
  type F32,
  type F64,
  type I32,
  type I64,
  memoryAccess,
  select,
  type ValType,
} from './operators.ts';

const lowHalf = unaries<'wrap', 'i64', 'i32'>('i32', { wrap: [0xa7] });

/** WebAssembly's operators by type, named as in the core specification. */

export const i32 = {
  const: (value: number): I32 =>
    new Expr(
      'i32',
      (sink) => {
        sink.byte(0x41);
        sink.signed32(value);
      },
      value | 0,
    ),
  ...binaries<
    | 'add'
    | 'sub'
    | 'mul'
    | 'and'
    | 'or'
    | 'xor'
    | 'shl'
    | 'shr_s'
    | 'shr_u'
    | 'rotl'
    | 'rotr'
    | 'eq'
    | 'ne'
    | 'lt_s'
    | 'lt_u'
    | 'gt_s'
    | 'gt_u'
    | 'le_s'
    | 'le_u'
    | 'ge_s'
    | 'ge_u'
    | 'div_s'
    | 'div_u'
    | 'rem_s'
    | 'rem_u',
    'i32',
    'i32'
  >('i32', {
    eq: 0x46,
    ne: 0x47,
    lt_s: 0x48,
    lt_u: 0x49,
    gt_s: 0x4a,
    gt_u: 0x4b,
    le_s: 0x4c,
    le_u: 0x4d,
    ge_s: 0x4e,
    ge_u: 0x4f,
    add: 0x6a,
    sub: 0x6b,
    mul: 0x6c,
    div_s: 0x6d,
    div_u: 0x6e,
    rem_s: 0x6f,
    rem_u: 0x70,
    and: 0x71,
    or: 0x72,
    xor: 0x73,
    shl: 0x74,
    shr_s: 0x75,
    shr_u: 0x76,
    rotl: 0x77,
    rotr: 0x78,
  }),
  ...unaries<'eqz' | 'clz' | 'ctz' | 'popcnt' | 'extend8_s' | 'extend16_s', 'i32', 'i32'>('i32', {
    eqz: [0x45],
    clz: [0x67],
    ctz: [0x68],
    popcnt: [0x69],
    extend8_s: [0xc0],
    extend16_s: [0xc1],
  }),
  wrap: (value: I64): I32 => (value.operator === 'extend_i32_s' ? (value.operands![0] as I32) : lowHalf.wrap(value)),
  ...unaries<'reinterpret', 'f32', 'i32'>('i32', { reinterpret: [0xbc] }),
  ...unaries<'trunc_sat_f64_s' | 'trunc_sat_f64_u', 'f64', 'i32'>('i32', {
    trunc_sat_f64_s: [0xfc, 2],
    trunc_sat_f64_u: [0xfc, 3],
  }),
  ...loads<'load' | 'load8_s' | 'load8_u' | 'load16_s' | 'load16_u', 'i32'>('i32', {
    load: [0x28, 2],
    load8_s: [0x2c, 0],
    load8_u: [0x2d, 0],
    load16_s: [0x2e, 1],
    load16_u: [0x2f, 1],
  }),
  atomicLoad: atomicLoad('i32', 0x10, 2),
  atomicOr: atomicRmw('i32', 0x33, 2),
  atomicAnd: atomicRmw('i32', 0x2c, 2),
  atomicAdd: atomicRmw('i32', 0x1e, 2),
  atomicXor: atomicRmw('i32', 0x3a, 2),
  atomicExchange: atomicRmw('i32', 0x41, 2),
  atomicCompareExchange: atomicCompareExchange('i32', 0x48, 2),
};

export const i64 = {
  const: (value: bigint | number): I64 => {
    if (typeof value === 'number' && (value | 0) === value) return i64.halves(value >> 31, value);
    const wide = BigInt(value);
    return i64.halves(Number(BigInt.asIntN(32, wide >> 32n)), Number(BigInt.asIntN(32, wide)));
  },
  /** A constant by its halves, each an int32. */
  halves: (high: number, low: number): I64 =>
    new Expr(
      'i64',
      (sink) => {
        sink.byte(0x42);
        sink.signed64(high, low);
      },
      high === low >> 31 ? low : undefined,
    ),
  ...binaries<
    | 'add'
    | 'sub'
    | 'mul'
    | 'div_s'
    | 'div_u'
    | 'rem_s'
    | 'rem_u'
    | 'and'
    | 'or'
    | 'xor'
    | 'shl'
    | 'shr_s'
    | 'shr_u'
    | 'rotl'
    | 'rotr',
    'i64',
    'i64'
  >('i64', {
    add: 0x7c,
    sub: 0x7d,
    mul: 0x7e,
    div_s: 0x7f,
    div_u: 0x80,
    rem_s: 0x81,
    rem_u: 0x82,
    and: 0x83,
    or: 0x84,
    xor: 0x85,
    shl: 0x86,
    shr_s: 0x87,
    shr_u: 0x88,
    rotl: 0x89,
    rotr: 0x8a,
  }),
  ...binaries<'eq' | 'ne' | 'lt_s' | 'lt_u' | 'gt_s' | 'gt_u' | 'le_s' | 'le_u' | 'ge_s' | 'ge_u', 'i64', 'i32'>(
    'i32',
    {
      eq: 0x51,
      ne: 0x52,
      lt_s: 0x53,
      lt_u: 0x54,
      gt_s: 0x55,
      gt_u: 0x56,
      le_s: 0x57,
      le_u: 0x58,
      ge_s: 0x59,
      ge_u: 0x5a,
    },
  ),
  ...unaries<'eqz', 'i64', 'i32'>('i32', { eqz: [0x50] }),
  ...unaries<'clz' | 'ctz' | 'popcnt' | 'extend8_s' | 'extend16_s', 'i64', 'i64'>('i64', {
    clz: [0x79],
    ctz: [0x7a],
    popcnt: [0x7b],
    extend8_s: [0xc2],
    extend16_s: [0xc3],
  }),
  ...unaries<'extend_i32_s' | 'extend_i32_u', 'i32', 'i64'>('i64', { extend_i32_s: [0xac], extend_i32_u: [0xad] }),
  ...unaries<'reinterpret' | 'trunc_sat_f64_s' | 'trunc_sat_f64_u', 'f64', 'i64'>('i64', {
    reinterpret: [0xbd],
    trunc_sat_f64_s: [0xfc, 6],
    trunc_sat_f64_u: [0xfc, 7],
  }),
  ...loads<'load' | 'load8_s' | 'load8_u' | 'load16_s' | 'load16_u' | 'load32_s' | 'load32_u', 'i64'>('i64', {
    load: [0x29, 3],
    load8_s: [0x30, 0],
    load8_u: [0x31, 0],
    load16_s: [0x32, 1],
    load16_u: [0x33, 1],
    load32_s: [0x34, 2],
    load32_u: [0x35, 2],
  }),
  atomicLoad: atomicLoad('i64', 0x11, 3),
  atomicAdd: atomicRmw('i64', 0x1f, 3),
  atomicAnd: atomicRmw('i64', 0x2d, 3),
  atomicOr: atomicRmw('i64', 0x34, 3),
  atomicXor: atomicRmw('i64', 0x3b, 3),
  atomicExchange: atomicRmw('i64', 0x42, 3),
  atomicCompareExchange: atomicCompareExchange('i64', 0x49, 3),
};

export const f32 = {
  const: (value: number): F32 =>
    new Expr('f32', (sink) => {
      sink.byte(0x43);
      sink.append(new Uint8Array(new Float32Array([value]).buffer));
    }),
  ...binaries<'add' | 'sub' | 'mul' | 'div' | 'min' | 'max' | 'copysign', 'f32', 'f32'>('f32', {
    add: 0x92,
    sub: 0x93,
    mul: 0x94,
    div: 0x95,
    min: 0x96,
    max: 0x97,
    copysign: 0x98,
  }),
  ...binaries<'eq' | 'ne' | 'lt' | 'gt' | 'le' | 'ge', 'f32', 'i32'>('i32', {
    eq: 0x5b,
    ne: 0x5c,
    lt: 0x5d,
    gt: 0x5e,
    le: 0x5f,
    ge: 0x60,
  }),
  ...unaries<'abs' | 'neg' | 'sqrt', 'f32', 'f32'>('f32', { abs: [0x8b], neg: [0x8c], sqrt: [0x91] }),
  relaxedMultiplyAdd: relaxedMultiplyAdd('f32', 0x13, 0x105, 0x1f),
  ...unaries<'reinterpret' | 'convert_i32_s' | 'convert_i32_u', 'i32', 'f32'>('f32', {
    reinterpret: [0xbe],
    convert_i32_s: [0xb2],
    convert_i32_u: [0xb3],
  }),
  ...unaries<'convert_i64_s' | 'convert_i64_u', 'i64', 'f32'>('f32', { convert_i64_s: [0xb4], convert_i64_u: [0xb5] }),
  ...unaries<'demote', 'f64', 'f32'>('f32', { demote: [0xb6] }),
  ...loads<'load', 'f32'>('f32', { load: [0x2a, 2] }),
};

export const f64 = {
  const: (value: number): F64 =>
    new Expr('f64', (sink) => {
      sink.byte(0x44);
      sink.append(new Uint8Array(new Float64Array([value]).buffer));
    }),
  ...binaries<'add' | 'sub' | 'mul' | 'div' | 'min' | 'max' | 'copysign', 'f64', 'f64'>('f64', {
    add: 0xa0,
    sub: 0xa1,
    mul: 0xa2,
    div: 0xa3,
    min: 0xa4,
    max: 0xa5,
    copysign: 0xa6,
  }),
  ...binaries<'eq' | 'ne' | 'lt' | 'gt' | 'le' | 'ge', 'f64', 'i32'>('i32', {
    eq: 0x61,
    ne: 0x62,
    lt: 0x63,
    gt: 0x64,
    le: 0x65,
    ge: 0x66,
  }),
  ...unaries<'abs' | 'neg' | 'ceil' | 'floor' | 'trunc' | 'nearest' | 'sqrt', 'f64', 'f64'>('f64', {
    abs: [0x99],
    neg: [0x9a],
    ceil: [0x9b],
    floor: [0x9c],
    trunc: [0x9d],
    nearest: [0x9e],
    sqrt: [0x9f],
  }),
  relaxedMultiplyAdd: relaxedMultiplyAdd('f64', 0x14, 0x107, 0x21),
  ...unaries<'reinterpret' | 'convert_i64_s' | 'convert_i64_u', 'i64', 'f64'>('f64', {
    reinterpret: [0xbf],
    convert_i64_s: [0xb9],
    convert_i64_u: [0xba],
  }),
  ...unaries<'convert_i32_s' | 'convert_i32_u', 'i32', 'f64'>('f64', { convert_i32_s: [0xb7], convert_i32_u: [0xb8] }),
  ...unaries<'promote', 'f32', 'f64'>('f64', { promote: [0xbb] }),
  ...loads<'load', 'f64'>('f64', { load: [0x2b, 3] }),
};

/** Stores: a statement's bytes, used through `FunctionBuilder.store`. */
export const STORE_OPCODES = {
  i32: { 1: 0x3a, 2: 0x3b, 4: 0x36 },
  i64: { 1: 0x3c, 2: 0x3d, 4: 0x3e, 8: 0x37 },
} as const;
