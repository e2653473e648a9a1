/** Registers, variables and idioms of the monitor's code. */
import type { Assembler } from './assembler.ts';
import { CSR_NUMBER, type CsrName } from './csr.ts';
import { MTIMECMP } from './layout.ts';

/** Byte offsets of the monitor's variables from VARIABLES; the saved x registers stand at the start. */
export const PROGRAM = 0x100;
export const TRAPS = 0x108;
export const RESUMED = 0x110;
export const LOG_END = 0x118;

/** Registers of the monitor's own code. */
export const [RA, T0, T1, T2, S0, S1, T3, T4, T5, VARS] = [1, 5, 6, 7, 8, 9, 28, 29, 30, 31] as const;

export function readCsr(a: Assembler, rd: number, name: CsrName): void {
  a.op('csrrs', { rd, rs1: 0, imm: CSR_NUMBER[name] });
}

export function writeCsr(a: Assembler, name: CsrName, rs1: number): void {
  a.op('csrrw', { rd: 0, rs1, imm: CSR_NUMBER[name] });
}

/** Word offset in the header as byte offset. */
export const header = (word: number): number => word * 8;

/** Raises and lowers the timer's line, while its interrupt is disabled: who looks at the machine sees a program's border. */
export function markBorder(a: Assembler): void {
  a.li(T0, MTIMECMP);
  a.op('sd', { rs1: T0, rs2: 0, imm: 0 });
  a.li(T1, -1n);
  a.op('sd', { rs1: T0, rs2: T1, imm: 0 });
}
