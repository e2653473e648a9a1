import {
  failure,
  type RemoteFence,
  type SbiCall,
  type SbiExtension,
  type SbiResult,
  SUCCESS,
  selectedHarts,
} from './types.ts';

const ALL_ONES = 2n ** 64n - 1n;

/** Remote fences (SBI 2.0, chapter 8). There is no hypervisor extension, so no hfence. */
export const RFENCE: SbiExtension = {
  id: 0x5246_4e43,
  name: 'RFENCE',
  functions: [
    { id: 0, name: 'remote_fence_i', handle: (call) => fence(call, { kind: 'fence.i' }) },
    { id: 1, name: 'remote_sfence_vma', handle: (call) => fence(call, { kind: 'sfence.vma', ...range(call) }) },
    {
      id: 2,
      name: 'remote_sfence_vma_asid',
      handle: (call) => fence(call, { kind: 'sfence.vma', ...range(call), asid: call.args[4] }),
    },
  ],
};

function fence({ args: [mask, base], platform }: SbiCall, what: RemoteFence): SbiResult {
  const harts = selectedHarts(platform, mask, base);
  if (harts === undefined) return failure('INVALID_PARAM');
  platform.remoteFence(harts, what);
  return SUCCESS;
}

/** Start and size both 0, or a size of all ones, mean the whole address space. */
function range({ args: [, , start, size] }: SbiCall): Pick<RemoteFence, 'range'> {
  return (start === 0n && size === 0n) || size === ALL_ONES ? {} : { range: { start, size } };
}
