/** What tests of address translation begin with. */

import { type Assembler, R } from './assembler.ts';
import { BareMachine, type BareOptions, PageTables, RAM, RWX } from './bare-machine.ts';

const { a0, t1 } = R;
export const MPRV = 1 << 17;
export const SUM = 1 << 18;
export const MXR = 1 << 19;
export const [MPP_U, MPP_S] = [0, 1 << 11];

/** A load of a double word for `Assembler.i`. */
export const load = (rd: number, rs1: number = a0) => ['ld', { rd, rs1 }] as const;

/** A machine with page tables that map the first pages of RAM to themselves, for S-mode. */
export function paged(levels: 3 | 4 = 3, options: BareOptions = {}): { machine: BareMachine; tables: PageTables } {
  const machine = new BareMachine(options);
  const tables = new PageTables(machine, levels);
  for (let page = 0; page < 8; page++) tables.map(RAM + page * 4096, RAM + page * 4096, RWX);
  return { machine, tables };
}

/** Sets MPP and flags of mstatus for data accesses of M-mode. */
export function dataMode(a: Assembler, bits: number): void {
  a.li(t1, MPRV | SUM | MXR | (3 << 11))
    .csr('csrrc', 0, 'mstatus', t1)
    .li(t1, bits)
    .csr('csrrs', 0, 'mstatus', t1);
}
