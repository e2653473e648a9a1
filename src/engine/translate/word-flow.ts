import type { Decoded } from '../../isa/decode.ts';
import { directSuccessorsOf } from './flow.ts';
import { instructionsOf, OUTSIDE, type Region } from './region.ts';
import { integersRead, integersWritten } from './registers.ts';
import { wordKind } from './word-kinds.ts';

/** What is known of the integer registers at some place: sets, bit n for register n, that have nothing in common. */
interface Known {
  /** The translator has them as 32-bit values of which they are the sign extensions. */
  readonly words: number;
  /** They are such, and it has all of their 64 bits: constants. */
  readonly short: number;
}

const NOTHING: Known = { words: 0, short: 0 };

/** Where several ways meet: what is a word on one, and short on the others, is made a word there. */
function meet(a: Known, b: Known): Known {
  const fits = (a.words | a.short) & (b.words | b.short);
  const words = fits & (a.words | b.words);
  return { words, short: fits & ~words };
}

function after({ words, short }: Known, decoded: Decoded): Known {
  const written = integersWritten(decoded);
  if (written === 0) return { words, short };
  const kind = wordKind(decoded);
  const isConstant = kind === 'constant';
  const isWord = kind === 'always' || (kind === 'of words' && (integersRead(decoded) & ~(words | short)) === 0);
  return {
    words: isWord ? words | written : words & ~written,
    short: isConstant ? short | written : short & ~written,
  };
}

/**
 * A flow forward over the blocks of a region: registers that are words at the start of each block, whichever way led there. Only
 * those that are wanted there need to be.
 */
export function findWords(region: Region): readonly number[] {
  const { blocks } = region;
  const code = instructionsOf(region);
  // Undefined: no way to it has been seen. Where the locals are loaded nothing is known of them.
  const before: (Known | undefined)[] = blocks.map(() => undefined);
  before[0] = NOTHING;
  for (const { returns } of blocks) if (returns !== OUTSIDE) before[returns] = NOTHING;
  const queue = blocks.map((_, block) => block).filter((block) => before[block] !== undefined);
  for (let block = queue.shift(); block !== undefined; block = queue.shift()) {
    const known = code[block]!.reduce(after, before[block]!);
    for (const successor of directSuccessorsOf(region, block)) {
      const earlier = before[successor];
      const now = earlier === undefined ? known : meet(earlier, known);
      if (earlier !== undefined && now.words === earlier.words && now.short === earlier.short) continue;
      before[successor] = now;
      if (!queue.includes(successor)) queue.push(successor);
    }
  }
  return before.map((known) => known?.words ?? 0);
}
