import { failure, type SbiExtension, SUCCESS, selectedHarts } from './types.ts';

/** Inter-processor interrupt extension (SBI 2.0, chapter 7). */
export const IPI: SbiExtension = {
  id: 0x73_5049,
  name: 'IPI',
  functions: [
    {
      id: 0,
      name: 'send_ipi',
      handle: ({ args: [mask, base], platform }) => {
        const harts = selectedHarts(platform, mask, base);
        if (harts === undefined) return failure('INVALID_PARAM');
        for (const hart of harts) platform.sendIpi(hart);
        return SUCCESS;
      },
    },
  ],
};
