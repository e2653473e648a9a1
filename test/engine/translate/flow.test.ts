import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { analyseFlow, successorsOf } from '../../../src/engine/translate/flow.ts';
import { OUTSIDE, type Region } from '../../../src/engine/translate/region.ts';
import { graphs } from './graphs.ts';
import { type Edges, regionOfGraph } from './regions.ts';

const RUNS = { numRuns: 2000 };

/** Blocks that can be reached from some without passing one. */
function reachable(region: Region, from: readonly number[], without = OUTSIDE): Set<number> {
  const seen = new Set<number>();
  const queue = from.filter((block) => block !== without);
  for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
    if (seen.has(block)) continue;
    seen.add(block);
    queue.push(...successorsOf(region, block).filter((successor) => successor !== without));
  }
  return seen;
}

/** By definition: every way from the entry to the one leads through the other. */
function dominates(region: Region, above: number, below: number): boolean {
  return above === below || !reachable(region, [0], above).has(below);
}

/** Undefined for the entry. */
function immediateDominator(region: Region, block: number): number | undefined {
  const above = [...region.blocks.keys()].filter((other) => other !== block && dominates(region, other, block));
  return above.find((one) => above.every((other) => dominates(region, other, one)));
}

const edgesOf = (region: Region): [number, number][] =>
  region.blocks.flatMap((_, from) => successorsOf(region, from).map((to): [number, number] => [from, to]));

/** By definition: T1 and T2 (Hecht and Ullman, 1972) leave one node. */
function isReducible(region: Region): boolean {
  const predecessors = new Map<number, Set<number>>(region.blocks.map((_, block) => [block, new Set()]));
  for (const [from, to] of edgesOf(region)) predecessors.get(to)!.add(from);
  for (let changed = true; changed; ) {
    changed = false;
    for (const [block, its] of predecessors) {
      if (its.delete(block)) changed = true;
      const [only, ...others] = its;
      if (block === 0 || only === undefined || others.length > 0) continue;
      predecessors.delete(block);
      for (const set of predecessors.values()) if (set.delete(block)) set.add(only);
      changed = true;
    }
  }
  return predecessors.size === 1;
}

function property(name: string, holds: (region: Region) => void): void {
  test(name, () => {
    fc.assert(
      fc.property(graphs, (edges: Edges[]) => holds(regionOfGraph(edges))),
      RUNS,
    );
  });
}

property('the order is one of all blocks in which what dominates comes first', (region) => {
  const { order } = analyseFlow(region);
  assert.equal(order[0], 0);
  assert.deepEqual(
    order.toSorted((a, b) => a - b),
    region.blocks.map((_, block) => block),
  );
  for (const above of region.blocks.keys()) {
    for (const below of region.blocks.keys()) {
      if (above !== below && dominates(region, above, below)) assert.ok(order[above]! < order[below]!);
    }
  }
});

property('an edge back is one to what dominates its start', (region) => {
  const flow = analyseFlow(region);
  for (const [from, to] of edgesOf(region)) assert.equal(flow.isBackEdge(from, to), dominates(region, to, from));
});

property(
  'what goes back otherwise is irreducible, and there is such an edge when the graph is irreducible',
  (region) => {
    const flow = analyseFlow(region);
    const irreducible = edgesOf(region).filter(([from, to]) => flow.isIrreducible(from, to));
    for (const [from, to] of irreducible) assert.ok(!flow.isBackEdge(from, to));
    for (const [from, to] of edgesOf(region)) {
      if (flow.order[to]! > flow.order[from]!) continue;
      assert.ok(flow.isBackEdge(from, to) !== flow.isIrreducible(from, to));
    }
    assert.equal(irreducible.length === 0, isReducible(region));
  },
);

property('a loop is what leads back to its start without passing it', (region) => {
  const flow = analyseFlow(region);
  for (const header of region.blocks.keys()) {
    const starts = edgesOf(region).filter(([from, to]) => to === header && dominates(region, header, from));
    assert.equal(flow.isLoopHeader[header], starts.length > 0);
    const loops = flow.loops.filter((loop) => loop.header === header);
    assert.equal(loops.length > 0, starts.length > 0);
    const [outermost] = loops;
    if (outermost === undefined) continue;
    const wanted = [...region.blocks.keys()].filter((block) => {
      if (block === header) return true;
      const from = reachable(region, [block], header);
      return starts.some(([start]) => from.has(start));
    });
    assert.deepEqual(
      [...outermost.blocks].sort((a, b) => a - b),
      wanted,
    );
    for (const [outer, inner] of loops.slice(1).entries()) {
      assert.ok(inner.blocks.has(header) && inner.blocks.isSubsetOf(loops[outer]!.blocks));
      assert.ok(inner.blocks.size < loops[outer]!.blocks.size);
      // It is a loop: all of it leads back to the header within it.
      const back = starts.map(([start]) => start).filter((start) => inner.blocks.has(start));
      assert.ok(back.length > 0);
      for (const block of inner.blocks) {
        const from = reachable(region, [block], header);
        assert.ok(block === header || back.some((start) => from.has(start)));
      }
    }
  }
});

property('the innermost loop of a block is in all others around it', (region) => {
  const { loops, innermostLoop } = analyseFlow(region);
  for (const block of region.blocks.keys()) {
    const around = loops.filter(({ blocks }) => blocks.has(block));
    const innermost = loops[innermostLoop[block]!];
    if (around.length === 0) {
      assert.equal(innermostLoop[block], OUTSIDE);
      continue;
    }
    assert.ok(innermost!.blocks.has(block));
    for (const { blocks } of around) assert.ok(innermost!.blocks.isSubsetOf(blocks));
  }
});

property('a reentry is where irreducible edges lead, and belongs to its immediate dominator', (region) => {
  const flow = analyseFlow(region);
  const irreducible = edgesOf(region).filter(([from, to]) => flow.isIrreducible(from, to));
  for (const [dominator, reentries] of flow.reentries.entries()) {
    const wanted = new Set(
      irreducible.map(([, to]) => to).filter((to) => immediateDominator(region, to) === dominator),
    );
    assert.deepEqual(new Set(reentries), wanted);
    assert.equal(reentries.length, wanted.size);
    // What leads back to it goes through the loop around all that the dominator dominates.
    for (const [from, to] of irreducible) assert.ok(!wanted.has(to) || dominates(region, dominator, from));
  }
});

property('a block that several edges lead forward to is a merge of its immediate dominator', (region) => {
  const flow = analyseFlow(region);
  for (const block of region.blocks.keys()) {
    const forward = edgesOf(region).filter(([from, to]) => to === block && flow.order[from]! < flow.order[to]!);
    const ways = forward.length + (flow.reentries.some((reentries) => reentries.includes(block)) ? 1 : 0);
    assert.equal(flow.isMerge[block], ways > 1);
    const immediate = immediateDominator(region, block);
    for (const [dominator, merges] of flow.merges.entries()) {
      assert.equal(merges.includes(block), ways > 1 && dominator === immediate);
    }
  }
  for (const merges of flow.merges) {
    assert.deepEqual(
      merges,
      merges.toSorted((a, b) => flow.order[b]! - flow.order[a]!),
    );
  }
});
