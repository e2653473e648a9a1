import { directSuccessorsOf, type Flow } from './flow.ts';
import type { AccessGroup, GroupedBlock } from './groups.ts';
import type { Region } from './region.ts';
import { integersRead, integersWritten } from './registers.ts';

/**
 * The reads that a loop follows from turn to turn: their base register comes from what they have read in an earlier one, as a
 * list's next node does, or the place in a table that a checksum looks into.
 */
export function findChains(region: Region, flow: Flow, blocks: readonly GroupedBlock[]): ReadonlySet<AccessGroup> {
  const chains = new Set<AccessGroup>();
  for (const [block, { groups }] of blocks.entries()) {
    const loop = flow.loops[flow.innermostLoop[block]!];
    if (loop === undefined) continue;
    for (const group of new Set(groups)) {
      if (group?.kind === 'read' && isChain(region, blocks, loop.blocks, block, group)) chains.add(group);
    }
  }
  return chains;
}

/** A flow forward over the blocks of a loop, from a group in one of them: registers that are derived from what it has read. */
function isChain(
  region: Region,
  blocks: readonly GroupedBlock[],
  loop: ReadonlySet<number>,
  start: number,
  group: AccessGroup,
): boolean {
  const atStart = new Map<number, number>();
  const queue = [start];
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    const { instructions, groups } = blocks[block]!;
    let derived = atStart.get(block) ?? 0;
    for (const [index, instruction] of instructions.entries()) {
      const isOfGroup = groups[index] === group;
      if (isOfGroup && derived & (1 << group.base)) return true;
      const written = integersWritten(instruction);
      if (isOfGroup || integersRead(instruction) & derived) derived |= written;
      else derived &= ~written;
    }
    for (const next of directSuccessorsOf(region, block)) {
      const before = atStart.get(next);
      const joined = (before ?? 0) | derived;
      if (!loop.has(next) || joined === before) continue;
      atStart.set(next, joined);
      queue.push(next);
    }
  }
  return false;
}
