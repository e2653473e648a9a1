/** What a host and a guest are made from, as the library's user gives it, and as the rest of src/host takes it. */

import { constants } from 'node:os';
import { DIVISORS, type Divisor } from '../memory/decision.ts';
import {
  SWAP_NAIVE_CLUSTERS,
  SWAP_NAIVE_DISKS,
  SWAP_NAIVE_DMA,
  SWAP_NAIVE_READ_AHEAD,
  SWAP_NAIVE_STORES,
  SWAP_NAIVE_VICTIMS,
} from '../memory/layout.ts';
import { DEFAULT_SAMPLES } from '../memory/usage.ts';
import { createPolicy, DEFAULT_TARGETS } from '../policy/policy.ts';
import { type ClaimConfig, type ClaimOptions, claimConfig } from './claim.ts';
import { messageOf, OptionError } from './errors.ts';
import type { Observable } from './observation.ts';
import { DEFAULT_SHARE_DOMAIN, parseShareDomain } from './share-domain.ts';
import { parseSize, type Size } from './size.ts';

export { DEFAULT_SAMPLES };

/** How a host divides its memory. */
export interface PolicyChoice {
  /** By shares with a tax on idle memory, or by the misses that memory saves. Default: `shares`. */
  readonly targets?: Divisor;
  /** Tax on idle memory, 0 up to but not 1; with `misses` it is for memory that saves none. Default: 0.75. */
  readonly tax?: number;
  /** Largest part of a guest's memory that its balloon may take, 0 for no balloons. Default: 0.65. */
  readonly balloonCap?: number;
  /** Whether pages are taken without the guests' help, too. Default: true. Without it a guest may have to wait for another one. */
  readonly paging?: boolean;
}

/** Options of a host. */
export interface HostOptions {
  /** Size of the machine memory that all guests and the VMM itself live in; at most 4 GiB. */
  readonly machineMemory: Size;
  /** Path of the file that pages go to when nothing else helps. Default: a file in the system's temporary folder. */
  readonly swapFile?: string;
  /** Size of that file; 0 for no swap. Default: twice the machine memory. */
  readonly swapSize?: Size;
  /**
   * Part of the machine memory, from 0 (none) to 0.5, that may hold compressed pages before they go to the swap file.
   * Default: 0.2.
   */
  readonly compressed?: number;
  /** How the memory is divided, and how balloons are used. */
  readonly policy?: PolicyChoice;
  /** Path of a file, made anew, in which the use of memory is recorded for `ballonet replay`. Default: none. */
  readonly record?: string;
  /** Size at which the recording ends. Default: 64 MiB. */
  readonly recordLimit?: Size;
  /** Pages of each guest that are looked at to know what it uses, and that are recorded. Default: DEFAULT_SAMPLES. */
  readonly sampledPages?: number;
  /** What swapping is to do the naive way, so that experiments can compare. Default: nothing. */
  readonly naiveSwap?: readonly SwapHabit[];
  /** Looks for identical pages. Default: true. */
  readonly sharing?: boolean;
  /** Translates hot guest code; without it all is interpreted. Default: true. */
  readonly translation?: boolean;
  /**
   * By how much the translator's thread yields to others, 0 to 19: on Linux its nice value is higher by that. Where one hart has two
   * processors, it waits less for one; where several guests have to wait for translations, they wait longer. Default: 0.
   */
  readonly translatorNiceness?: number;
  /** What guests' harts are to note (see `Guest.onRegion` and `Guest.observations`); it costs time. Default: nothing. */
  readonly observe?: readonly Observable[];
}

/** What swapping does better than the naive way, each with a switch (SWAP_NAIVE_* in src/memory/layout.ts). */
export const SWAP_HABITS = {
  'read-ahead': SWAP_NAIVE_READ_AHEAD,
  clusters: SWAP_NAIVE_CLUSTERS,
  dma: SWAP_NAIVE_DMA,
  stores: SWAP_NAIVE_STORES,
  disks: SWAP_NAIVE_DISKS,
  victims: SWAP_NAIVE_VICTIMS,
} as const;
export type SwapHabit = keyof typeof SWAP_HABITS;

