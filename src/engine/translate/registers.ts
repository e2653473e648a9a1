import type { Decoded } from '../../isa/decode.ts';
import { EFFECTS } from './effects.ts';
import { directSuccessorsOf, type Flow } from './flow.ts';
import { decodeBits, OUTSIDE, type Region } from './region.ts';

/** Sets of registers, bit n for register n: of the integer and of the floating-point file. */
export interface RegisterSet {
  readonly x: number;
  readonly f: number;
}

const NONE: RegisterSet = { x: 0, f: 0 };
const ALL: RegisterSet = { x: -1, f: -1 };
export const union = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x | b.x, f: a.f | b.f });
const intersection = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x & b.x, f: a.f & b.f });
export const difference = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x & ~b.x, f: a.f & ~b.f });
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
  /** By block: registers whose locals have to be right at its start, as they are read, or stored, before they are written. */
  readonly wanted: readonly RegisterSet[];
  /** Registers whose locals are right everywhere. */
  readonly known: RegisterSet;
  /** Registers that the region writes anywhere. */
  readonly written: RegisterSet;
  /** By block: registers that may have been written on the way to its start and not stored, so that an exit has to. */
  readonly changed: readonly RegisterSet[];
  /** By block: registers that are words at its start. */
  readonly words: readonly number[];
  /** By block: registers that are handed on to it where it is the start of a loop; others are stored. */
  readonly carried: readonly RegisterSet[];
  /** Registers that are stored on some edge. */
  readonly retired: RegisterSet;
}

/**
 * A flow backward over the blocks: registers that are read before they are written.
 * @param stored by block: registers that may be stored at its start
 */
function liveRegisters(
  region: Region,
  decoded: readonly (readonly Decoded[])[],
  stored: readonly RegisterSet[] = [],
): RegisterSet[] {
  const effects = decoded.map((instructions, block) => {
    let read = stored[block] ?? NONE;
    let written = NONE;
    for (const instruction of instructions) {
      read = union(read, difference(registersRead(instruction), written));
      written = union(written, registersWritten(instruction));
    }
    return { read, written };
  });
  const live = effects.map(({ read }) => read);
  for (let changed = true; changed; ) {
    changed = false;
    for (let block = live.length - 1; block >= 0; block--) {
      const { read, written } = effects[block]!;
      const behind = directSuccessorsOf(region, block).map((successor) => live[successor]!);
      const next = union(read, difference(behind.reduce(union, NONE), written));
      if (same(next, live[block]!)) continue;
      live[block] = next;
      changed = true;
    }
  }
  return live;
}

/**
 * A flow forward over the blocks: registers that some way to a block writes, which exits have to store. One backward: what is
 * read, or may have to be stored, on some way before it is written has to be loaded.
 *
 * What a loop writes and its next turn does not read is stored at the end of each turn: a store is cheaper than a value that
 * is carried through the loop for exits only. So it is on the way into the loop, or its exits would need the local all the same.
 * That does not hold for words, which would have to be sign-extended for it. A call stores all, and what is wanted behind it is
 * loaded again.
 * @param words from `findWords`
 */
export function analyseRegisters(region: Region, flow: Flow, words: readonly number[]): RegisterUse {
  const { blocks } = region;
  const decoded = blocks.map((block) => block.code.map((bits) => decodeBits(bits)!));
  const written = decoded.map((instructions) => instructions.map(registersWritten).reduce(union, NONE));
  const changed: RegisterSet[] = blocks.map(() => NONE);
  const carried = liveRegisters(region, decoded).map(({ x, f }, block) => ({ x: x | words[block]!, f }));
  let retired = NONE;
  const queue = blocks.map((_, block) => block);
  for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
    const changedOut = union(changed[block]!, written[block]!);
    for (const successor of directSuccessorsOf(region, block)) {
      let handedOn = changedOut;
      if (flow.isLoopHeader[successor]) {
        handedOn = intersection(changedOut, carried[successor]!);
        retired = union(retired, difference(changedOut, handedOn));
      }
      const next = union(changed[successor]!, handedOn);
      if (same(next, changed[successor]!)) continue;
      changed[successor] = next;
      if (!queue.includes(successor)) queue.push(successor);
    }
  }
  const wanted = liveRegisters(region, decoded, changed);
  const loading = [0, ...blocks.map(({ returns }) => returns).filter((block) => block !== OUTSIDE)];
  const known = difference(loading.map((block) => wanted[block]!).reduce(intersection, ALL), retired);
  return {
    wanted,
    known,
    written: written.reduce(union, NONE),
    changed,
    words: words.map((set, block) => set & wanted[block]!.x),
    carried,
    retired,
  };
}
