import type { GuestRam } from '../../devices/guest-ram.ts';
import { failure, ramAddress, type SbiExtension, SUCCESS } from './types.ts';

const ALL_ONES = 2n ** 64n - 1n;
const AREA_SIZE = 64;

/**
 * The steal time areas that a guest shares with us, one a hart (SBI 2.0, section 16.1):
 *
 *     +0  u32 sequence   odd while the area is being written
 *     +4  u32 flags      0
 *     +8  u64 steal      nanoseconds in which the hart could have run and did not
 *     +16 u8  preempted  not 0 while the hart does not run
 */
export class StealTime {
  #ram: GuestRam;
  #areas: (number | undefined)[];
  #stolen: bigint[];

  constructor(ram: GuestRam, harts: number) {
    this.#ram = ram;
    this.#areas = Array.from({ length: harts }, () => undefined);
    this.#stolen = Array.from({ length: harts }, () => 0n);
  }

  /** Shares the area at `gpa` or, with undefined, none. All of it must be RAM. */
  share(hart: number, gpa: number | undefined): void {
    this.#areas[hart] = gpa;
    if (gpa === undefined) return;
    this.#ram.write(gpa, new Uint8Array(AREA_SIZE));
    this.#publish(hart, gpa);
  }

  /** Adds `nanoseconds` that were taken from `hart`. */
  add(hart: number, nanoseconds: bigint): void {
    this.#stolen[hart]! += nanoseconds;
    const gpa = this.#areas[hart];
    if (gpa !== undefined) this.#publish(hart, gpa);
  }

  #publish(hart: number, gpa: number): void {
    const sequence = this.#ram.readU32(gpa) & ~1;
    this.#ram.writeU32(gpa, (sequence + 1) >>> 0);
    this.#ram.writeU64(gpa + 8, this.#stolen[hart]!);
    this.#ram.writeU32(gpa, (sequence + 2) >>> 0);
  }
}

/** Steal time accounting (SBI 2.0, chapter 16). */
export const STA: SbiExtension = {
  id: 0x53_5441,
  name: 'STA',
  available: (platform) => platform.stealTime !== undefined,
  functions: [
    {
      id: 0,
      name: 'steal_time_set_shmem',
      handle: ({ hart, args: [low, high, flags], platform }) => {
        if (flags !== 0n) return failure('INVALID_PARAM');
        if (low === ALL_ONES && high === ALL_ONES) {
          platform.stealTime?.share(hart, undefined);
          return SUCCESS;
        }
        if (low % BigInt(AREA_SIZE) !== 0n) return failure('INVALID_PARAM');
        const gpa = ramAddress(platform, low, high, AREA_SIZE);
        if (gpa === undefined) return failure('INVALID_ADDRESS');
        platform.stealTime?.share(hart, gpa);
        return SUCCESS;
      },
    },
  ],
};
