/** Errors of the memory manager. Each names the guest, option or address, says what was wrong and what would be right. */

/** Any error of the memory manager. */
export class MemoryError extends Error {
  override readonly name: string = 'MemoryError';
}

/** An access outside of the guest's RAM. */
export class GuestAddressError extends MemoryError {
  override readonly name = 'GuestAddressError';
  /** Guest-physical address of the first byte. */
  readonly gpa: number;
  /** Bytes that were asked for. */
  readonly length: number;

  constructor(guest: string, gpa: number, length: number, base: number, size: number) {
    super(
      `guest ${guest}: ${length} bytes at guest-physical 0x${gpa.toString(16)} are not in its RAM ` +
        `(0x${base.toString(16)} to 0x${(base + size).toString(16)})`,
    );
    this.gpa = gpa;
    this.length = length;
  }
}

/** The guest was told to stop while one of its harts waited for memory; the hart's worker should come to its end. */
export class GuestStoppedError extends MemoryError {
  override readonly name = 'GuestStoppedError';

  constructor(guest: string) {
    super(`guest ${guest} was stopped while a hart waited for memory`);
  }
}

/** A running hart did not acknowledge a TLB shootdown in time. */
export class ShootdownTimeoutError extends MemoryError {
  override readonly name = 'ShootdownTimeoutError';
  /** Slot of the guest. */
  readonly slot: number;
  /** Index of the hart. */
  readonly hart: number;

  constructor(guest: string, slot: number, hart: number, milliseconds: number) {
    super(
      `hart ${hart} of guest ${guest} has not acknowledged a TLB shootdown for ${milliseconds} ms; ` +
        `a running hart has to look at its request word, a waiting one has to be parked`,
    );
    this.slot = slot;
    this.hart = hart;
  }
}

/** The host mutex was not given back in time. */
export class LockTimeoutError extends MemoryError {
  override readonly name = 'LockTimeoutError';
  /** Token of the holder, see HEADER_MUTEX_OWNER. */
  readonly owner: number;

  constructor(owner: number, holder: string, milliseconds: number) {
    super(`the host mutex has been held by ${holder} for more than ${milliseconds} ms`);
    this.owner = owner;
  }
}

/** The VMM heap has no room for an allocation. */
export class HeapFullError extends MemoryError {
  override readonly name = 'HeapFullError';

  constructor(what: string, pages: number, free: number, total: number) {
    super(
      `${what} needs ${pages} contiguous pages of the VMM heap, which has ${free} of ${total} free; ` +
        `give the host more machine memory or run fewer guests`,
    );
  }
}

/** Every swap slot is in use. */
export class SwapFullError extends MemoryError {
  override readonly name = 'SwapFullError';

  constructor(slots: number, bad: number) {
    super(
      `swap is full: all ${slots} slots are in use${bad > 0 ? ` or given up (${bad})` : ''}; give the host more swap`,
    );
  }
}

/** A page could not be written to swap; it stays in memory. */
export class SwapWriteError extends MemoryError {
  override readonly name = 'SwapWriteError';

  constructor(guest: string, gfn: number, slot: number, cause: unknown) {
    super(
      `guest ${guest}: page ${gfn} could not be written to swap slot ${slot} and stays in memory: ${reason(cause)}`,
      {
        cause,
      },
    );
  }
}

/** A page could not be read from swap; the slot still holds it, and the access may be tried again. */
export class SwapReadError extends MemoryError {
  override readonly name = 'SwapReadError';

  constructor(guest: string, gfn: number, slot: number, cause: unknown) {
    super(`guest ${guest}: page ${gfn} could not be read from swap slot ${slot}: ${reason(cause)}`, { cause });
  }
}

/** An invariant of the memory does not hold. */
export class InvariantError extends MemoryError {
  override readonly name = 'InvariantError';
  /** Everything that was found, one sentence each. */
  readonly findings: readonly string[];

  constructor(findings: readonly string[]) {
    super(`memory account is wrong: ${findings.slice(0, 8).join('; ')}${findings.length > 8 ? '; ...' : ''}`);
    this.findings = findings;
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