/** A disk of a guest. */
export interface DiskOptions {
  /** Path of a raw image. */
  readonly path: string;
  readonly readOnly?: boolean;
  /** Path of a file that takes the writes, so that the image stays as it is. Made when it is not there. */
  readonly overlay?: string;
}

/** Options of a guest. */
export interface GuestOptions extends ClaimOptions {
  /** Default: `guest-N`. */
  readonly name?: string;
  /** Configured memory: what the guest is told that it has. */
  readonly memory: Size;
  /** Number of harts (virtual CPUs), each with a thread of its own: 1 to 8. Default: 1. */
  readonly harts?: number;
  /** Path of a flat Linux image, started in S-mode with the VMM as its firmware, or by `firmware` when that is given. */
  readonly kernel?: string;
  /** Path of an initial file system. */
  readonly initrd?: string;
  /** The kernel's command line. Default: the first console and an immediate end after a panic. */
  readonly append?: string;
  /** Path of firmware, a flat image or an ELF file, started in M-mode: full virtualization. */
  readonly firmware?: string;
  readonly disks?: readonly DiskOptions[];
  /** Whether the guest has virtio devices. Default: true. */
  readonly devices?: boolean;
  /**
   * Guests share pages with guests of the same domain only. `none`: not even pages of zeros are looked for; `zero-only`: they
   * are, and nothing is shared. Default: one domain for all guests of the host for which none is named.
   */
  readonly shareDomain?: string;
}

/** {@link HostOptions} with every choice made; sizes in bytes. */
export interface HostConfig {
  readonly machineMemory: number;
  readonly swapFile: string | undefined;
  readonly swapSize: number;
  readonly compressed: number;
  readonly naiveSwap: readonly SwapHabit[];
  readonly policy: PolicyChoice;
  readonly record: string | undefined;
  readonly recordLimit: number;
  readonly sampledPages: number;
  readonly sharing: boolean;
  readonly translation: boolean;
  readonly translatorNiceness: number;
  readonly observe: readonly Observable[];
}

/** {@link GuestOptions} with every choice made; sizes in bytes. */
export interface GuestConfig extends ClaimConfig {
  readonly name: string;
  readonly memory: number;
  readonly harts: number;
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly append: string;
  readonly firmware: string | undefined;
  readonly disks: readonly DiskOptions[];
  readonly devices: boolean;
  readonly shareDomain: string;
}

/**
 * The kernel's command line when none is given. The kernel's tests of its own ciphers, for which Debian's takes two thirds of the
 * instructions of a boot, are left out.
 */
export const DEFAULT_APPEND = 'console=ttyS0 panic=-1 cryptomgr.notests=1';

const MIB = 2 ** 20;
const DEFAULT_RECORD_LIMIT = 64 * MIB;
const PAGE = 4096;
/** The largest machine memory, bytes: what a 32-bit WebAssembly memory holds. */
export const MAX_MACHINE_MEMORY = 2 ** 32;
/** The smallest machine memory, bytes: tables and heap, and some frames. */
export const MIN_MACHINE_MEMORY = 16 * MIB;
/** The smallest configured memory of a guest, bytes. */
export const MIN_GUEST_MEMORY = MIB;
/** The largest nice value. */
const MOST_NICENESS = constants.priority.PRIORITY_LOW;
/** The most harts of a guest. */
export const MAX_GUEST_HARTS = 8;

const pages = (bytes: number): number => Math.floor(bytes / PAGE) * PAGE;

