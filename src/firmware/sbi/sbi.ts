import { BASE } from './base.ts';
import { DBCN } from './dbcn.ts';
import { HSM } from './hsm.ts';
import { IPI } from './ipi.ts';
import { PMU } from './pmu.ts';
import { RFENCE } from './rfence.ts';
import { SRST } from './srst.ts';
import { STA } from './sta.ts';
import { TIME } from './time.ts';
import { SBI_ERROR, type SbiExtension, type SbiFunction, type SbiHart, type SbiPlatform } from './types.ts';

/** Every extension there is. A new one is a file of its own and a word here. */
export const SBI_EXTENSIONS: readonly SbiExtension[] = [BASE, TIME, IPI, RFENCE, HSM, SRST, PMU, DBCN, STA];

/** Integer registers of the calling convention (SBI 2.0, chapter 3). */
const A0 = 10;
const A1 = 11;
const A6 = 16;
const A7 = 17;

/**
 * Answers the hypercalls of a paravirtualized guest. What is not in the table, the legacy extensions 0 to 15
 * included, is NOT_SUPPORTED.
 */
export class Sbi {
  #platform: SbiPlatform;
  #extensions: ReadonlyMap<number, ReadonlyMap<number, SbiFunction>>;

  constructor(platform: SbiPlatform) {
    this.#platform = platform;
    this.#extensions = new Map(
      SBI_EXTENSIONS.filter(({ available }) => available?.(platform) ?? true).map(({ id, functions }) => [
        id,
        new Map(functions.map((entry) => [entry.id, entry])),
      ]),
    );
  }

  /**
   * Serves the `ecall` of a hart in S-mode: extension in a7, function in a6, arguments in a0 to a5; the error goes to
   * a0 and the value to a1. Returns false if the call does not return (the hart stopped, resumes elsewhere, or the
   * machine ends): then no register was changed.
   */
  call(hart: SbiHart): boolean {
    // Extension and function are 32-bit numbers, sign-extended or not.
    const extension = Number(BigInt.asUintN(32, hart.x(A7)));
    const id = Number(BigInt.asUintN(32, hart.x(A6)));
    const entry = this.#extensions.get(extension)?.get(id);
    const result =
      entry === undefined
        ? { error: SBI_ERROR.NOT_SUPPORTED }
        : entry.handle({
            hart: hart.id,
            args: [0, 1, 2, 3, 4, 5].map((n) => BigInt.asUintN(64, hart.x(A0 + n))) as [
              bigint,
              bigint,
              bigint,
              bigint,
              bigint,
              bigint,
            ],
            platform: this.#platform,
            probe: (probed) => this.#extensions.has(probed),
          });
    if (result === undefined) return false;
    hart.setX(A0, BigInt.asUintN(64, BigInt(result.error)));
    hart.setX(A1, BigInt.asUintN(64, result.value ?? 0n));
    return true;
  }
}
