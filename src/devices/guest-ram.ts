/**
 * What devices and firmware need of a guest's memory. The memory layer's `GuestMemory` has this shape;
 * the interface stands here so that a device can be used and tested without it.
 */
export interface GuestRam {
  /** First guest-physical address of RAM, in bytes. */
  readonly base: number;
  /** Length of RAM in bytes. */
  readonly size: number;
  /** Whether all of `[gpa, gpa + length)` is RAM. A length of 0 is contained wherever `gpa` is. */
  contains(gpa: number, length: number): boolean;
  /** Fills `target` from guest-physical `gpa`; throws if any byte of it is not RAM. */
  read(gpa: number, target: Uint8Array): void;
  /** Stores `source` at guest-physical `gpa`; throws if any byte of it is not RAM. */
  write(gpa: number, source: Uint8Array): void;
  readU16(gpa: number): number;
  readU32(gpa: number): number;
  readU64(gpa: number): bigint;
  writeU16(gpa: number, value: number): void;
  writeU32(gpa: number, value: number): void;
  writeU64(gpa: number, value: bigint): void;
}

/** Bytes of a page, guest-physical and machine alike. */
export const PAGE_SIZE = 4096;
