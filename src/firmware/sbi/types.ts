import type { GuestRam } from '../../devices/guest-ram.ts';
import type { StealTime } from './sta.ts';

/** Error codes (SBI 2.0, table 1). */
export const SBI_ERROR = {
  SUCCESS: 0,
  FAILED: -1,
  NOT_SUPPORTED: -2,
  INVALID_PARAM: -3,
  DENIED: -4,
  INVALID_ADDRESS: -5,
  ALREADY_AVAILABLE: -6,
  ALREADY_STARTED: -7,
  ALREADY_STOPPED: -8,
  NO_SHMEM: -9,
} as const;

/** States of a hart (SBI 2.0, table 17). */
export const HART_STATE = {
  STARTED: 0,
  STOPPED: 1,
  START_PENDING: 2,
  STOP_PENDING: 3,
  SUSPENDED: 4,
  SUSPEND_PENDING: 5,
  RESUME_PENDING: 6,
} as const;

export type HartState = (typeof HART_STATE)[keyof typeof HART_STATE];

/** The hart that called: registers are unsigned 64-bit. */
export interface SbiHart {
  readonly id: number;
  x(n: number): bigint;
  setX(n: number, value: bigint): void;
}

/** What a remote fence orders. Without a range it is about all addresses, without an asid about all address spaces. */
export interface RemoteFence {
  readonly kind: 'fence.i' | 'sfence.vma';
  readonly range?: { readonly start: bigint; readonly size: bigint };
  readonly asid?: bigint;
}

export type ResetType = 'shutdown' | 'cold reboot' | 'warm reboot';

/** Where a hart goes on: in S-mode, translation and interrupts off, a0 its id and a1 `opaque`. */
export interface HartEntry {
  readonly pc: bigint;
  readonly opaque: bigint;
}

/** What the hypercalls need of the machine. Hart numbers are below `hartCount`: the calls have checked them. */
export interface SbiPlatform {
  readonly hartCount: number;
  readonly ram: GuestRam;
  /** Sets the hart's S-mode timer and clears a pending one; `deadline` in ticks, all ones for never. */
  setTimer(hart: number, deadline: bigint): void;
  /** Makes the hart's supervisor software interrupt pending. */
  sendIpi(hart: number): void;
  /** Returns when every one of the harts has made the fence, or is sure to make it before its next instruction. */
  remoteFence(harts: readonly number[], fence: RemoteFence): void;
  hartState(hart: number): HartState;
  /** Starts a stopped hart; false if another one does so already. */
  startHart(hart: number, entry: HartEntry): boolean;
  /** Stops the calling hart: it executes nothing until it is started. */
  stopHart(hart: number): void;
  /** Suspends the calling hart until an interrupt; then it goes on after the call, or at `resume` if that is given. */
  suspendHart(hart: number, resume?: HartEntry): void;
  /** Ends or restarts the machine; `failure`: the guest said that something was wrong. */
  reset(type: ResetType, failure: boolean): void;
  /** Takes console output; returns how many bytes were taken, at least one of one or more. */
  consoleWrite(bytes: Uint8Array): number;
  /** Gives at most `length` bytes of console input, none if there is none now. */
  consoleRead(length: number): Uint8Array;
  /** Steal time accounting; without it the extension is absent. */
  readonly stealTime?: StealTime;
  /** mvendorid, marchid and mimpid; 0 by default. */
  readonly machineIds?: { readonly vendor: bigint; readonly architecture: bigint; readonly implementation: bigint };
}

/**
 * What a function returns: an error code and, with success, a value. `undefined`: the call does not return to the
 * caller.
 */
export type SbiResult = { readonly error: number; readonly value?: bigint } | undefined;

/** A call: its hart and arguments a0 to a5, unsigned. */
export interface SbiCall {
  readonly hart: number;
  readonly args: readonly [bigint, bigint, bigint, bigint, bigint, bigint];
  readonly platform: SbiPlatform;
  /** Whether an extension is there, for BASE. */
  readonly probe: (extension: number) => boolean;
}

export interface SbiFunction {
  readonly id: number;
  readonly name: string;
  readonly handle: (call: SbiCall) => SbiResult;
}

export interface SbiExtension {
  readonly id: number;
  readonly name: string;
  readonly functions: readonly SbiFunction[];
  /** Whether the platform can do it. Default: yes. */
  readonly available?: (platform: SbiPlatform) => boolean;
}

export const SUCCESS: SbiResult = { error: SBI_ERROR.SUCCESS };

export function success(value: bigint): SbiResult {
  return { error: SBI_ERROR.SUCCESS, value };
}

export function failure(error: keyof typeof SBI_ERROR): SbiResult {
  return { error: SBI_ERROR[error] };
}

const ALL_ONES = 2n ** 64n - 1n;

/**
 * The harts that a mask and its base name (SBI 2.0, section 3.1): all if the base is all ones; undefined if a bit
 * names none that there is.
 */
export function selectedHarts(platform: SbiPlatform, mask: bigint, base: bigint): number[] | undefined {
  if (base === ALL_ONES) return Array.from({ length: platform.hartCount }, (_, hart) => hart);
  const harts: number[] = [];
  for (let hart = base, rest = mask; rest !== 0n; hart++, rest >>= 1n) {
    if ((rest & 1n) === 0n) continue;
    if (hart >= BigInt(platform.hartCount)) return undefined;
    harts.push(Number(hart));
  }
  return harts;
}

/** The address in a pair of registers as a number if `length` bytes from there are RAM. */
export function ramAddress(platform: SbiPlatform, low: bigint, high: bigint, length: number): number | undefined {
  if (high !== 0n || low > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  const gpa = Number(low);
  return platform.ram.contains(gpa, length) ? gpa : undefined;
}
