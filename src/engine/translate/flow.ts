import { OUTSIDE, type Region } from './region.ts';

/**
 * A loop: what leads back to a block without passing it. The shortest of several ways back is a loop of its own within that of all:
 * in a region that begins in the inner one of two loops, both have the same header.
 */
export interface Loop {
  readonly header: number;
  /** The header included. */
  readonly blocks: ReadonlySet<number>;
}

/**
 * The shape of a region's control flow, as WebAssembly's structured control flow needs it (Ramsey, "Beyond Relooper:
 * Recursive Translation of Unstructured Control Flow to Structured Control Flow", ICFP 2022).
 */
export interface Flow {
  /** The blocks in reverse postorder, and the position of each in it, by block. */
  readonly sequence: readonly number[];
  readonly order: readonly number[];
  /**
   * By block: those that it dominates immediately and that an edge goes back to from where they don't dominate, which is into a loop
   * other than through its start. A loop around all that the block dominates has these edges go back to its end, and on from there.
   */
  readonly reentries: readonly (readonly number[])[];
  /** Blocks that a block dominates immediately and that several edges lead to, last in order first. */
  readonly merges: readonly (readonly number[])[];
  readonly isLoopHeader: readonly boolean[];
  /** Of those with one header, outer ones come first. */
  readonly loops: readonly Loop[];
  /** By block: the smallest loop that it is in, as its place in `loops`; OUTSIDE if it is in none. */
  readonly innermostLoop: readonly number[];
  /** True if several edges, not counting those back to a loop's start, lead to the block; those of a reentry are one. */
  readonly isMerge: readonly boolean[];
  /** An edge that leads back to the header of a loop that the block is in. */
  isBackEdge(from: number, to: number): boolean;
  /** The loop that such an edge is of: the smallest one that has both ends; its place in `loops`. */
  loopOf(from: number, to: number): number;
  /** An edge that goes back and leads into a loop other than through its start: to a reentry. */
  isIrreducible(from: number, to: number): boolean;
}

export function successorsOf(region: Region, block: number): number[] {
  const { returns } = region.blocks[block]!;
  const direct = directSuccessorsOf(region, block);
  return returns === OUTSIDE ? direct : [...direct, returns];
}

/** Successors that the locals are handed on to: not the one behind a call. */
export function directSuccessorsOf(region: Region, block: number): number[] {
  const { taken, next, likely } = region.blocks[block]!;
  return [taken, next, ...likely].filter((successor) => successor !== OUTSIDE);
}

export function analyseFlow(region: Region): Flow {
  const count = region.blocks.length;
  const successors = region.blocks.map((_, block) => successorsOf(region, block));
  const sequence = reversePostorder(successors);
  const order = new Array<number>(count).fill(OUTSIDE);
  for (const [position, block] of sequence.entries()) order[block] = position;
  const isRetreating = (from: number, to: number): boolean => order[to]! <= order[from]!;

  const predecessors: number[][] = region.blocks.map(() => []);
  for (const from of sequence) for (const to of successors[from]!) predecessors[to]!.push(from);
  const dominator = immediateDominators(sequence, order, predecessors);
  const dominates = (above: number, below: number): boolean => {
    let block = below;
    while (order[block]! > order[above]!) block = dominator[block]!;
    return block === above;
  };

  const loops: Loop[] = [];
  const isLoopHeader = new Array<boolean>(count).fill(false);
  const forwardEdges = new Array<number>(count).fill(0);
  const isBackEdge = (from: number, to: number): boolean => isRetreating(from, to) && dominates(to, from);
  const isIrreducible = (from: number, to: number): boolean => isRetreating(from, to) && !dominates(to, from);
  const reentries: number[][] = region.blocks.map(() => []);
  for (const from of sequence) {
    for (const to of successors[from]!) if (!isRetreating(from, to)) forwardEdges[to]!++;
    if (!predecessors[from]!.some((before) => isIrreducible(before, from))) continue;
    reentries[dominator[from]!]!.push(from);
    forwardEdges[from]!++;
  }
  for (const header of sequence) {
    const starts = new Set(predecessors[header]!.filter((from) => isBackEdge(from, header)));
    if (starts.size === 0) continue;
    isLoopHeader[header] = true;
    for (const blocks of nested([...starts].map((from) => collectLoop(header, from, predecessors)))) {
      loops.push({ header, blocks });
    }
  }
  const isMerge = forwardEdges.map((edges) => edges > 1);
  const merges: number[][] = region.blocks.map(() => []);
  // Later blocks come first: their labels are further out.
  for (const block of sequence.toReversed()) {
    if (isMerge[block]) merges[dominator[block]!]!.push(block);
  }
  return {
    sequence,
    order,
    reentries,
    merges,
    isLoopHeader,
    loops,
    innermostLoop: region.blocks.map((_, block) => innermost(loops, block)),
    isMerge,
    isBackEdge,
    loopOf: (from, to) => loops.findLastIndex(({ header, blocks }) => header === to && blocks.has(from)),
    isIrreducible,
  };
}

