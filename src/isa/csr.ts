import { type FunctionBuilder, type I32, type I64, i32, i64, type Local, select } from '../wasm/index.ts';

import {
  INTERRUPT,
  MENVCFG,
  MISA,
  MSTATUS,
  MSTATUS_MPP_SHIFT,
  PMP_ENTRIES,
  type StateField32,
  type StateField64,
} from './fields.ts';

/** What the semantics of CSRs are written against. */
export interface CsrContext {
  readonly code: FunctionBuilder;
  get(field: StateField64): I64;
  set(field: StateField64, value: I64): void;
  get32(field: StateField32): I32;
  set32(field: StateField32, value: I32): void;
  pmpaddr(index: number): I64;
  setPmpaddr(index: number, value: I64): void;
  /** A local of the access, for a value that is needed twice. */
  temporary(value: I64): Local<'i64'>;
  /** All pending interrupts: lines and what software has set. */
  readonly pending: I64;
  /** Time in ticks of the platform's timer; retired instructions so far. */
  readonly time: I64;
  readonly retired: I64;
  /** Effects on what the engine caches. */
  statusChanged(): void;
  interruptsChanged(): void;
  translationChanged(): void;
  /** satp was written; the CSR's old value is what the instruction read. */
  addressSpaceChanged(): void;
  pmpChanged(): void;
  timerChanged(): void;
}

export interface Csr {
  readonly name: string;
  /** The lowest two bits of the number's upper nibble are the privilege; 0xC..: read-only. */
  readonly number: number;
  readonly read: (c: CsrContext) => I64;
  /** Absent: writes are ignored (and an illegal instruction where the number says read-only). */
  readonly write?: (c: CsrContext, value: I64) => void;
  /** What CSRRS and CSRRC start from, where it is not what they return. */
  readonly modified?: (c: CsrContext) => I64;
  /** A further condition for the access to be legal. */
  readonly legal?: (c: CsrContext) => I32;
}

export const csrPrivilege = (number: number): number => (number >> 8) & 3;
export const csrIsReadOnly = (number: number): boolean => number >> 10 === 3;

const and = (value: I64, mask: bigint): I64 => i64.and(value, i64.const(mask));
const ALL = (1n << 64n) - 1n;

/** Writes the bits of a mask and keeps the others. */
const merged = (old: I64, value: I64, mask: bigint): I64 => i64.or(and(old, ALL & ~mask), and(value, mask));

const plain = (name: string, number: number, field: StateField64, mask = ALL): Csr => ({
  name,
  number,
  read: (c) => c.get(field),
  write: (c, value) => c.set(field, merged(c.get(field), value, mask)),
});

const constant = (name: string, number: number, value: bigint): Csr => ({ name, number, read: () => i64.const(value) });

const range = (count: number, first: number, make: (index: number) => Csr): Csr[] =>
  Array.from({ length: count }, (_, i) => make(first + i));

const S_STATUS = MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM | MSTATUS.MXR;
const M_STATUS =
  S_STATUS | MSTATUS.MIE | MSTATUS.MPIE | MSTATUS.MPP | MSTATUS.MPRV | MSTATUS.TVM | MSTATUS.TW | MSTATUS.TSR;

/** SD is not kept: it says whether FS is dirty (3). */
const withSD = (c: CsrContext, status: I64): I64 => {
  const value = c.temporary(status).get;
  return i64.or(
    value,
    select(i64.eq(and(value, MSTATUS.FS), i64.const(MSTATUS.FS)), i64.const(MSTATUS.SD), i64.const(0)),
  );
};

function writeStatus(c: CsrContext, value: I64, mask: bigint): void {
  const next = c.temporary(merged(c.get('mstatus'), value, mask));
  if (mask & MSTATUS.MPP) {
    // MPP is WARL: the reserved value 2 is not taken.
    c.code.if(i64.eq(and(next.get, MSTATUS.MPP), i64.const(2n << BigInt(MSTATUS_MPP_SHIFT))), () =>
      c.code.set(next, merged(next.get, c.get('mstatus'), MSTATUS.MPP)),
    );
  }
  c.set('mstatus', next.get);
  c.statusChanged();
}

const bits = (...numbers: number[]): bigint => numbers.reduce((mask, n) => mask | (1n << BigInt(n)), 0n);
const S_INTERRUPTS = bits(INTERRUPT.SSI, INTERRUPT.STI, INTERRUPT.SEI);
const ALL_INTERRUPTS = S_INTERRUPTS | bits(INTERRUPT.MSI, INTERRUPT.MTI, INTERRUPT.MEI);

const softwarePending = (c: CsrContext): I64 => i64.extend_i32_u(c.get32('softwarePending'));

