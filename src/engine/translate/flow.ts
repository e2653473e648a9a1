import { OUTSIDE, type Region } from './region.ts';

/**
 * The shape of a region's control flow, as WebAssembly's structured control flow needs it (Ramsey, "Beyond Relooper:
 * Recursive Translation of Unstructured Control Flow to Structured Control Flow", ICFP 2022).
 */
export interface Flow {
  /** Position of a block in reverse postorder, by block. */
  readonly order: readonly number[];
  /** Blocks that a block dominates immediately and that several edges lead to, last in order first. */
  readonly merges: readonly (readonly number[])[];
  readonly isLoopHeader: readonly boolean[];
  /** By start of a loop: the blocks in it. */
  readonly loops: ReadonlyMap<number, ReadonlySet<number>>;
  /** By block: the start of the smallest loop that it is in; OUTSIDE if it is in none. */
  readonly innermostLoop: readonly number[];
  /** True if several edges, not counting those back to a loop's start, lead to the block. */
  readonly isMerge: readonly boolean[];
  /** An edge that leads back to the start of a loop that the block is in. */
  isBackEdge(from: number, to: number): boolean;
  /** An edge into a loop other than through its start: it can't be expressed, and has to leave the region. */
  isIrreducible(from: number, to: number): boolean;
}

export function successorsOf(region: Region, block: number): number[] {
  const { taken, next, likely } = region.blocks[block]!;
  return [taken, next, likely].filter((successor) => successor !== OUTSIDE);
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

  const loops = new Map<number, Set<number>>();
  const isLoopHeader = new Array<boolean>(count).fill(false);
  const forwardEdges = new Array<number>(count).fill(0);
  for (const from of sequence) {
    for (const to of successors[from]!) {
      if (!isRetreating(from, to)) forwardEdges[to]!++;
      else if (dominates(to, from)) {
        isLoopHeader[to] = true;
        const loop = loops.get(to) ?? new Set([to]);
        loops.set(to, loop);
        collectLoop(loop, from, predecessors);
      }
    }
  }
  const isMerge = forwardEdges.map((edges) => edges > 1);
  const merges: number[][] = region.blocks.map(() => []);
  // Later blocks come first: their labels are further out.
  for (const block of sequence.toReversed()) {
    if (isMerge[block]) merges[dominator[block]!]!.push(block);
  }
  return {
    order,
    merges,
    isLoopHeader,
    loops,
    innermostLoop: region.blocks.map((_, block) => innermost(loops, block)),
    isMerge,
    isBackEdge: (from, to) => isRetreating(from, to) && dominates(to, from),
    isIrreducible: (from, to) => isRetreating(from, to) && !dominates(to, from),
  };
}

/** Adds the blocks from which an edge back to the loop's start can be reached without passing that. */
function collectLoop(loop: Set<number>, from: number, predecessors: readonly (readonly number[])[]): void {
  const queue = [from];
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    if (loop.has(block)) continue;
    loop.add(block);
    queue.push(...predecessors[block]!);
  }
}

function innermost(loops: ReadonlyMap<number, ReadonlySet<number>>, block: number): number {
  let smallest = OUTSIDE;
  for (const [header, loop] of loops) {
    if (loop.has(block) && (smallest === OUTSIDE || loop.size < loops.get(smallest)!.size)) smallest = header;
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