/** @throws OptionError */
export function hostConfig(options: HostOptions): HostConfig {
  const machineMemory = pages(parseSize(options.machineMemory, 'machineMemory'));
  if (machineMemory < MIN_MACHINE_MEMORY || machineMemory > MAX_MACHINE_MEMORY) {
    throw new OptionError('machineMemory', `${options.machineMemory} is not between 16 MiB and 4 GiB`);
  }
  const compressed = options.compressed ?? 0.2;
  if (!(compressed >= 0 && compressed <= 0.5)) {
    throw new OptionError('compressed', `${compressed} is not a part of the machine memory from 0 to 0.5`);
  }
  const sampledPages = options.sampledPages ?? DEFAULT_SAMPLES;
  if (!Number.isInteger(sampledPages) || sampledPages < 1) {
    throw new OptionError('sampledPages', `${sampledPages} is not a whole number from 1`);
  }
  const translatorNiceness = options.translatorNiceness ?? 0;
  if (!Number.isInteger(translatorNiceness) || translatorNiceness < 0 || translatorNiceness > MOST_NICENESS) {
    throw new OptionError(
      'translatorNiceness',
      `${translatorNiceness} is not a whole number from 0 to ${MOST_NICENESS}`,
    );
  }
  return {
    machineMemory,
    swapFile: options.swapFile,
    swapSize: pages(parseSize(options.swapSize ?? 2 * machineMemory, 'swapSize')),
    compressed,
    naiveSwap: options.naiveSwap ?? [],
    policy: policyChoice(options.policy ?? {}),
    record: options.record,
    sampledPages,
    recordLimit: parseSize(options.recordLimit ?? DEFAULT_RECORD_LIMIT, 'recordLimit'),
    sharing: options.sharing ?? true,
    translation: options.translation ?? true,
    translatorNiceness,
    observe: options.observe ?? [],
  };
}

/** @throws OptionError */
export function policyChoice(choice: PolicyChoice): PolicyChoice {
  const { targets = DEFAULT_TARGETS } = choice;
  if (!DIVISORS.includes(targets)) {
    throw new OptionError('policy', `targets by ${targets}; give one of ${DIVISORS.join(', ')}`);
  }
  try {
    // Knows best what makes sense.
    createPolicy(choice);
  } catch (error) {
    throw new OptionError('policy', messageOf(error));
  }
  return choice;
}

/**
 * @param host what the guest is to run on
 * @param number of the guest, for its name
 * @throws OptionError
 */
export function guestConfig(options: GuestOptions, host: HostConfig, number: number): GuestConfig {
  const memory = pages(parseSize(options.memory, 'memory'));
  if (memory < MIN_GUEST_MEMORY) {
    throw new OptionError('memory', `${options.memory} is too little for a guest; give at least 1 MiB`);
  }
  if (memory > host.machineMemory) {
    throw new OptionError(
      'memory',
      `${options.memory} is more than the machine memory of ${host.machineMemory / MIB} MiB that the host has`,
    );
  }
  const harts = options.harts ?? 1;
  if (!Number.isInteger(harts) || harts < 1 || harts > MAX_GUEST_HARTS) {
    throw new OptionError('harts', `${harts} is not a whole number from 1 to ${MAX_GUEST_HARTS}`);
  }
  if (options.kernel === undefined && options.firmware === undefined) {
    throw new OptionError('kernel', 'neither a kernel nor firmware is given; a guest needs one of them');
  }
  const { initrd, kernel } = options;
  if (initrd !== undefined && kernel === undefined) {
    throw new OptionError('initrd', 'is for a kernel, and none is given; give the kernel too');
  }
  const claim = claimConfig(options, memory);
  const devices = options.devices ?? true;
  const disks = options.disks ?? [];
  if (!devices && disks.length > 0) {
    throw new OptionError('disks', 'a guest without devices has no disks; leave one of the two options away');
  }
  const name = options.name ?? `guest-${number}`;
  if (name.length === 0 || Buffer.byteLength(name) > 127) {
    throw new OptionError('name', `"${name}" is not between 1 and 127 bytes long`);
  }
  return {
    name,
    memory,
    harts,
    kernel,
    initrd,
    append: options.append ?? DEFAULT_APPEND,
    firmware: options.firmware,
    disks,
    devices,
    ...claim,
    shareDomain: options.shareDomain === undefined ? DEFAULT_SHARE_DOMAIN : parseShareDomain(options.shareDomain),
  };
}
