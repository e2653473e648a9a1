/** The monitor's last part: collects the state of a program that has ended and sends it. */
import type { Assembler } from './assembler.ts';
import { CSR_NUMBER } from './csr.ts';
import { CODE, DATA, DATA_SIZE, PAGE, SIGNATURE, TRAP_LOG, UART } from './layout.ts';
import {
  header,
  LOG_END,
  markBorder,
  PROGRAM,
  readCsr,
  S0,
  S1,
  T0,
  T1,
  T2,
  T3,
  T4,
  T5,
  TRAPS,
  VARS,
  writeCsr,
} from './monitor-code.ts';
import { HEADER, PMP_ALL } from './program.ts';
import { HASHED_PAGES, MAGIC, SIGNATURE_CSRS } from './signature.ts';

export function finishProgram(a: Assembler): void {
  a.label('finish');
  // An access that a region covers in part fails in every mode: the regions go before memory is read.
  a.li(T0, PMP_ALL);
  writeCsr(a, 'pmpcfg0', T0);
  // S1 walks through the signature.
  a.li(S1, SIGNATURE);
  const put = (register: number): void => {
    a.op('sd', { rs1: S1, rs2: register, imm: 0 });
    a.op('addi', { rd: S1, rs1: S1, imm: 8 });
  };
  a.li(T0, MAGIC);
  put(T0);
  a.op('addi', { rd: S1, rs1: S1, imm: 8 }); // length, filled in below
  a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER.number) });
  put(T0);
  for (const { name, mask } of SIGNATURE_CSRS) {
    readCsr(a, T0, name);
    if (mask !== undefined) {
      a.li(T1, mask);
      a.op('and', { rd: T0, rs1: T0, rs2: T1 });
    }
    put(T0);
  }
  markBorder(a);
  for (let n = 1; n < 32; n++) {
    a.op('ld', { rd: T0, rs1: VARS, imm: n * 8 });
    put(T0);
  }
  a.li(T0, 0x6000);
  a.op('csrrs', { rd: 0, rs1: T0, imm: CSR_NUMBER.mstatus });
  readCsr(a, T0, 'fcsr');
  put(T0);
  for (let n = 0; n < 32; n++) a.op('fsd', { rs1: S1, rs2: n, imm: n * 8 });
  a.op('addi', { rd: S1, rs1: S1, imm: 32 * 8 });

  // One hash a page: h = (h ^ word) * odd constant, folded.
  a.li(T0, CODE);
  a.li(T5, 0x9e37_79b9_7f4a_7c15n);
  for (const [index, { address, pages }] of HASHED_PAGES.entries()) {
    a.li(T0, address);
    a.li(T4, address + pages * PAGE);
    a.label(`hash-page-${index}`);
    a.li(T1, PAGE);
    a.op('add', { rd: T1, rs1: T0, rs2: T1 });
    a.li(T2, 0);
    a.label(`hash-word-${index}`);
    a.op('ld', { rd: T3, rs1: T0, imm: 0 });
    a.op('xor', { rd: T2, rs1: T2, rs2: T3 });
    a.op('mul', { rd: T2, rs1: T2, rs2: T5 });
    a.op('srli', { rd: T3, rs1: T2, imm: 29 });
    a.op('xor', { rd: T2, rs1: T2, rs2: T3 });
    a.op('addi', { rd: T0, rs1: T0, imm: 8 });
    a.to('bltu', `hash-word-${index}`, { rs1: T0, rs2: T1 });
    put(T2);
    a.to('bltu', `hash-page-${index}`, { rs1: T0, rs2: T4 });
  }

  a.op('ld', { rd: T0, rs1: VARS, imm: TRAPS });
  put(T0);
  copyToSignature(a, 'copy-log', () => {
    a.li(T0, TRAP_LOG);
    a.op('ld', { rd: T1, rs1: VARS, imm: LOG_END });
  });
  a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER.verbose) });
  a.to('beq', 'send', { rs1: T0, rs2: 0 });
  copyToSignature(a, 'copy-data', () => {
    a.li(T0, DATA);
    a.li(T1, DATA + DATA_SIZE);
  });

  a.label('send');
  a.li(T0, SIGNATURE);
  a.op('sub', { rd: T1, rs1: S1, rs2: T0 });
  a.op('sd', { rs1: T0, rs2: T1, imm: 8 });
  a.li(T2, UART);
  a.label('send-byte');
  a.op('lbu', { rd: T3, rs1: T0, imm: 0 });
  a.op('sb', { rs1: T2, rs2: T3, imm: 0 });
  a.op('addi', { rd: T0, rs1: T0, imm: 1 });
  a.to('bltu', 'send-byte', { rs1: T0, rs2: S1 });

  a.op('ld', { rd: T0, rs1: S0, imm: header(HEADER.size) });
  a.op('add', { rd: S0, rs1: S0, rs2: T0 });
  a.op('sd', { rs1: VARS, rs2: S0, imm: PROGRAM });
  a.jump('next');
}

/** Appends the double words from T0 up to T1, which `range` sets, to the signature. */
function copyToSignature(a: Assembler, label: string, range: () => void): void {
  range();
  a.label(label);
  a.op('ld', { rd: T2, rs1: T0, imm: 0 });
  a.op('sd', { rs1: S1, rs2: T2, imm: 0 });
  a.op('addi', { rd: T0, rs1: T0, imm: 8 });
  a.op('addi', { rd: S1, rs1: S1, imm: 8 });
  a.to('bltu', label, { rs1: T0, rs2: T1 });
}
