/**
 * The architectural state of a hart beyond its register files: CSRs and what stands behind them.
 * The engine decides where in memory the fields are; the semantics only name them.
 */
export const STATE_FIELDS_64 = [
  'pc',
  'mstatus',
  'mie',
  'mideleg',
  'medeleg',
  'mtvec',
  'mepc',
  'mcause',
  'mtval',
  'mscratch',
  'mcounteren',
  'mcountinhibit',
  'menvcfg',
  'stvec',
  'sepc',
  'scause',
  'stval',
  'sscratch',
  'satp',
  'scounteren',
  'senvcfg',
  'stimecmp',
  /**
   * Added to the number of retired instructions to get mcycle and minstret; the counter itself while it is inhibited.
   */
  'mcycleOffset',
  'minstretOffset',
  'pmpcfg0',
  'pmpcfg2',
] as const;

export const STATE_FIELDS_32 = [
  /** Privilege: 0 U, 1 S, 3 M. */
  'privilege',
  /** Bits of mip that devices and timers drive; other threads change it, so it is accessed atomically. */
  'lines',
  /** Bits of mip that software has written. */
  'softwarePending',
  /** Bits 0..4 fflags (NX UF OF DZ NV), bits 5..7 frm. */
  'fcsr',
  'hartId',
  /** 1: the hart has the supervisor timer (Sstc). */
  'sstc',
] as const;

export type StateField64 = (typeof STATE_FIELDS_64)[number];
export type StateField32 = (typeof STATE_FIELDS_32)[number];

/** Number of PMP entries; pmpaddr registers are the array that follows the fields. */
export const PMP_ENTRIES = 16;

export const PRIVILEGE = { U: 0, S: 1, M: 3 } as const;

/** Exception codes (privileged specification, table 14). Interrupts have bit 63 set in xcause. */
export const CAUSE = {
  instructionAccessFault: 1,
  illegalInstruction: 2,
  breakpoint: 3,
  loadAddressMisaligned: 4,
  loadAccessFault: 5,
  storeAddressMisaligned: 6,
  storeAccessFault: 7,
  ecallFromU: 8,
  instructionPageFault: 12,
  loadPageFault: 13,
  storePageFault: 15,
} as const;

/** Bit numbers in mip and mie. */
export const INTERRUPT = { SSI: 1, MSI: 3, STI: 5, MTI: 7, SEI: 9, MEI: 11 } as const;

const bit = (n: number): bigint => 1n << BigInt(n);

/** Fields of mstatus (privileged specification, 3.1.6). */
export const MSTATUS = {
  SIE: bit(1),
  MIE: bit(3),
  SPIE: bit(5),
  MPIE: bit(7),
  SPP: bit(8),
  MPP: 3n << 11n,
  FS: 3n << 13n,
  MPRV: bit(17),
  SUM: bit(18),
  MXR: bit(19),
  TVM: bit(20),
  TW: bit(21),
  TSR: bit(22),
  UXL: 2n << 32n,
  SXL: 2n << 34n,
  SD: bit(63),
} as const;

export const MSTATUS_MPP_SHIFT = 11;
export const MSTATUS_SPP_SHIFT = 8;

/** Fields of menvcfg (privileged specification, 3.1.18). */
export const MENVCFG = {
  FIOM: bit(0),
  CBIE: 3n << 4n,
  CBCFE: bit(6),
  CBZE: bit(7),
  ADUE: bit(61),
  STCE: bit(63),
} as const;

/** misa: RV64 with A, C, D, F, I, M, S, U. */
export const MISA = (2n << 62n) | [...'ACDFIMSU'].reduce((bits, letter) => bits | bit(letter.charCodeAt(0) - 65), 0n);
