import { type SbiExtension, success } from './types.ts';

/** SBI 2.0: major in bits 24 to 30, minor below. */
const SPECIFICATION_VERSION = 2n << 24n;
/** Not in the registry of implementations: "BLN" in ASCII. */
const IMPLEMENTATION_ID = 0x42_4c4en;
const IMPLEMENTATION_VERSION = 1n;

/** Base extension (SBI 2.0, chapter 4). */
export const BASE: SbiExtension = {
  id: 0x10,
  name: 'BASE',
  functions: [
    { id: 0, name: 'get_spec_version', handle: () => success(SPECIFICATION_VERSION) },
    { id: 1, name: 'get_impl_id', handle: () => success(IMPLEMENTATION_ID) },
    { id: 2, name: 'get_impl_version', handle: () => success(IMPLEMENTATION_VERSION) },
    {
      id: 3,
      name: 'probe_extension',
      handle: ({ args: [extension], probe }) => success(probe(Number(BigInt.asUintN(32, extension))) ? 1n : 0n),
    },
    { id: 4, name: 'get_mvendorid', handle: ({ platform }) => success(platform.machineIds?.vendor ?? 0n) },
    { id: 5, name: 'get_marchid', handle: ({ platform }) => success(platform.machineIds?.architecture ?? 0n) },
    { id: 6, name: 'get_mimpid', handle: ({ platform }) => success(platform.machineIds?.implementation ?? 0n) },
  ],
};
