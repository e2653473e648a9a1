/** The operation byte of a decoded slot: what the interpreter has a handler for, in the order of the handlers. */

import { COMPRESSIBLE, INSTRUCTIONS } from '../isa/decode.ts';
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
  readonly length: 2 | 4;
}

export const HANDLERS: readonly Handler[] = [
  ...INSTRUCTIONS.map((instruction) => ({ instruction, length: 4 }) as const),
  ...COMPRESSIBLE.map((number) => ({ instruction: INSTRUCTIONS[number]!, length: 2 }) as const),
];
const SHORT_HANDLERS = new Map(COMPRESSIBLE.map((number, index) => [number, INSTRUCTIONS.length + index]));

/** The operation byte of a slot for an instruction. */
export function operationOf(number: number, length: 2 | 4): number {
  const handler = length === 4 ? number : SHORT_HANDLERS.get(number);
  if (handler === undefined) throw new Error(`instruction ${number} has no form of ${length} bytes`);
  return FIRST_INSTRUCTION + handler;
}
