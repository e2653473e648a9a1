/** CSR accesses, traps and interrupts that software makes. */
import { ADUE, CSR_NUMBER, type CsrName, MSTATUS } from '../csr.ts';
import { MSIP } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { ADDRESS, Builder, DATA_BASE, SCRATCH, SP } from './builder.ts';
import { emitFloat } from './float.ts';
import { emitDataAccess } from './memory.ts';

/**
 * CSRs that programs write, with the values they draw from: every bit in `bits` is random, `choices` are fields of
 * which one value is chosen. What is left out is where implementations may legally keep different values.
 */
interface WritableCsr {
  name: CsrName;
  bits: bigint;
  choices?: readonly bigint[];
}

const ALL = (1n << 64n) - 1n;

const USER_CSRS: readonly WritableCsr[] = [
  { name: 'fflags', bits: 0xffn },
  { name: 'frm', bits: 0xfn },
  { name: 'fcsr', bits: 0x1ffn },
];

const SUPERVISOR_CSRS: readonly WritableCsr[] = [
  { name: 'sscratch', bits: ALL },
  { name: 'sepc', bits: ALL & ~1n },
  { name: 'scause', bits: 0xfn },
  { name: 'stval', bits: ALL },
  { name: 'scounteren', bits: 7n },
  { name: 'sie', bits: ALL },
  { name: 'sip', bits: 0x2n },
  { name: 'sstatus', bits: MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.SUM | MSTATUS.MXR, choices: [0x6000n] },
];

const MACHINE_CSRS: readonly WritableCsr[] = [
  { name: 'mepc', bits: ALL & ~1n },
  { name: 'mcause', bits: 0xfn },
  { name: 'mtval', bits: ALL },
  { name: 'mcounteren', bits: 7n },
  { name: 'medeleg', bits: 0xb1ffn & ~(1n << 9n) },
  { name: 'mideleg', bits: 0x222n },
  { name: 'mie', bits: 0xaaan },
  { name: 'mip', bits: 0x222n },
  {
    name: 'mstatus',
    bits:
      MSTATUS.SPIE |
      MSTATUS.MPIE |
      MSTATUS.SPP |
      MSTATUS.SUM |
      MSTATUS.MXR |
      MSTATUS.TVM |
      MSTATUS.TW |
      MSTATUS.TSR |
      MSTATUS.SIE,
    choices: [0x6000n, 0x6800n, 0x7800n],
  },
  { name: 'menvcfg', bits: 1n, choices: [ADUE] },
];

/** Only for programs in M-mode, whose traps never go through it. */
const TRAP_VECTOR: WritableCsr = { name: 'stvec', bits: ALL & ~2n };

/** Only read: constants, and counters whose value goes to x0. */
const READABLE: readonly CsrName[] = [
  'mhartid',
  'misa',
  'sip',
  'sie',
  'sstatus',
  'satp',
  'medeleg',
  'mideleg',
  'mcounteren',
  'scounteren',
  'stvec',
];
const COUNTERS: readonly CsrName[] = ['cycle', 'time', 'instret'];
/** CSR numbers that neither machine has. */
const ABSENT = [0x000, 0x006, 0x5c0, 0x7c0, 0x800, 0x8ff, 0x9c0, 0xcc0, 0xfff];

const REGISTER_FORMS = ['csrrw', 'csrrs', 'csrrc'] as const;
const IMMEDIATE_FORMS = ['csrrwi', 'csrrsi', 'csrrci'] as const;

function valueFor(random: Random, csr: WritableCsr): bigint {
  const bits = random.bits64() & csr.bits;
  return csr.choices === undefined ? bits : bits | random.pick(csr.choices);
}

