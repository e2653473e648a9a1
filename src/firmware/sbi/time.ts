import { type SbiExtension, SUCCESS } from './types.ts';

/** Timer extension (SBI 2.0, chapter 6). */
export const TIME: SbiExtension = {
  id: 0x5449_4d45,
  name: 'TIME',
  functions: [
    {
      id: 0,
      name: 'set_timer',
      handle: ({ hart, args: [deadline], platform }) => {
        platform.setTimer(hart, deadline);
        return SUCCESS;
      },
    },
  ],
};
