import { COMPRESSED, type CompressedInstruction, decodeCompressed } from './compressed.ts';
import { INSTRUCTIONS } from './decode.ts';
import { encodeOperands, noOperands, type Operands, operandsOf } from './format.ts';
import type { Instruction } from './instruction.ts';

/** An instruction that can't be written as asked; the message names it and the operand. */
export class EncodeError extends Error {
  override readonly name = 'EncodeError';
}

/** Bits 26 (aq) and 25 (rl) of atomic instructions, by the suffix of their name. */
const ORDERING: Record<string, number> = { '.aqrl': 3 << 25, '.aq': 1 << 26, '.rl': 1 << 25 };

/**
 * The 32-bit word of an instruction. Operands that are not given are 0; `imm` is in bytes for jumps and branches, and
 * for `lui` and `auipc` the whole 32-bit value, of which the low 12 bits are 0. Atomics take the suffixes .aq, .rl and
 * .aqrl.
 * @throws EncodeError if there is no such instruction, or it has no room for an operand
 */
export function encode(name: string, operands: Partial<Operands> = {}): number {
  const { instruction, ordering } = named(name);
  const word = (instruction.match | encodeOperands(instruction.format, operands) | ordering) >>> 0;
  const written = operandsOf(instruction.format, word);
  for (const key of Object.keys(operands) as (keyof Operands)[]) {
    if (written[key] !== operands[key]) throw new EncodeError(`${name} can't have ${key} = ${operands[key]}`);
  }
  if ((word & instruction.mask) >>> 0 !== instruction.match) {
    throw new EncodeError(`${name} does not have all of the operands ${Object.keys(operands).join(', ')}`);
  }
  return word;
}

function named(name: string): { instruction: Instruction; ordering: number } {
  const suffix = /\.(aqrl|aq|rl)$/.exec(name)?.[0] ?? '';
  const plain = name.slice(0, name.length - suffix.length);
  const instruction = INSTRUCTIONS.find((candidate) => candidate.name === plain);
  if (instruction === undefined || (suffix !== '' && instruction.extension !== 'A')) {
    throw new EncodeError(`there is no instruction ${name}`);
  }
  return { instruction, ordering: ORDERING[suffix] ?? 0 };
}

/** For each compressed form, its halfwords by their operands. Made when they are first asked for. */
const halfwords = new Map<CompressedInstruction, Map<string, number>>();

const key = (o: Operands): string => `${o.rd} ${o.rs1} ${o.rs2} ${o.imm}`;

/**
 * The halfword of a compressed instruction with the operands of the instruction that it stands for.
 * @throws EncodeError if there is no such form, or none with these operands
 */
export function encodeCompressed(name: string, operands: Partial<Operands> = {}): number {
  const form = COMPRESSED.find((candidate) => candidate.name === name);
  if (form === undefined) throw new EncodeError(`there is no compressed instruction ${name}`);
  const halfword = formHalfwords(form).get(key({ ...noOperands(), ...operands }));
  if (halfword === undefined) throw new EncodeError(`${name} can't have the operands ${JSON.stringify(operands)}`);
  return halfword;
}

function formHalfwords(form: CompressedInstruction): Map<string, number> {
  let known = halfwords.get(form);
  if (known === undefined) {
    known = new Map();
    const free = ~form.mask & 0xffff;
    // All subsets of the free bits.
    for (let bits = free; ; bits = (bits - 1) & free) {
      const decoded = decodeCompressed(form.match | bits);
      if (decoded?.form === form) known.set(key(decoded.operands), form.match | bits);
      if (bits === 0) break;
    }
    halfwords.set(form, known);
  }
  return known;
}
