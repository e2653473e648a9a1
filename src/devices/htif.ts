import type { DeviceLog } from './bus.ts';
import type { GuestRam } from './guest-ram.ts';

export interface HostTargetOptions {
  readonly ram: GuestRam;
  /** Guest-physical addresses of the program's symbols. */
  readonly tohost: number;
  readonly fromhost?: number;
  readonly output: (bytes: Uint8Array) => void;
  /** Takes one byte of console input, undefined if there is none. */
  readonly input?: () => number | undefined;
  readonly log?: DeviceLog;
}

const SYS_WRITE = 64n;
const SYS_EXIT = 93n;
/** Most bytes of one `write` of the program. */
const MAX_WRITE = 64 * 1024;

/**
 * The host-target interface of the public RISC-V test suites: two doublewords in the program's memory, no registers.
 * `tohost` holds
 *
 *     bits 56..63 device: 0 system, 1 console
 *     bits 48..55 command: console 0 reads and 1 writes a character
 *     bits 0..47  payload: system, odd: exit with status payload >> 1, even: address of a call (number, three arguments)
 *
 * The host looks with {@link poll} after each slice of execution.
 */
export class HostTarget {
  #options: HostTargetOptions;
  /** A console read waits for input. */
  #reading = false;

  constructor(options: HostTargetOptions) {
    this.#options = options;
  }

  /** Serves what the program wrote; returns the exit status once it has ended. */
  poll(): number | undefined {
    const { ram, tohost, output } = this.#options;
    if (this.#reading) this.#answerRead();
    const value = ram.readU64(tohost);
    if (value === 0n) return undefined;
    const device = value >> 56n;
    const command = (value >> 48n) & 0xffn;
    const payload = value & 0xffff_ffff_ffffn;
    if (device === 0n && command === 0n && (payload & 1n) !== 0n) return Number((payload >> 1n) & 0xffff_ffffn);
    ram.writeU64(tohost, 0n);
    if (device === 1n && command === 1n) {
      output(Uint8Array.of(Number(payload & 0xffn)));
      this.#answer((1n << 56n) | (1n << 48n));
    } else if (device === 1n && command === 0n) {
      this.#reading = true;
      this.#answerRead();
    } else if (device === 0n && command === 0n) {
      return this.#systemCall(Number(payload));
    } else {
      this.#options.log?.(new Error(`host-target interface: device ${device}, command ${command} is not there`));
    }
    return undefined;
  }

  #systemCall(block: number): number | undefined {
    const { ram, output, log } = this.#options;
    if (!ram.contains(block, 32)) {
      log?.(new Error(`host-target interface: a call at 0x${block.toString(16)}, which is not in the guest's memory`));
      return undefined;
    }
    const [number, first, address, length] = [0, 8, 16, 24].map((offset) => ram.readU64(block + offset)) as [
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    if (number === SYS_EXIT) return Number(first & 0xffff_ffffn);
    let result = -38n; // ENOSYS
    if (number === SYS_WRITE) {
      const bytes = new Uint8Array(Number(length > BigInt(MAX_WRITE) ? BigInt(MAX_WRITE) : length));
      if (ram.contains(Number(address), bytes.length)) {
        ram.read(Number(address), bytes);
        output(bytes);
        result = BigInt(bytes.length);
      } else result = -14n; // EFAULT
    }
    ram.writeU64(block, BigInt.asUintN(64, result));
    this.#answer(1n);
    return undefined;
  }

  #answerRead(): void {
    const byte = this.#options.input?.();
    if (byte === undefined) return;
    this.#reading = false;
    this.#answer((1n << 56n) | BigInt(byte & 0xff));
  }

  #answer(value: bigint): void {
    const { ram, fromhost } = this.#options;
    if (fromhost !== undefined) ram.writeU64(fromhost, value);
  }
}
