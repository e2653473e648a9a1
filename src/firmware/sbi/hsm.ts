import { failure, HART_STATE, ramAddress, type SbiExtension, SUCCESS, success } from './types.ts';

/** Suspend types (SBI 2.0, table 18). */
const RETENTIVE = 0n;
const NON_RETENTIVE = 0x8000_0000n;

/** Hart state management (SBI 2.0, chapter 9). */
export const HSM: SbiExtension = {
  id: 0x48_534d,
  name: 'HSM',
  functions: [
    {
      id: 0,
      name: 'hart_start',
      handle: ({ args: [hart, pc, opaque], platform }) => {
        if (hart >= BigInt(platform.hartCount)) return failure('INVALID_PARAM');
        const state = platform.hartState(Number(hart));
        if (state === HART_STATE.STARTED || state === HART_STATE.START_PENDING) return failure('ALREADY_AVAILABLE');
        if (state !== HART_STATE.STOPPED) return failure('INVALID_PARAM');
        if (ramAddress(platform, pc, 0n, 2) === undefined) return failure('INVALID_ADDRESS');
        return platform.startHart(Number(hart), { pc, opaque }) ? SUCCESS : failure('ALREADY_AVAILABLE');
      },
    },
    {
      id: 1,
      name: 'hart_stop',
      handle: ({ hart, platform }) => {
        platform.stopHart(hart);
        return undefined;
      },
    },
    {
      id: 2,
      name: 'hart_get_status',
      handle: ({ args: [hart], platform }) =>
        hart >= BigInt(platform.hartCount)
          ? failure('INVALID_PARAM')
          : success(BigInt(platform.hartState(Number(hart)))),
    },
    {
      id: 3,
      name: 'hart_suspend',
      handle: ({ hart, args: [type, pc, opaque], platform }) => {
        // The type is a 32-bit value.
        switch (BigInt.asUintN(32, type)) {
          case RETENTIVE:
            platform.suspendHart(hart);
            return SUCCESS;
          case NON_RETENTIVE:
            if (ramAddress(platform, pc, 0n, 2) === undefined) return failure('INVALID_ADDRESS');
            platform.suspendHart(hart, { pc, opaque });
            return undefined;
          default:
            return failure('INVALID_PARAM');
        }
      },
    },
  ],
};
