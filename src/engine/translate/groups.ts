import type { Decoded } from '../../isa/decode.ts';
import { EFFECTS, type MemoryAccess } from './effects.ts';
import { type Flow, onlyPredecessors } from './flow.ts';
import { instructionsOf, OUTSIDE, type Region } from './region.ts';
import { integersWritten } from './registers.ts';
import { type Stream, streamName } from './streams.ts';

/**
 * Accesses whose addresses differ by constants: same base register, not written in between. One look at the TLB, for the first of
 * them, serves all when they lie on one page. They are in one block, or on ways from it that nothing else leads into.
 */
export interface AccessGroup {
  /** All are reads, or the first one is a write: what may be written may be read. */
  readonly kind: MemoryAccess['kind'];
  readonly base: number;
  /** Offsets from the base register: of the first byte, and of the last one. */
  low: number;
  last: number;
  count: number;
}

/** Bytes that a group may span: accesses that are far apart seldom share a page. */
const MOST_SPAN = 1024;
/** The same where it goes on in another block, which may be executed less often. */
const MOST_SPAN_BEYOND = 256;
/** Groups of writes stand so far behind those of reads by the same register. */
const WRITES = 32;

/** Groups that later accesses may belong to, by kind and base register. */
type OpenGroups = (AccessGroup | undefined)[];

/** Takes an access into a group if it is near enough. */
function join(group: AccessGroup | undefined, first: number, end: number, most: number): boolean {
  if (group === undefined) return false;
  const low = Math.min(first, group.low);
  const last = Math.max(end, group.last);
  if (last - low >= most) return false;
  group.low = low;
  group.last = last;
  group.count++;
  return true;
}

/**
 * For each instruction of a block the group that its access belongs to.
 * @param open groups that were begun before the block; afterwards those that may go on behind it
 */
export function groupAccesses(
  instructions: readonly Decoded[],
  open: OpenGroups = [],
): readonly (AccessGroup | undefined)[] {
  const begun = new Set(open);
  return instructions.map((decoded) => {
    const { access } = EFFECTS[decoded.number]!;
    const { rs1, imm } = decoded.operands;
    let group: AccessGroup | undefined;
    if (access !== undefined) {
      const last = imm + access.bytes - 1;
      const [reads, writes] = [open[rs1], open[rs1 + WRITES]];
      const own = access.kind === 'read' ? reads : writes;
      const covers = (other: AccessGroup | undefined): boolean =>
        other !== undefined && other.low <= imm && other.last >= last;
      // A read belongs to what was written before if that has it already, or if nothing has been read by the base yet.
      if (access.kind === 'read' && !covers(reads) && (covers(writes) || reads === undefined)) {
        if (join(writes, imm, last, MOST_SPAN_BEYOND)) group = writes;
      }
      if (group === undefined && join(own, imm, last, begun.has(own) ? MOST_SPAN_BEYOND : MOST_SPAN)) group = own;
      if (group === undefined) {
        group = { kind: access.kind, base: rs1, low: imm, last, count: 1 };
        open[access.kind === 'read' ? rs1 : rs1 + WRITES] = group;
      }
    }
    const written = integersWritten(decoded);
    if (written !== 0) {
      const register = 31 - Math.clz32(written);
      open[register] = undefined;
      open[register + WRITES] = undefined;
    }
    return group;
  });
}

/** A block's instructions, and for each the group that its access belongs to. */
export interface GroupedBlock {
  readonly instructions: readonly Decoded[];
  readonly groups: readonly (AccessGroup | undefined)[];
  /** Groups of the block that is the only way to it go on in it, and are not looked up again. */
  readonly goesOn: boolean;
}

/**
 * Groups the accesses of a region. If it straddles, groups end with their blocks: they are on one page more often then.
 * @param streams by block: what belongs to one is looked up by the stream's page, in each block anew
 */
export function groupBlocks(
  region: Region,
  flow: Flow,
  streams: readonly ReadonlyMap<string, Stream>[],
): readonly GroupedBlock[] {
  const before = onlyPredecessors(region, flow);
  const behind: OpenGroups[] = [];
  const grouped: GroupedBlock[] = [];
  const instructions = instructionsOf(region);
  for (const block of flow.sequence) {
    const predecessor = region.straddles ? OUTSIDE : before[block]!;
    const isStream = (group: AccessGroup): boolean =>
      streams[predecessor]!.has(streamName(group)) || streams[block]!.has(streamName(group));
    const open: OpenGroups =
      predecessor === OUTSIDE
        ? []
        : behind[predecessor]!.map((group) => (group && isStream(group) ? undefined : group));
    const goesOn = open.some((group) => group !== undefined);
    grouped[block] = { instructions: instructions[block]!, groups: groupAccesses(instructions[block]!, open), goesOn };
    behind[block] = open;
  }
  return grouped;
}
