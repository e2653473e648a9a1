/** Bytes of {@link fwDynamicInfo}. */
export const FW_DYNAMIC_INFO_SIZE = 48;

const MAGIC = 0x4942_534fn; // "OSBI"
const VERSION = 2n;
const MODE_S = 1n;

/**
 * What OpenSBI's fw_dynamic wants to find at the address in a2: six 64-bit words.
 *
 *     +0  magic      "OSBI"
 *     +8  version    2
 *     +16 next_addr  where the next stage starts
 *     +24 next_mode  1: S-mode
 *     +32 options    0
 *     +40 boot_hart  the hart that is to boot
 */
export function fwDynamicInfo(nextAddress: number, bootHart = 0): Uint8Array {
  const bytes = new Uint8Array(FW_DYNAMIC_INFO_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [MAGIC, VERSION, BigInt(nextAddress), MODE_S, 0n, BigInt(bootHart)].entries()) {
    view.setBigUint64(8 * i, word, true);
  }
  return bytes;
}