function writePending(c: CsrContext, value: I64, mask: I64): void {
  const kept = i64.and(softwarePending(c), i64.xor(mask, i64.const(-1)));
  c.set32('softwarePending', i32.wrap(i64.or(kept, i64.and(value, mask))));
  c.interruptsChanged();
}

/** Software may set STIP only while Sstc does not drive it. */
const machinePendingMask = (c: CsrContext): I64 =>
  select(
    i64.lt_s(c.get('menvcfg'), i64.const(0)),
    i64.const(bits(INTERRUPT.SSI, INTERRUPT.SEI)),
    i64.const(bits(INTERRUPT.SSI, INTERRUPT.STI, INTERRUPT.SEI)),
  );

/** Exceptions that may be delegated: all but an environment call from M-mode. */
const DELEGABLE = bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15);

const vector = (name: string, number: number, field: 'mtvec' | 'stvec'): Csr => ({
  name,
  number,
  read: (c) => c.get(field),
  // MODE is WARL: 0 direct, 1 vectored.
  write: (c, value) => {
    const next = c.temporary(value).get;
    c.code.if(i64.lt_u(and(next, 3n), i64.const(2)), () => c.set(field, next));
  },
});

const MODE_SHIFT = i64.const(60);

/**
 * A mode that does not exist leaves satp as it was (privileged specification, 10.1.11). All 16 bits of the ASID are there.
 */
function writeSatp(c: CsrContext, value: I64): void {
  const next = c.temporary(value).get;
  const mode = i64.shr_u(next, MODE_SHIFT);
  const supported = i32.or(i64.eqz(mode), i32.or(i64.eq(mode, i64.const(8)), i64.eq(mode, i64.const(9))));
  c.code.if(supported, () => {
    c.set('satp', next);
    c.addressSpaceChanged();
  });
}

/** 1 if a counter (bit n) may be read in the current mode (mcounteren, scounteren). */
const counterEnabled = (n: number) => (c: CsrContext) => {
  const privilege = c.get32('privilege');
  const mask = 1n << BigInt(n);
  const machine = i32.or(i32.eq(privilege, i32.const(3)), i64.ne(and(c.get('mcounteren'), mask), i64.const(0)));
  const supervisor = i32.or(i32.ne(privilege, i32.const(0)), i64.ne(and(c.get('scounteren'), mask), i64.const(0)));
  return i32.and(machine, supervisor);
};

/** The counters that count, by their bit in mcountinhibit. One cycle is one instruction. */
const COUNTERS = [
  { bit: 0, offset: 'mcycleOffset' },
  { bit: 2, offset: 'minstretOffset' },
] as const;
type CounterOffset = (typeof COUNTERS)[number]['offset'];

const isInhibited = (inhibit: I64, offset: CounterOffset): I32 => {
  const { bit } = COUNTERS.find((candidate) => candidate.offset === offset)!;
  return i64.ne(and(inhibit, 1n << BigInt(bit)), i64.const(0));
};

/** While a counter is inhibited, its offset is its value. */
const countOf = (c: CsrContext, offset: CounterOffset): I64 =>
  i64.add(c.get(offset), select(isInhibited(c.get('mcountinhibit'), offset), i64.const(0), c.retired));

const counter = (name: string, number: number, offset: CounterOffset): Csr => ({
  name,
  number,
  read: (c) => countOf(c, offset),
  // The instruction that writes does not count itself: the next one reads what was written.
  write: (c, value) => {
    const counted = i64.add(c.retired, i64.const(1));
    c.set(offset, i64.sub(value, select(isInhibited(c.get('mcountinhibit'), offset), i64.const(0), counted)));
  },
});

const counterInhibit: Csr = {
  name: 'mcountinhibit',
  number: 0x320,
  read: (c) => c.get('mcountinhibit'),
  write: (c, value) => {
    const next = c.temporary(and(value, bits(...COUNTERS.map(({ bit }) => bit)))).get;
    for (const { offset } of COUNTERS) {
      const [was, will] = [isInhibited(c.get('mcountinhibit'), offset), isInhibited(next, offset)];
      c.code.if(i32.ne(was, will), () =>
        c.set(offset, i64.add(c.get(offset), select(will, c.retired, i64.sub(i64.const(0), c.retired)))),
      );
    }
    c.set('mcountinhibit', next);
  },
};

