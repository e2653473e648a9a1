import type { Decoded } from '../../isa/decode.ts';
import { EFFECTS } from './effects.ts';
import { successorsOf } from './flow.ts';
import { decodeBits, type Region } from './region.ts';

/** Sets of registers, bit n for register n: of the integer and of the floating-point file. */
export interface RegisterSet {
  readonly x: number;
  readonly f: number;
}

const NONE: RegisterSet = { x: 0, f: 0 };
export const union = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x | b.x, f: a.f | b.f });
const same = (a: RegisterSet, b: RegisterSet): boolean => a.x === b.x && a.f === b.f;

export function registersRead({ number, operands }: Decoded): RegisterSet {
  const effects = EFFECTS[number]!;
  const source = (n: 1 | 2 | 3, register: number): number => (effects.floatSources & (1 << n) ? 1 << register : 0);
  return {
    x: ((effects.readsRs1 ? 1 << operands.rs1 : 0) | (effects.readsRs2 ? 1 << operands.rs2 : 0)) & ~1,
    f: source(1, operands.rs1) | source(2, operands.rs2) | source(3, operands.rs3),
  };
}

export function registersWritten({ number, operands }: Decoded): RegisterSet {
  const effects = EFFECTS[number]!;
  return {
    x: effects.writesRd ? (1 << operands.rd) & ~1 : 0,
    f: effects.writesFloat ? 1 << operands.rd : 0,
  };
}

/** How a region uses the register files, which it keeps in locals. */
export interface RegisterUse {
  /** Registers that the locals need from memory at the entry. */
  readonly loaded: RegisterSet;
  /** Registers that the region writes anywhere. */
  readonly written: RegisterSet;
  /** By block: registers that may have been written on the way to its start, so that an exit has to store them. */
  readonly changed: readonly RegisterSet[];
}

/**
 * A flow forward over the blocks: registers that some way to a block writes, which exits have to store. All registers that
 * are written anywhere are loaded, so that the one common exit for rare cases can store all of them whatever the way was.
 */
export function analyseRegisters(region: Region): RegisterUse {
  const { blocks } = region;
  const decoded = blocks.map((block) => block.code.map((bits) => decodeBits(bits)!));
  const written = decoded.map((instructions) => instructions.map(registersWritten).reduce(union, NONE));
  const may: RegisterSet[] = blocks.map(() => NONE);
  const queue = blocks.map((_, block) => block);
  for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
    const mayOut = union(may[block]!, written[block]!);
    for (const successor of successorsOf(region, block)) {
      const next = union(may[successor]!, mayOut);
      if (same(next, may[successor]!)) continue;
      may[successor] = next;
      if (!queue.includes(successor)) queue.push(successor);
    }
  }
  const read = decoded.flat().map(registersRead).reduce(union, NONE);
  const all = written.reduce(union, NONE);
  return { loaded: union(read, all), written: all, changed: may };
}
