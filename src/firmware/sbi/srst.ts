import { failure, type ResetType, type SbiExtension } from './types.ts';

const TYPES: readonly ResetType[] = ['shutdown', 'cold reboot', 'warm reboot'];
/** Reset reasons: none, system failure. */
const REASONS = 2;

/** System reset (SBI 2.0, chapter 10). */
export const SRST: SbiExtension = {
  id: 0x5352_5354,
  name: 'SRST',
  functions: [
    {
      id: 0,
      name: 'system_reset',
      handle: ({ args: [type, reason], platform }) => {
        const named = TYPES[Number(BigInt.asUintN(32, type))];
        const why = Number(BigInt.asUintN(32, reason));
        if (named === undefined || why >= REASONS) return failure('INVALID_PARAM');
        platform.reset(named, why === 1);
        return undefined;
      },
    },
  ],
};
