/**
 * Numbers of the operations that `floatOp` carries out.
 *
 * The engine's generated code passes them as constants, so the table is the whole interface between the instruction
 * semantics and the exact arithmetic. Sign injection and register moves are bit operations that need no rounding
 * and stand in the instruction semantics themselves.
 */
export const FloatOp = {
  /** a + b */
  FADD: 0,
  /** a - b */
  FSUB: 1,
  /** a * b */
  FMUL: 2,
  /** a / b */
  FDIV: 3,
  /** square root of a */
  FSQRT: 4,
  /** a * b + c, rounded once */
  FMADD: 5,
  /** a * b - c */
  FMSUB: 6,
  /** -(a * b) + c */
  FNMSUB: 7,
  /** -(a * b) - c */
  FNMADD: 8,
  /** minimumNumber */
  FMIN: 9,
  /** maximumNumber */
  FMAX: 10,
  /** a = b, quiet; result 0 or 1 */
  FEQ: 11,
  /** a < b, signaling; result 0 or 1 */
  FLT: 12,
  /** a <= b, signaling; result 0 or 1 */
  FLE: 13,
  /** one-hot class of a, bits 0..9 */
  FCLASS: 14,
  /** a to a signed word, sign-extended to XLEN */
  FCVT_W: 15,
  /** a to an unsigned word, sign-extended to XLEN */
  FCVT_WU: 16,
  /** a to a signed doubleword */
  FCVT_L: 17,
  /** a to an unsigned doubleword */
  FCVT_LU: 18,
  /** low word of a, signed, to a float of the format */
  FCVT_FROM_W: 19,
  /** low word of a, unsigned, to a float of the format */
  FCVT_FROM_WU: 20,
  /** doubleword a, signed, to a float of the format */
  FCVT_FROM_L: 21,
  /** doubleword a, unsigned, to a float of the format */
  FCVT_FROM_LU: 22,
  /** binary64 a to binary32, whatever the format argument says */
  FCVT_S_D: 23,
  /** binary32 a to binary64, whatever the format argument says */
  FCVT_D_S: 24,
} as const;

export type FloatOpName = keyof typeof FloatOp;

/** Number of a format in `floatOp`: binary32 (S) or binary64 (D). */
export const FormatNumber = { S: 0, D: 1 } as const;

/** Rounding modes as encoded in `frm` and in the `rm` field (RISC-V unprivileged, section "F": table of rounding modes). */
export const RoundingMode = {
  /** to nearest, ties to even */
  RNE: 0,
  /** towards zero */
  RTZ: 1,
  /** down, towards minus infinity */
  RDN: 2,
  /** up, towards plus infinity */
  RUP: 3,
  /** to nearest, ties away from zero */
  RMM: 4,
} as const;

/** Accrued exception flags as they stand in `fflags`. */
export const FloatFlag = {
  /** inexact, bit 0 */
  NX: 1,
  /** underflow, bit 1 */
  UF: 2,
  /** overflow, bit 2 */
  OF: 4,
  /** divide by zero, bit 3 */
  DZ: 8,
  /** invalid operation, bit 4 */
  NV: 16,
} as const;
