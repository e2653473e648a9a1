import { i32 } from '../wasm/index.ts';
import type { CsrOperation } from './context.ts';
import { does, type Instruction, MASK, word } from './instruction.ts';

/**
 * Zicsr (unprivileged specification, chapter 6) and the privileged instructions (privileged specification, 3.3, 10.2).
 */

const SYSTEM = 0x73;

/** CSRRS and CSRRC with x0 or 0 do not write at all, so they may name a read-only CSR. */
function csr(name: string, funct3: number, operation: CsrOperation): Instruction[] {
  const always = operation === 'write';
  return [
    does(
      'Zicsr',
      { name, mask: MASK.funct3, match: word(SYSTEM, funct3), format: 'CSR', syntax: 'rd, csr, rs1' },
      (c) => c.csr(operation, c.rs1, always ? i32.const(1) : c.rs1FieldIsNonzero),
    ),
    does(
      'Zicsr',
      { name: `${name}i`, mask: MASK.funct3, match: word(SYSTEM, funct3 + 4), format: 'CSR', syntax: 'rd, csr, uimm' },
      (c) => c.csr(operation, c.uimm, always ? i32.const(1) : c.rs1FieldIsNonzero),
    ),
  ];
}

const privileged = (name: string, match: number) =>
  ({ name, mask: MASK.all, match, format: 'none', syntax: '' }) as const;

export const SYSTEM_INSTRUCTIONS: readonly Instruction[] = [
  ...csr('csrrw', 1, 'write'),
  ...csr('csrrs', 2, 'set'),
  ...csr('csrrc', 3, 'clear'),
  does('I', privileged('ecall', 0x00000073), (c) => c.ecall()),
  does('I', privileged('ebreak', 0x00100073), (c) => c.ebreak()),
  does('Privileged', privileged('sret', 0x10200073), (c) => c.sret()),
  does('Privileged', privileged('mret', 0x30200073), (c) => c.mret()),
  does('Privileged', privileged('wfi', 0x10500073), (c) => c.wfi()),
  does(
    'Privileged',
    { name: 'sfence.vma', mask: 0xfe007fff, match: word(SYSTEM, 0, 0x09), format: 'R', syntax: 'rs1, rs2' },
    (c) => c.sfenceVma(),
  ),
];
