import fc from 'fast-check';
import { OUTSIDE } from '../../../src/engine/translate/region.ts';
import type { Edges } from './regions.ts';

const MOST_BLOCKS = 12;

/** Control flow of up to a dozen blocks, with all that jumps can do to it. */
export const graphs: fc.Arbitrary<Edges[]> = fc.integer({ min: 1, max: MOST_BLOCKS }).chain((count) => {
  const block = fc.oneof({ weight: 1, arbitrary: fc.constant(OUTSIDE) }, { weight: 5, arbitrary: fc.nat(count - 1) });
  const calls = fc.oneof({ weight: 5, arbitrary: fc.constant(OUTSIDE) }, { weight: 1, arbitrary: fc.nat(count - 1) });
  return fc.array(
    fc.record({ taken: block, next: block, returns: calls, likely: fc.array(fc.nat(count - 1), { maxLength: 3 }) }),
    {
      minLength: count,
      maxLength: count,
    },
  );
});
