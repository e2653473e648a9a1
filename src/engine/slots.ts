/** The operation byte of a decoded slot: what the interpreter has a handler for, in the order of the handlers. */

import { COMPRESSIBLE, INSTRUCTIONS, instructionNumber } from '../isa/decode.ts';
import type { Instruction } from '../isa/instruction.ts';

/** Operations of a decoded slot that are no instruction. */
export const SLOT = {
  /** Not decoded yet. */
  undecoded: 0,
  /** Behind the last halfword of a block. */
  blockEnd: 1,
  /** A 32-bit instruction whose second half is on the next page. */
  crossing: 2,
  illegal: 3,
  /** An instruction that only writes rd, with rd = x0. */
  nop2: 4,
  nop4: 5,
  /** The entry of a translated region. */
  translated: 6,
} as const;

export const FIRST_INSTRUCTION = 7;

/** One handler of the interpreter: an instruction with its length. */
export interface Handler {
  readonly instruction: Instruction;
  /** Index of the instruction. */
  readonly number: number;
  readonly length: 2 | 4;
}

export const HANDLERS: readonly Handler[] = [
  ...INSTRUCTIONS.map((instruction, number) => ({ instruction, number, length: 4 }) as const),
  ...COMPRESSIBLE.map((number) => ({ instruction: INSTRUCTIONS[number]!, number, length: 2 }) as const),
];
const SHORT_HANDLERS = new Map(COMPRESSIBLE.map((number, index) => [number, INSTRUCTIONS.length + index]));

/** Two instructions, one behind the other, that one handler executes: the way from one to the next is much of what they cost. */
export interface Pair {
  readonly first: Handler;
  readonly second: Handler;
}

/**
 * The most frequent pairs in what a booting kernel executes for the first time, as many as a byte has room for: a quarter of
 * it. Names with `c.` in front are of 2 bytes. The first one of a pair always goes on to the second.
 */
const PAIR_NAMES = [
  ['c.ld', 'c.ld'],
  ['c.sd', 'c.sd'],
  ['auipc', 'jalr'],
  ['auipc', 'addi'],
  ['c.add', 'c.add'],
  ['addi', 'addi'],
  ['c.addi', 'c.sd'],
  ['c.ld', 'c.addi'],
  ['addi', 'c.addi'],
  ['c.add', 'auipc'],
  ['c.addi', 'c.jalr'],
  ['c.sd', 'c.addi'],
  ['addi', 'auipc'],
  ['sd', 'sd'],
  ['c.addi', 'c.addi'],
  ['c.addi', 'auipc'],
  ['c.addi', 'c.add'],
  ['c.add', 'c.ld'],
  ['ld', 'ld'],
  ['c.ld', 'c.add'],
  ['addi', 'c.add'],
  ['sd', 'jalr'],
] as const;

function handlerOf(name: string): Handler {
  const length = name.startsWith('c.') ? 2 : 4;
  return HANDLERS[handlerNumber(instructionNumber(name.replace('c.', '')), length)]!;
}

export const PAIRS: readonly Pair[] = PAIR_NAMES.map(([first, second]) => ({
  first: handlerOf(first),
  second: handlerOf(second),
}));
const FIRST_PAIR = FIRST_INSTRUCTION + HANDLERS.length;
/** Operation bytes that there can be. */
export const OPERATIONS = 256;

/** By the operations of two slots, the first one times OPERATIONS: the operation of the first slot as that of a pair, or 0. */
const PAIRED = new Uint8Array(OPERATIONS * OPERATIONS);
/** By operation: that of the first instruction, when it is one of a pair; otherwise the same. */
const ALONE = Uint8Array.from({ length: OPERATIONS }, (_, operation) => operation);
for (const [index, { first, second }] of PAIRS.entries()) {
  const operation = operationOf(first.number, first.length);
  PAIRED[operation * OPERATIONS + operationOf(second.number, second.length)] = FIRST_PAIR + index;
  ALONE[FIRST_PAIR + index] = operation;
}

/** The operation of a slot as the first of two, given both operations by themselves; 0 if they are no pair. */
export const pairOperation = (first: number, second: number): number => PAIRED[first * OPERATIONS + second]!;

/** The operation of a slot by itself. */
export const aloneOperation = (operation: number): number => ALONE[operation]!;

/** The operation byte of a slot for an instruction. */
export function operationOf(number: number, length: 2 | 4): number {
  return FIRST_INSTRUCTION + handlerNumber(number, length);
}

function handlerNumber(number: number, length: 2 | 4): number {
  const handler = length === 4 ? number : SHORT_HANDLERS.get(number);
  if (handler === undefined) throw new Error(`instruction ${number} has no form of ${length} bytes`);
  return handler;
}