const floatEnabled = (c: CsrContext): I32 => i64.ne(and(c.get('mstatus'), MSTATUS.FS), i64.const(0));
const float = (name: string, number: number, shift: number, mask: number): Csr => ({
  name,
  number,
  legal: floatEnabled,
  read: (c) => i64.extend_i32_u(i32.and(i32.shr_u(c.get32('fcsr'), i32.const(shift)), i32.const(mask))),
  write: (c, value) => {
    const field = i32.shl(i32.and(i32.wrap(value), i32.const(mask)), i32.const(shift));
    c.set32('fcsr', i32.or(i32.and(c.get32('fcsr'), i32.const(~(mask << shift))), field));
    c.set('mstatus', i64.or(c.get('mstatus'), i64.const(MSTATUS.FS)));
  },
});

const pmpcfg = (name: string, number: number, field: 'pmpcfg0' | 'pmpcfg2'): Csr => ({
  name,
  number,
  read: (c) => c.get(field),
  write: (c, value) => {
    // Locked bytes (L, bit 7) stay; bits 5 and 6 are 0; W without R is reserved and becomes no access.
    const old = c.temporary(c.get(field)).get;
    const locked = c.temporary(i64.mul(and(i64.shr_u(old, i64.const(7)), 0x0101010101010101n), i64.const(0xff))).get;
    const wanted = c.temporary(and(value, 0x9f9f9f9f9f9f9f9fn)).get;
    const readable = and(wanted, 0x0101010101010101n);
    const writable = i64.shl(readable, i64.const(1));
    const legal = i64.and(wanted, i64.or(writable, i64.const(~0x0202020202020202n)));
    c.set(field, i64.or(i64.and(old, locked), i64.and(legal, i64.xor(locked, i64.const(-1)))));
    c.pmpChanged();
  },
});

const cfgByte = (c: CsrContext, index: number): I64 =>
  and(i64.shr_u(c.get(index < 8 ? 'pmpcfg0' : 'pmpcfg2'), i64.const((index % 8) * 8)), 0xffn);

const pmpaddr = (index: number): Csr => ({
  name: `pmpaddr${index}`,
  number: 0x3b0 + index,
  read: (c) => c.pmpaddr(index),
  write: (c, value) => {
    const own = i64.ne(and(cfgByte(c, index), 0x80n), i64.const(0));
    // A locked top-of-range entry locks the address below it too (privileged specification, 3.7.1.2).
    const next = index + 1 < PMP_ENTRIES ? i64.eq(and(cfgByte(c, index + 1), 0x98n), i64.const(0x88)) : i32.const(0);
    c.code.if(i32.eqz(i32.or(own, next)), () => {
      c.setPmpaddr(index, and(value, (1n << 54n) - 1n));
      c.pmpChanged();
    });
  },
});

/** stimecmp: where Sstc is; below M-mode if menvcfg.STCE and mcounteren.TM allow it (Sstc specification, chapter 2). */
const timerLegal = (c: CsrContext): I32 => {
  const allowed = i32.and(i64.lt_s(c.get('menvcfg'), i64.const(0)), i64.ne(and(c.get('mcounteren'), 2n), i64.const(0)));
  return i32.and(c.get32('sstc'), i32.or(i32.eq(c.get32('privilege'), i32.const(3)), allowed));
};

