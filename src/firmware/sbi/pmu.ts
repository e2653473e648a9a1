import { failure, type SbiExtension, type SbiFunction, success } from './types.ts';

/** With no counters there is none that a function could name. */
function noSuchCounter(id: number, name: string): SbiFunction {
  return { id, name, handle: () => failure('INVALID_PARAM') };
}

/**
 * Performance monitoring (SBI 2.0, chapter 11). The platform has no counters to hand out: `cycle`, `time` and
 * `instret` are read directly.
 */
export const PMU: SbiExtension = {
  id: 0x50_4d55,
  name: 'PMU',
  functions: [
    { id: 0, name: 'num_counters', handle: () => success(0n) },
    noSuchCounter(1, 'counter_get_info'),
    noSuchCounter(2, 'counter_config_matching'),
    noSuchCounter(3, 'counter_start'),
    noSuchCounter(4, 'counter_stop'),
    noSuchCounter(5, 'counter_fw_read'),
    noSuchCounter(6, 'counter_fw_read_hi'),
    { id: 7, name: 'snapshot_set_shmem', handle: () => failure('NOT_SUPPORTED') },
  ],
};