/** A CSR instruction; in modes that may not do it, it traps, which is as good a test. */
export function emitCsr(b: Builder): void {
  const { random, a } = b;
  const own = b.mode === 'M' ? MACHINE_CSRS : b.mode === 'S' ? SUPERVISOR_CSRS : USER_CSRS;
  switch (random.below(10)) {
    case 0:
      a.op('csrrs', { rd: 0, rs1: 0, imm: CSR_NUMBER[random.pick(COUNTERS)] });
      break;
    case 1:
      a.op(random.pick(['csrrs', 'csrrc', 'csrrsi'] as const), {
        rd: b.rd(),
        rs1: 0,
        imm: CSR_NUMBER[random.pick(READABLE)],
      });
      break;
    case 2: {
      // Something that is not there, not writable or not allowed. A counter's value would be the machine's own. The
      // source is never zero: QEMU looks at the value, not at the register's number, to tell whether something is written.
      const counter = random.chance(2);
      a.op(random.pick([...REGISTER_FORMS, ...IMMEDIATE_FORMS]), {
        rd: counter ? 0 : b.rd(),
        rs1: random.pick([SP, DATA_BASE]),
        imm: counter ? CSR_NUMBER[random.pick(COUNTERS)] : random.pick([...ABSENT, CSR_NUMBER.mhartid]),
      });
      break;
    }
    default: {
      if (b.mode === 'M' && random.chance(8)) {
        // The monitor's own register: changed and given back at once.
        a.op('csrrw', { rd: SCRATCH, rs1: b.rs(), imm: CSR_NUMBER.mscratch });
        a.op(random.pick(['csrrs', 'csrrc'] as const), { rd: b.rd(), rs1: b.rd(), imm: CSR_NUMBER.mscratch });
        a.op('csrrw', { rd: b.rd(), rs1: SCRATCH, imm: CSR_NUMBER.mscratch });
        break;
      }
      const pool = random.chance(8) ? [...MACHINE_CSRS, ...SUPERVISOR_CSRS] : random.chance(4) ? USER_CSRS : own;
      const csr = random.pick(
        b.mode === 'M' && pool === own ? [...MACHINE_CSRS, ...SUPERVISOR_CSRS, TRAP_VECTOR] : pool,
      );
      if (random.chance(4) && csr.choices === undefined && csr.bits >= 31n && csr.bits !== 0xaaan) {
        a.op(random.pick(IMMEDIATE_FORMS), {
          rd: b.rd(),
          rs1: random.below(32) & Number(csr.bits & 31n),
          imm: CSR_NUMBER[csr.name],
        });
        break;
      }
      a.li(SCRATCH, valueFor(random, csr));
      const form = csr.choices === undefined ? random.pick(REGISTER_FORMS) : 'csrrw';
      // What menvcfg can hold is not the same on both machines.
      const rd = csr.name === 'menvcfg' ? 0 : b.rd();
      a.op(form, { rd, rs1: SCRATCH, imm: CSR_NUMBER[csr.name] });
    }
  }
}

export function csr(random: Random, number: number): Program {
  const b = new Builder(random, number, 'csr');
  b.setMode(random.pick(['M', 'M', 'S', 'S', 'U'] as const));
  if (b.mode !== 'M') {
    b.delegate();
    b.program.mcounteren = BigInt(random.below(8));
    b.program.scounteren = BigInt(random.below(8));
    if (random.chance(2)) b.program.mstatus |= random.bits64() & (MSTATUS.TVM | MSTATUS.TW | MSTATUS.TSR);
    // The stub could not return.
    if ((b.program.mstatus & MSTATUS.TSR) !== 0n) b.program.medeleg = 0n;
  }
  // With the float unit off its registers and CSRs are out of reach.
  if (random.chance(6)) b.program.mstatus &= ~(3n << MSTATUS.FS_SHIFT);
  b.repeat();
  for (let n = random.between(20, 50); n > 0; n--) {
    const draw = random.below(8);
    if (draw === 0) b.compute();
    else if (draw === 1) emitFloat(b);
    else emitCsr(b);
  }
  return b.build();
}

