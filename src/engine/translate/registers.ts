import type { Decoded } from '../../isa/decode.ts';
import { EFFECTS } from './effects.ts';
import { directSuccessorsOf, type Flow } from './flow.ts';
import { instructionsOf, OUTSIDE, type Region } from './region.ts';

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

/** Of the integer registers only, which are most of it: without an object. */
export function integersRead({ number, operands }: Decoded): number {
  const { readsRs1, readsRs2 } = EFFECTS[number]!;
  return ((readsRs1 ? 1 << operands.rs1 : 0) | (readsRs2 ? 1 << operands.rs2 : 0)) & ~1;
}

export const integersWritten = ({ number, operands }: Decoded): number =>
  EFFECTS[number]!.writesRd ? (1 << operands.rd) & ~1 : 0;

function floatsRead({ number, operands }: Decoded): number {
  const { floatSources } = EFFECTS[number]!;
  if (floatSources === 0) return 0;
  const source = (n: 1 | 2 | 3, register: number): number => (floatSources & (1 << n) ? 1 << register : 0);
  return source(1, operands.rs1) | source(2, operands.rs2) | source(3, operands.rs3);
}

const floatsWritten = ({ number, operands }: Decoded): number => (EFFECTS[number]!.writesFloat ? 1 << operands.rd : 0);

export const registersRead = (decoded: Decoded): RegisterSet => ({ x: integersRead(decoded), f: floatsRead(decoded) });

export const registersWritten = (decoded: Decoded): RegisterSet => ({
  x: integersWritten(decoded),
  f: floatsWritten(decoded),
});

/** What a block does with registers. */
interface BlockEffects {
  /** Registers that are read before they are written. */
  readonly read: RegisterSet;
  readonly written: RegisterSet;
}

function blockEffects(instructions: readonly Decoded[]): BlockEffects {
  const read = { x: 0, f: 0 };
  const written = { x: 0, f: 0 };
  for (const instruction of instructions) {
    read.x |= integersRead(instruction) & ~written.x;
    read.f |= floatsRead(instruction) & ~written.f;
    written.x |= integersWritten(instruction);
    written.f |= floatsWritten(instruction);
  }
  return { read, written };
}

/** How a region uses the register files, which it keeps in locals. */
export interface RegisterUse {
  /** By block: registers whose locals have to be right at its start, as they are read, or stored, before they are written. */
  readonly wanted: readonly RegisterSet[];
  /** Registers whose locals are right everywhere. */
  readonly known: RegisterSet;
  /** Registers that the region reads or writes anywhere, and those that it writes. */
  readonly used: RegisterSet;
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
  successors: readonly (readonly number[])[],
  effects: readonly BlockEffects[],
  stored: readonly RegisterSet[] = [],
): RegisterSet[] {
  const first = effects.map(({ read }, block) => union(read, stored[block] ?? NONE));
  const live = [...first];
  for (let changed = true; changed; ) {
    changed = false;
    for (let block = live.length - 1; block >= 0; block--) {
      let behind = NONE;
      for (const successor of successors[block]!) behind = union(behind, live[successor]!);
      const next = union(first[block]!, difference(behind, effects[block]!.written));
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
  const effects = instructionsOf(region).map(blockEffects);
  const successors = blocks.map((_, block) => directSuccessorsOf(region, block));
  const changed: RegisterSet[] = blocks.map(() => NONE);
  const carried = liveRegisters(successors, effects).map(({ x, f }, block) => ({ x: x | words[block]!, f }));
  let retired = NONE;
  const queue = blocks.map((_, block) => block);
  for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
    const changedOut = union(changed[block]!, effects[block]!.written);
    for (const successor of successors[block]!) {
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
  const wanted = liveRegisters(successors, effects, changed);
  const loading = [0, ...blocks.map(({ returns }) => returns).filter((block) => block !== OUTSIDE)];
  const known = difference(loading.map((block) => wanted[block]!).reduce(intersection, ALL), retired);
  return {
    wanted,
    known,
    used: effects.map(({ read, written }) => union(read, written)).reduce(union, NONE),
    written: effects.map(({ written }) => written).reduce(union, NONE),
    changed,
    words: words.map((set, block) => set & wanted[block]!.x),
    carried,
    retired,
  };
}
