import { ATOMIC } from './atomic.ts';
import { BASE, MULTIPLY } from './base.ts';
import { BITMANIP } from './bitmanip.ts';
import { COMPRESSED, decodeCompressed } from './compressed.ts';
import { FLOAT } from './float.ts';
import { type Operands, operandsOf } from './format.ts';
import type { Instruction } from './instruction.ts';
import { SYSTEM_INSTRUCTIONS } from './system.ts';

/** All instructions of 32 bits. An instruction's place in this list is its number in decoded code. */
export const INSTRUCTIONS: readonly Instruction[] = [
  ...BASE,
  ...MULTIPLY,
  ...ATOMIC,
  ...FLOAT,
  ...BITMANIP,
  ...SYSTEM_INSTRUCTIONS,
];

const BY_NAME = new Map(INSTRUCTIONS.map((instruction, index) => [instruction.name, index]));

export function instructionNumber(name: string): number {
  const index = BY_NAME.get(name);
  if (index === undefined) throw new Error(`no instruction is named ${name}`);
  return index;
}

/** Major opcode and funct3 (bits 2 to 6, 12 to 14) as one number of 8 bits. */
const group = (bits: number): number => ((bits >>> 2) & 31) | ((bits >>> 7) & 0xe0);

/** Candidates by that number; within one, narrower masks come first. */
const BY_GROUP: readonly (readonly number[])[] = instructionsByGroup();

function instructionsByGroup(): number[][] {
  const groups: number[][] = Array.from({ length: 256 }, () => []);
  for (const [index, { mask, match }] of INSTRUCTIONS.entries()) {
    const free = ~group(mask) & 0xff;
    // Its own number with each subset of the bits that the mask leaves free.
    for (let subset = free; ; subset = (subset - 1) & free) {
      groups[group(match) | subset]!.push(index);
      if (subset === 0) break;
    }
  }
  const widths = INSTRUCTIONS.map(({ mask }) => population(mask));
  for (const each of groups) each.sort((a, b) => widths[b]! - widths[a]!);
  return groups;
}

/** Numbers of the instructions that some compressed form stands for: these also exist with a length of 2. */
export const COMPRESSIBLE: readonly number[] = [
  ...new Set(COMPRESSED.map((form) => instructionNumber(form.expandsTo))),
];

export interface Decoded {
  /** Index into INSTRUCTIONS. */
  readonly number: number;
  readonly length: 2 | 4;
  readonly operands: Operands;
  /** The name as written in assembly: that of the compressed form where it is one. */
  readonly name: string;
}

/** True if the halfword at an address is a whole instruction (unprivileged specification, 1.5). */
export const isCompressed = (halfword: number): boolean => (halfword & 3) !== 3;

/**
 * Decodes the instruction at the start of `bits`: 32 bits of which the upper half is not looked at when the lower one
 * is a compressed instruction. Undefined: no instruction of ours.
 */
export function decode(bits: number): Decoded | undefined {
  if (isCompressed(bits)) {
    const found = decodeCompressed(bits & 0xffff);
    if (found === undefined) return undefined;
    const { form, operands } = found;
    return { number: instructionNumber(form.expandsTo), length: 2, operands, name: form.name };
  }
  const number = wordNumber(bits);
  if (number === undefined) return undefined;
  const { format, name } = INSTRUCTIONS[number]!;
  return { number, length: 4, operands: operandsOf(format, bits), name };
}

/** By number of instruction, as signed numbers: V8 makes an object of each one that is not. */
const MASKS = Int32Array.from(INSTRUCTIONS, ({ mask }) => mask | 0);
const MATCHES = Int32Array.from(INSTRUCTIONS, ({ match }) => match | 0);

/** The number of an instruction of 32 bits, by its bits. Undefined: no instruction of ours. */
export function wordNumber(bits: number): number | undefined {
  for (const number of BY_GROUP[group(bits)]!) {
    if ((bits & MASKS[number]!) === MATCHES[number]) return number;
  }
  return undefined;
}

function population(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