/** Words that are no instruction of this machine (some are of extensions that it does not have). */
const ILLEGAL_WORDS = [
  0x0000_0000,
  0xffff_ffff,
  0x0000_000b,
  0x0000_002b,
  0x0000_005b,
  0x0000_007b,
  0x0200_7013,
  0x0000_7003,
  0x0000_4023,
  0x0000_2063,
  0x0000_3063,
  0x0000_1067,
  0x0000_203b,
  0x4000_1033,
  0x4000_7033 ^ 0x0400_0000,
  0x0a00_1533,
  0x0a00_3533,
  0x0400_0053,
  0x0600_0053,
  0xe000_2053,
  0x5800_0053 | (1 << 20),
  0x2800_2053,
  0xa000_3053,
  0x0400_0043,
  0x0000_602f,
  0x0000_002f,
  0x3800_202f,
  0x1010_202f,
  0x0000_4073,
  0x1020_00f3,
  0x3020_8073,
  0x0020_0073,
  0x7b20_0073,
  0x6000_0073,
  0x0000_0057,
  0x0000_7057,
  0x6000_4073,
  0x2200_0073,
  0x0000_5007,
  0x0000_5027,
  0x0200_101b,
  0x4200_101b,
  0x6030_1013,
  0x6040_3013 ^ 0x0000_4000,
  0x6b80_5013 ^ 0x0010_0000,
  0x0800_403b | (1 << 20),
  0x0010_2073 ^ 0x0000_6000,
];

const ILLEGAL_HALVES = [0x0000, 0x0004, 0x6001, 0x6081, 0x2001, 0x4002, 0x6002, 0x8002, 0x9c41, 0x9c61, 0x8000, 0x6101];

/**
 * Addresses of nothing, where an access faults on both machines. Accesses there are aligned and no AMOs: which of two
 * faults a misaligned one takes is open, and QEMU reports a load's fault for an AMO.
 */
const NOWHERE = [0x40_0000, 0x50_0008, 0x100_0000, 0x8800_0000, 0x8fff_ff00, 0x18_0000];

/** One way into the trap handler. */
export function emitTrap(b: Builder): void {
  const { random, a } = b;
  switch (random.below(11)) {
    case 0:
    case 1:
      a.word(random.pick(ILLEGAL_WORDS) >>> 0);
      break;
    case 2:
      a.half(random.pick(ILLEGAL_HALVES));
      break;
    case 3:
      a.op('ecall');
      break;
    case 4:
      random.chance(2) ? a.op('ebreak') : a.compressed('c.ebreak');
      break;
    case 5:
    case 6:
      // Data that is not there.
      a.li(ADDRESS, random.pick(NOWHERE) + random.below(4) * 8);
      a.op(random.pick(['lb', 'lw', 'ld', 'lhu', 'sb', 'sw', 'sd', 'fld', 'fsw'] as const), {
        rd: b.rd(),
        rs1: ADDRESS,
        rs2: b.rs(),
        imm: 0,
      });
      break;
    case 7:
      a.li(ADDRESS, random.pick(NOWHERE));
      a.atomic(random.pick(['lr.w', 'lr.d']), { rd: b.rd(), rs1: ADDRESS, rs2: 0 });
      break;
    case 8:
      if (b.program.resume.length < 4) {
        // Code that is not there.
        a.li(ADDRESS, random.pick(NOWHERE) + random.below(2));
        a.op('jalr', { rd: b.rd(), rs1: ADDRESS, imm: 0 });
        b.resumeHere();
      }
      break;
    case 9:
      // Privileged instructions: legal in some modes, where they do nothing harmful.
      if (b.mode === 'M') break;
      a.word(
        [0x3020_0073, 0x1020_0073, 0x1200_0073, 0x1050_0073][b.mode === 'S' ? random.pick([0, 2]) : random.below(4)]!,
      );
      break;
    default:
      emitRandomWord(b);
  }
}

