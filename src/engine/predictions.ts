import { type FunctionType, type I32, i32, type ModuleBuilder } from '../wasm/index.ts';
import { PREDICTION_BYTES, PREDICTIONS, PREDICTIONS_OFFSET } from './state.ts';

/** `mispredicted`. */
export const MISPREDICTED_TYPE = {
  parameters: ['i32', 'i32', 'i32', 'i32'],
  result: undefined,
} as const satisfies FunctionType;

/** The parts of a prediction (see the engine's state). */
export const PREDICTION = { difference: 0, history: 4 } as const;
/** The difference that no TLB entry has. */
export const NO_PREDICTION = 1;

/** Instructions since the last wrong prediction that are too few to have saved what another one costs: an estimate. */
const SOON = 64;
/** Wrong ones that come so soon until there is no prediction any more. */
const MOST_SOON = 64;
const COUNT_MASK = 0xff;
const COUNT_BITS = 8;

/** Offset in the hart area of the prediction at a number, of which there may be more than places. */
export const predictionOffset = (number: number): number =>
  PREDICTIONS_OFFSET + (number & (PREDICTIONS - 1)) * PREDICTION_BYTES;

/**
 * `mispredicted` (hart, offset of the prediction, difference that was found, instructions left until the next poll): predicts that
 * difference from now on, or nothing if predictions have been wrong too often.
 */
export function defineMispredicted(module: ModuleBuilder): void {
  const reference = module.declare(MISPREDICTED_TYPE.parameters, MISPREDICTED_TYPE.result, 'mispredicted');
  module.define(reference, (code) => {
    const parameter = (index: number): I32 => code.parameter(index, 'i32').get;
    const [hart, offset, difference, remaining] = [parameter(0), parameter(1), parameter(2), parameter(3)];
    const place = code.local('i32', i32.add(hart, offset)).get;
    const before = code.local('i32', i32.load(place, PREDICTION.history)).get;
    const count = code.local('i32', i32.and(before, i32.const(COUNT_MASK)));
    // Both without what is above the bits that are kept: a new chunk of instructions looks like a long time mostly.
    const elapsed = i32.shr_u(
      i32.sub(i32.and(before, i32.const(~COUNT_MASK)), i32.shl(remaining, i32.const(COUNT_BITS))),
      i32.const(COUNT_BITS),
    );
    code.store(4, place, difference, PREDICTION.difference);
    code.if(
      i32.lt_u(elapsed, i32.const(SOON)),
      () => {
        code.set(count, i32.add(count.get, i32.const(1)));
        code.if(i32.ge_u(count.get, i32.const(MOST_SOON)), () =>
          code.store(4, place, i32.const(NO_PREDICTION), PREDICTION.difference),
        );
      },
      () => code.if(count.get, () => code.set(count, i32.sub(count.get, i32.const(1)))),
    );
    code.store(4, place, i32.or(i32.shl(remaining, i32.const(COUNT_BITS)), count.get), PREDICTION.history);
  });
}
