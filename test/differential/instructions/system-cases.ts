/** Cases of the instructions that are one of a kind: jumps, fences, privileged ones. */
import { CSR_NUMBER, MSTATUS } from '../csr.ts';
import { A, AUX, B, BASE, type Case, RESULT } from './case.ts';

/** Puts the address of the instruction `distance` bytes behind this sequence's start into a register. */
function addressAhead(c: Case, register: number, distance: number): void {
  c.a.op('auipc', { rd: register, imm: 0 });
  c.a.op('addi', { rd: register, rs1: register, imm: distance });
}

/** Returns from a trap that never was: to behind the return, in the same mode or another. */
function trapReturn(c: Case, name: 'mret' | 'sret', status: bigint): void {
  const { a } = c;
  a.li(A, status);
  a.op('csrrw', { rd: 0, rs1: A, imm: CSR_NUMBER.mstatus });
  addressAhead(c, B, 20);
  a.op('csrrw', { rd: 0, rs1: B, imm: name === 'mret' ? CSR_NUMBER.mepc : CSR_NUMBER.sepc });
  a.op(name);
  a.op('addi', { rd: BASE, rs1: BASE, imm: 1 });
}

const FS = 3n << MSTATUS.FS_SHIFT;

export const SYSTEM_CASES: Record<string, (c: Case) => void> = {
  jal: (c) => {
    const { a } = c;
    const [ahead, back, out] = [c.label(), c.label(), c.label()];
    a.to('jal', ahead, { rd: RESULT });
    a.label(back);
    c.fold(RESULT);
    a.to('jal', out, { rd: 0 });
    a.compressed('c.nop');
    a.label(ahead);
    c.fold(RESULT);
    a.to('jal', back, { rd: RESULT });
    a.label(out);
    c.fold(RESULT);
    c.store();
  },

  jalr: (c) => {
    const { a } = c;
    for (const [distance, imm] of [
      [24, 0],
      [24, 1],
      [2024, -2000],
      [-2023, 2047],
    ] as const) {
      // auipc, addi, jalr, three instructions that are jumped over.
      addressAhead(c, A, distance);
      a.op('jalr', { rd: RESULT, rs1: A, imm });
      for (let n = 0; n < 3; n++) a.op('addi', { rd: RESULT, rs1: RESULT, imm: 1 });
      c.fold(RESULT);
      // The link goes where the target came from.
      addressAhead(c, A, distance);
      a.op('jalr', { rd: A, rs1: A, imm });
      for (let n = 0; n < 3; n++) a.op('addi', { rd: A, rs1: A, imm: 1 });
      c.fold(A);
    }
    c.store();
  },

  fence: (c) => {
    for (const imm of [0xff, 0x33, 0x0f, 0, 0x833]) c.a.op('fence', { imm });
    c.store();
  },

  'fence.i': (c) => {
    const { a } = c;
    // A loop whose instruction behind the fence is another one each time.
    const again = c.label();
    a.li(AUX, 3);
    a.label(again);
    a.op('slli', { rd: B, rs1: AUX, imm: 20 });
    a.op('addi', { rd: B, rs1: B, imm: (RESULT << 7) | 0x13 });
    a.op('auipc', { rd: A, imm: 0 });
    a.op('sw', { rs1: A, rs2: B, imm: 12 });
    a.op('fence.i');
    a.op('addi', { rd: RESULT, rs1: 0, imm: 100 });
    c.fold(RESULT);
    a.op('addi', { rd: AUX, rs1: AUX, imm: -1 });
    a.to('bne', again, { rs1: AUX, rs2: 0 });
    c.store();
  },

  'sfence.vma': (c) => {
    const { a } = c;
    a.op('sfence.vma', { rs1: 0, rs2: 0 });
    a.op('sfence.vma', { rs1: BASE, rs2: 0 });
    a.op('sfence.vma', { rs1: 0, rs2: BASE });
    a.op('sfence.vma', { rs1: BASE, rs2: A });
    c.store();
  },

  mret: (c) => {
    trapReturn(c, 'mret', FS | (3n << MSTATUS.MPP_SHIFT) | MSTATUS.MPIE);
    trapReturn(c, 'mret', FS | (3n << MSTATUS.MPP_SHIFT) | MSTATUS.MPRV);
    c.a.op('csrrs', { rd: AUX, rs1: 0, imm: CSR_NUMBER.mstatus });
    c.fold(AUX);
    c.store();
    // To S-mode, where it ends. (QEMU 7.2 would leave MPRV set.)
    trapReturn(c, 'mret', FS | (1n << MSTATUS.MPP_SHIFT));
  },

  sret: (c) => {
    // From M-mode; it ends in S-mode, where the SIE that SPIE became is seen.
    trapReturn(c, 'sret', FS | MSTATUS.SPP | MSTATUS.SPIE);
    c.a.op('csrrs', { rd: AUX, rs1: 0, imm: CSR_NUMBER.sstatus });
    c.fold(AUX);
    c.store();
    addressAhead(c, B, 16);
    c.a.op('csrrw', { rd: 0, rs1: B, imm: CSR_NUMBER.sepc });
    c.a.op('sret');
  },

  wfi: (c) => {
    const { a } = c;
    // An interrupt that is pending and enabled in mie ends the wait, whether it is taken or not.
    a.op('csrrsi', { rd: 0, rs1: 2, imm: CSR_NUMBER.mie });
    a.op('csrrsi', { rd: 0, rs1: 2, imm: CSR_NUMBER.mip });
    a.op('wfi');
    a.op('csrrs', { rd: AUX, rs1: 0, imm: CSR_NUMBER.mip });
    c.fold(AUX);
    c.store();
  },

  ecall: (c) => {
    c.a.op('ecall');
    c.a.li(RESULT, 1);
    c.store();
  },

  ebreak: (c) => {
    c.a.op('ebreak');
    c.a.li(RESULT, 1);
    c.store();
  },
};