/**
 * Any 32-bit word that is not a jump, branch, CSR or fence instruction and does not touch what the program relies on.
 * Most are illegal.
 */
function emitRandomWord(b: Builder): void {
  const { random, a } = b;
  const opcodes = [0x13, 0x1b, 0x33, 0x3b, 0x53, 0x2f, 0x43, 0x4b, 0x03, 0x07, 0x0b, 0x5b, 0x77, 0x6b, 0x57, 0x1f];
  const rd = b.rd();
  const word = (Number(random.bits64() & 0xffff_f000n) | (rd << 7) | random.pick(opcodes)) >>> 0;
  const opcode = word & 0x7f;
  // Loads and atomics from anywhere are misaligned accesses to nowhere: of those only what is illegal stays.
  if (opcode === 0x03 || opcode === 0x07 || opcode === 0x2f) {
    if (((word >>> 12) & 7) < (opcode === 0x03 ? 7 : 5)) {
      b.compute();
      return;
    }
  }
  a.word(word);
}

export function traps(random: Random, number: number): Program {
  const b = new Builder(random, number, 'traps');
  b.anyMode();
  b.program.trapLimit = 40;
  b.repeat();
  for (let n = random.between(15, 35); n > 0; n--) {
    const draw = random.below(6);
    if (draw === 0) b.compute();
    else if (draw === 1) emitDataAccess(b);
    else emitTrap(b);
  }
  return b.build();
}

/**
 * Interrupts that software raises, one at a time (QEMU without AIA takes the lowest number first, not the order of the
 * specification). Each is made pending while it is disabled and then enabled by a CSR write, so that
 * the instruction at which it is taken is not a matter of taste.
 */
export function interrupts(random: Random, number: number): Program {
  const b = new Builder(random, number, 'interrupts');
  b.setMode(random.pick(['M', 'M', 'S'] as const));
  if (b.mode === 'S') b.program.mideleg = random.chance(2) ? 0x222n : 0n;
  b.delegate();
  if (random.chance(2)) b.program.stvec |= 1n;
  b.program.mie = 0x222n;
  b.repeat();
  const { a } = b;
  for (let n = random.between(4, 10); n > 0; n--) {
    b.compute();
    if (b.mode === 'S') {
      a.op('csrrci', { rd: 0, rs1: 2, imm: CSR_NUMBER.sstatus });
      a.op('csrrsi', { rd: 0, rs1: 2, imm: CSR_NUMBER.sip });
      for (let k = random.below(3); k > 0; k--) b.compute();
      a.op('csrrsi', { rd: b.rd(), rs1: 2, imm: random.chance(2) ? CSR_NUMBER.sstatus : CSR_NUMBER.sie });
      a.op('csrrsi', { rd: b.rd(), rs1: 2, imm: CSR_NUMBER.sstatus });
    } else {
      a.op('csrrci', { rd: 0, rs1: 8, imm: CSR_NUMBER.mstatus });
      const kind = random.below(3);
      if (kind === 0) {
        a.li(SCRATCH, random.pick([0x2n, 0x20n, 0x200n]));
        a.op('csrrs', { rd: 0, rs1: SCRATCH, imm: CSR_NUMBER.mip });
      } else if (kind === 1) {
        a.li(ADDRESS, MSIP);
        a.li(SCRATCH, 1);
        a.op('sw', { rs1: ADDRESS, rs2: SCRATCH, imm: 0 });
        a.op('lw', { rd: b.rd(), rs1: ADDRESS, imm: 0 });
        a.op('csrrsi', { rd: 0, rs1: 8, imm: CSR_NUMBER.mie });
      }
      for (let k = random.below(3); k > 0; k--) b.compute();
      a.op('csrrs', { rd: b.rd(), rs1: 0, imm: CSR_NUMBER.mip });
      a.op('csrrsi', { rd: b.rd(), rs1: 8, imm: CSR_NUMBER.mstatus });
    }
    b.compute();
  }
  return b.build();
}
