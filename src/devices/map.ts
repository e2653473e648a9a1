/**
 * The guest-physical address map, the one of QEMU's `virt` machine:
 *
 *     0x0000_0000  +------------------------------+
 *                  | nothing                      |
 *     0x0010_0000  +------------------------------+
 *                  | test finisher                |  4 KiB   power off, fail, reset
 *     0x0010_1000  +------------------------------+
 *                  | goldfish RTC       irq 11    |  4 KiB   wall clock in nanoseconds
 *     0x0200_0000  +------------------------------+
 *                  | ACLINT                       | 64 KiB   MSIP, MTIMECMP, MTIME
 *     0x0c00_0000  +------------------------------+
 *                  | PLIC                         |  6 MiB   96 sources, 2 contexts a hart
 *     0x1000_0000  +------------------------------+
 *                  | UART 16550         irq 10    |  256 B
 *     0x1000_1000  +------------------------------+
 *                  | virtio-mmio slot 0 irq 1     |  4 KiB each
 *                  |  ...                         |
 *     0x1000_8000  | virtio-mmio slot 7 irq 8     |
 *     0x1000_9000  +------------------------------+
 *                  | nothing                      |
 *     0x8000_0000  +------------------------------+
 *                  | RAM                          |  as configured
 *                  |   firmware (M-mode)          |  at the start, full virtualization only
 *     0x8020_0000  |   kernel                     |
 *                  |   ...                        |
 *                  |   initrd, device tree        |  at the end
 *                  +------------------------------+
 */

/** One device's place in the map; `irq` is its PLIC source. */
export interface Region {
  readonly base: number;
  readonly size: number;
  readonly irq?: number;
}

export const TEST_FINISHER = { base: 0x10_0000, size: 0x1000 } as const satisfies Region;
export const GOLDFISH_RTC = { base: 0x10_1000, size: 0x1000, irq: 11 } as const satisfies Region;
export const ACLINT = { base: 0x200_0000, size: 0x1_0000 } as const satisfies Region;
export const PLIC = { base: 0xc00_0000, size: 0x60_0000 } as const satisfies Region;
export const UART = { base: 0x1000_0000, size: 0x100, irq: 10 } as const satisfies Region;

/** First guest-physical byte of RAM. */
export const RAM_BASE = 0x8000_0000;

/** Number of virtio-mmio slots. */
export const VIRTIO_SLOTS = 8;

/** The most disks that fit behind console, rng and balloon. */
const FIXED_SLOTS = 3;
export const MAX_DISKS = VIRTIO_SLOTS - FIXED_SLOTS;

/** The place of virtio-mmio slot `slot`, 0 to 7. */
export function virtioSlot(slot: number): Required<Region> {
  if (!Number.isInteger(slot) || slot < 0 || slot >= VIRTIO_SLOTS) {
    throw new RangeError(`virtio-mmio slot ${slot}: there are slots 0 to ${VIRTIO_SLOTS - 1}`);
  }
  return { base: 0x1000_1000 + slot * 0x1000, size: 0x1000, irq: 1 + slot };
}

/** Frequency of the `time` CSR and MTIME in hertz. */
export const TIMEBASE_HZ = 10_000_000;
/** Input clock of the UART in hertz (baud rates are computed from it, none is simulated). */
export const UART_CLOCK_HZ = 3_686_400;
/** Interrupt sources of the PLIC, numbered 1 to 96. */
export const PLIC_SOURCES = 96;
/** Most harts that ACLINT and PLIC are laid out for. */
export const MAX_HARTS = 32;