export const CSRS: readonly Csr[] = [
  float('fflags', 0x001, 0, 0x1f),
  float('frm', 0x002, 5, 0x07),
  float('fcsr', 0x003, 0, 0xff),
  { name: 'cycle', number: 0xc00, legal: counterEnabled(0), read: (c) => countOf(c, 'mcycleOffset') },
  { name: 'time', number: 0xc01, legal: counterEnabled(1), read: (c) => c.time },
  {
    name: 'instret',
    number: 0xc02,
    legal: counterEnabled(2),
    read: (c) => countOf(c, 'minstretOffset'),
  },
  ...range(29, 3, (n) => ({
    name: `hpmcounter${n}`,
    number: 0xc00 + n,
    legal: counterEnabled(n),
    read: () => i64.const(0),
  })),

  {
    name: 'sstatus',
    number: 0x100,
    read: (c) => withSD(c, i64.or(and(c.get('mstatus'), S_STATUS), i64.const(MSTATUS.UXL))),
    write: (c, value) => writeStatus(c, value, S_STATUS),
  },
  {
    name: 'sie',
    number: 0x104,
    read: (c) => i64.and(c.get('mie'), c.get('mideleg')),
    write: (c, value) => {
      const mask = and(c.get('mideleg'), S_INTERRUPTS);
      c.set('mie', i64.or(i64.and(c.get('mie'), i64.xor(mask, i64.const(-1))), i64.and(value, mask)));
      c.interruptsChanged();
    },
  },
  vector('stvec', 0x105, 'stvec'),
  plain('scounteren', 0x106, 'scounteren', 0xffffffffn),
  plain('senvcfg', 0x10a, 'senvcfg', MENVCFG.FIOM),
  plain('sscratch', 0x140, 'sscratch'),
  plain('sepc', 0x141, 'sepc', ALL & ~1n),
  plain('scause', 0x142, 'scause'),
  plain('stval', 0x143, 'stval'),
  {
    name: 'sip',
    number: 0x144,
    read: (c) => i64.and(c.pending, c.get('mideleg')),
    modified: softwarePending,
    write: (c, value) => writePending(c, value, and(c.get('mideleg'), bits(INTERRUPT.SSI))),
  },
  {
    name: 'stimecmp',
    number: 0x14d,
    legal: timerLegal,
    read: (c) => c.get('stimecmp'),
    write: (c, value) => {
      c.set('stimecmp', value);
      c.timerChanged();
    },
  },
  {
    name: 'satp',
    number: 0x180,
    // TVM makes the access from S-mode illegal.
    legal: (c) => i32.or(i32.ne(c.get32('privilege'), i32.const(1)), i64.eqz(and(c.get('mstatus'), MSTATUS.TVM))),
    read: (c) => c.get('satp'),
    write: writeSatp,
  },

  constant('mvendorid', 0xf11, 0n),
  constant('marchid', 0xf12, 0n),
  constant('mimpid', 0xf13, 0n),
  { name: 'mhartid', number: 0xf14, read: (c) => i64.extend_i32_u(c.get32('hartId')) },
  constant('mconfigptr', 0xf15, 0n),
  {
    name: 'mstatus',
    number: 0x300,
    read: (c) => withSD(c, i64.or(c.get('mstatus'), i64.const(MSTATUS.UXL | MSTATUS.SXL))),
    write: (c, value) => writeStatus(c, value, M_STATUS),
  },
  // Extensions can't be switched off: writes are ignored.
  constant('misa', 0x301, MISA),
  plain('medeleg', 0x302, 'medeleg', DELEGABLE),
  {
    name: 'mideleg',
    number: 0x303,
    read: (c) => c.get('mideleg'),
    write: (c, value) => {
      c.set('mideleg', and(value, S_INTERRUPTS));
      c.interruptsChanged();
    },
  },
  {
    name: 'mie',
    number: 0x304,
    read: (c) => c.get('mie'),
    write: (c, value) => {
      c.set('mie', and(value, ALL_INTERRUPTS));
      c.interruptsChanged();
    },
  },
  vector('mtvec', 0x305, 'mtvec'),
  plain('mcounteren', 0x306, 'mcounteren', 0xffffffffn),
  {
    name: 'menvcfg',
    number: 0x30a,
    read: (c) => c.get('menvcfg'),
    write: (c, value) => {
      const stce = i64.shl(i64.extend_i32_u(c.get32('sstc')), i64.const(63));
      c.set('menvcfg', i64.and(value, i64.or(stce, i64.const(MENVCFG.FIOM | MENVCFG.ADUE))));
      c.timerChanged();
      c.translationChanged();
    },
  },
  counterInhibit,
  ...range(29, 3, (n) => constant(`mhpmevent${n}`, 0x320 + n, 0n)),
  plain('mscratch', 0x340, 'mscratch'),
  plain('mepc', 0x341, 'mepc', ALL & ~1n),
  plain('mcause', 0x342, 'mcause'),
  plain('mtval', 0x343, 'mtval'),
  {
    name: 'mip',
    number: 0x344,
    read: (c) => c.pending,
    modified: softwarePending,
    write: (c, value) => writePending(c, value, machinePendingMask(c)),
  },
  pmpcfg('pmpcfg0', 0x3a0, 'pmpcfg0'),
  pmpcfg('pmpcfg2', 0x3a2, 'pmpcfg2'),
  ...range(PMP_ENTRIES, 0, pmpaddr),
  counter('mcycle', 0xb00, 'mcycleOffset'),
  counter('minstret', 0xb02, 'minstretOffset'),
  ...range(29, 3, (n) => constant(`mhpmcounter${n}`, 0xb00 + n, 0n)),

  // No debug triggers: tselect and tdata read as 0 (debug specification, 5.7).
  constant('tselect', 0x7a0, 0n),
  constant('tdata1', 0x7a1, 0n),
  constant('tdata2', 0x7a2, 0n),
  constant('tdata3', 0x7a3, 0n),
];

const BY_NUMBER = new Map(CSRS.map((csr, index) => [csr.number, index]));

/** Index into CSRS; undefined for a number that is no CSR of ours. */
export const csrIndex = (number: number): number | undefined => BY_NUMBER.get(number);