/** By block: the one that all ways to it come from, directly and with the registers as they are at its end; OUTSIDE: there is none. */
export function onlyPredecessors(region: Region, flow: Flow): number[] {
  const found = region.blocks.map(() => OUTSIDE);
  for (const block of region.blocks.keys()) {
    for (const successor of directSuccessorsOf(region, block)) {
      if (!flow.isMerge[successor] && !flow.isLoopHeader[successor]) found[successor] = block;
    }
  }
  return found;
}

/** The blocks from which an edge back to a loop's header can be reached without passing that. */
function collectLoop(header: number, from: number, predecessors: readonly (readonly number[])[]): Set<number> {
  const loop = new Set([header]);
  const queue = [from];
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    if (loop.has(block)) continue;
    loop.add(block);
    queue.push(...predecessors[block]!);
  }
  return loop;
}

/** The most loops with one header that are told apart. */
const MOST_NESTED = 3;

/** Sets of blocks of which each one is within the one before, from loops of one header: the smallest one is innermost. */
function nested(loops: readonly Set<number>[]): Set<number>[] {
  const levels: Set<number>[] = [];
  for (const loop of loops.toSorted((a, b) => a.size - b.size)) {
    const outer = levels[0] ?? new Set();
    if (loop.isSubsetOf(outer)) continue;
    if (levels.length === MOST_NESTED) levels.shift();
    levels.unshift(outer.union(loop));
  }
  return levels;
}

function innermost(loops: readonly Loop[], block: number): number {
  let smallest = OUTSIDE;
  for (const [place, { blocks }] of loops.entries()) {
    if (blocks.has(block) && (smallest === OUTSIDE || blocks.size < loops[smallest]!.blocks.size)) smallest = place;
  }
  return smallest;
}

function reversePostorder(successors: readonly (readonly number[])[]): number[] {
  const visited = new Set([0]);
  const postorder: number[] = [];
  const stack = [{ block: 0, at: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const next = successors[top.block]![top.at++];
    if (next === undefined) {
      postorder.push(top.block);
      stack.pop();
    } else if (!visited.has(next)) {
      visited.add(next);
      stack.push({ block: next, at: 0 });
    }
  }
  return postorder.reverse();
}

/** Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm". The entry is its own dominator. */
function immediateDominators(
  sequence: readonly number[],
  order: readonly number[],
  predecessors: readonly (readonly number[])[],
): number[] {
  const dominator = new Array<number>(predecessors.length).fill(OUTSIDE);
  dominator[0] = 0;
  const meet = (a: number, b: number): number => {
    let x = a;
    let y = b;
    while (x !== y) {
      while (order[x]! > order[y]!) x = dominator[x]!;
      while (order[y]! > order[x]!) y = dominator[y]!;
    }
    return x;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of sequence.slice(1)) {
      let found = OUTSIDE;
      for (const predecessor of predecessors[block]!) {
        if (dominator[predecessor] === OUTSIDE) continue;
        found = found === OUTSIDE ? predecessor : meet(predecessor, found);
      }
      if (dominator[block] !== found) {
        dominator[block] = found;
        changed = true;
      }
    }
  }
  return dominator;
}
