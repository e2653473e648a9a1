/** Listings of programs, disassembled with the product's own table. */
import { disassemble } from '../../src/isa/disassemble.ts';
import type { Mismatch } from './harness.ts';
import { instructionOffsets, isNop } from './minimize.ts';
import type { Program } from './program.ts';

/** One line for each instruction that does something; those at which one of the machines trapped are marked. */
export function listProgram(program: Program, mismatch: Mismatch): string[] {
  const { code, codeAddress } = program;
  const marked = new Set<bigint>();
  for (const { name, expected, actual } of mismatch.differences) {
    if (!/ pc$/.test(name)) continue;
    if (expected !== undefined) marked.add(expected);
    if (actual !== undefined) marked.add(actual);
  }
  const mode = ['U', 'S', '?', 'M'][Number((program.mstatus >> 11n) & 3n)];
  const lines = [
    `${mode}-mode, mstatus 0x${program.mstatus.toString(16)}, satp 0x${program.satp.toString(16)}, ` +
      `medeleg 0x${program.medeleg.toString(16)}, fcsr 0x${program.fcsr.toString(16)}`,
  ];
  for (const at of instructionOffsets(code)) {
    if (isNop(code, at)) continue;
    const address = codeAddress + BigInt(at);
    const bits = (code[at]! | (code[at + 1]! << 8) | ((code[at + 2] ?? 0) << 16) | ((code[at + 3] ?? 0) << 24)) >>> 0;
    const short = (bits & 3) !== 3;
    const hex = (short ? bits & 0xffff : bits).toString(16).padStart(short ? 4 : 8, '0');
    lines.push(
      `${marked.has(address) ? '>' : ' '} ${address.toString(16)}: ${hex.padEnd(8)}  ${disassemble(bits, address)}`,
    );
  }
  return lines;
}
