/** Regions for tests, of code and of graphs. */

import { discover, type TargetReader } from '../../../src/engine/translate/discover.ts';
import { OUTSIDE, type Region, type RegionBlock } from '../../../src/engine/translate/region.ts';
import { encode } from '../../../src/isa/encode.ts';
import { type Assembler, assemble } from '../assembler.ts';

/** Reads code that has all been executed, but for the instructions at some offsets. */
export function readerOf(
  code: Uint8Array,
  isExecuted: (offset: number) => boolean = () => true,
): (offset: number) => number | undefined {
  const view = new DataView(code.buffer);
  return (offset) => {
    if (offset < 0 || offset + 2 > code.length || !isExecuted(offset)) return undefined;
    const low = view.getUint16(offset, true);
    if ((low & 3) !== 3) return low;
    return offset + 4 > code.length ? undefined : view.getUint32(offset, true);
  };
}

/** The region at the start of some code. */
export function regionOf(
  write: (a: Assembler) => void,
  isExecuted?: (offset: number) => boolean,
  targetsOf?: TargetReader,
): Region | undefined {
  return discover(readerOf(assemble(write), isExecuted), targetsOf);
}

/** Blocks of a region as "offset: taken next likely" and, if there is one, "behind" a call: each the offset of a block, or nothing. */
export function shapeOf({ blocks }: Region): string[] {
  const name = (block: number): string => (block === OUTSIDE ? '-' : `${blocks[block]!.offset}`);
  const behind = ({ returns }: RegionBlock): string => (returns === OUTSIDE ? '' : ` behind ${name(returns)}`);
  return blocks.map(
    (b) => `${b.offset}: ${name(b.taken)} ${name(b.next)} ${b.likely.map(name).join() || '-'}${behind(b)}`,
  );
}

const NOP = encode('addi');

/** Successors of a block: OUTSIDE or the number of a block. */
export type Edges = Pick<RegionBlock, 'taken' | 'next' | 'likely' | 'returns'>;

/** A region with blocks of the given edges, without those that the first one does not lead to. */
export function regionOfGraph(
  edges: readonly Edges[],
  codeOf: (block: number) => readonly number[] = () => [NOP],
): Region {
  const numbers = new Map([[0, 0]]);
  const sequence = [0];
  const number = (block: number): number => {
    if (block === OUTSIDE) return OUTSIDE;
    if (!numbers.has(block)) {
      numbers.set(block, sequence.length);
      sequence.push(block);
    }
    return numbers.get(block)!;
  };
  const blocks: RegionBlock[] = [];
  for (const block of sequence) {
    const { taken, next, likely, returns } = edges[block]!;
    blocks.push({
      offset: block * 64,
      code: codeOf(block),
      taken: number(taken),
      next: number(next),
      likely: likely.map(number),
      returns: number(returns),
    });
  }
  return { blocks, straddles: false };
}
