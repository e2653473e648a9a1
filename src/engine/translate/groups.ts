import type { Decoded } from '../../isa/decode.ts';
import { EFFECTS, type MemoryAccess } from './effects.ts';
import { instructionsOf, type Region } from './region.ts';
import { integersWritten } from './registers.ts';

/**
 * Accesses of a block, all reads or all writes, whose addresses differ by constants: same base register, not written in
 * between. One look at the TLB serves all of them when they lie on one page.
 */
export interface AccessGroup {
  readonly kind: MemoryAccess['kind'];
  readonly base: number;
  /** Offsets from the base register: of the first byte, and of the last one. */
  low: number;
  last: number;
  count: number;
}

/** Bytes that a group may span: accesses that are far apart seldom share a page. */
const MOST_SPAN = 1024;

/** For each instruction of a block the group that its access belongs to. */
export function groupAccesses(instructions: readonly Decoded[]): readonly (AccessGroup | undefined)[] {
  // By base register, writes 32 behind reads.
  const open: (AccessGroup | undefined)[] = [];
  return instructions.map((decoded) => {
    const { access } = EFFECTS[decoded.number]!;
    const { rs1, imm } = decoded.operands;
    let group: AccessGroup | undefined;
    if (access !== undefined) {
      const place = access.kind === 'read' ? rs1 : rs1 + 32;
      group = open[place];
      const low = Math.min(imm, group?.low ?? imm);
      const last = Math.max(imm + access.bytes - 1, group?.last ?? imm);
      if (group === undefined || last - low >= MOST_SPAN) {
        group = { kind: access.kind, base: rs1, low: imm, last: imm + access.bytes - 1, count: 1 };
        open[place] = group;
      } else {
        group.low = low;
        group.last = last;
        group.count++;
      }
    }
    const written = integersWritten(decoded);
    if (written !== 0) {
      const register = 31 - Math.clz32(written);
      open[register] = undefined;
      open[register + 32] = undefined;
    }
    return group;
  });
}

/** A block's instructions, and for each the group that its access belongs to. */
export interface GroupedBlock {
  readonly instructions: readonly Decoded[];
  readonly groups: readonly (AccessGroup | undefined)[];
}

export const groupBlocks = (region: Region): readonly GroupedBlock[] =>
  instructionsOf(region).map((instructions) => ({ instructions, groups: groupAccesses(instructions) }));
