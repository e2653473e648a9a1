/** A range of guest-physical addresses with its pmpcfg byte: bit 0 R, 1 W, 2 X, 3..4 A, 7 L. */
export interface PmpRange {
  readonly first: bigint;
  readonly last: bigint;
  readonly configuration: number;
}

/**
 * The active ranges of the PMP registers, in order of priority (privileged specification, 3.7.1).
 * @param configuration pmpcfg0 and pmpcfg2
 * @param addresses pmpaddr0 and following: bits 55..2 of an address
 */
export function pmpRanges(configuration: readonly bigint[], addresses: readonly bigint[]): PmpRange[] {
  const ranges: PmpRange[] = [];
  for (const [index, address] of addresses.entries()) {
    const byte = Number((configuration[index >> 3]! >> BigInt((index % 8) * 8)) & 0xffn);
    const range = rangeOf((byte >> 3) & 3, address, index === 0 ? 0n : addresses[index - 1]!);
    if (range !== undefined) ranges.push({ ...range, configuration: byte });
  }
  return ranges;
}

function rangeOf(mode: number, address: bigint, below: bigint): { first: bigint; last: bigint } | undefined {
  switch (mode) {
    case 1: // TOR: from the address of the entry below up to this one
      return below < address ? { first: below << 2n, last: (address << 2n) - 1n } : undefined;
    case 2: // NA4
      return { first: address << 2n, last: (address << 2n) + 3n };
    case 3: {
      // NAPOT: the trailing ones give the size, 8 bytes with none
      const ones = address ^ (address + 1n);
      return { first: (address & ~ones) << 2n, last: (((address | ones) + 1n) << 2n) - 1n };
    }
    default:
      return undefined;
  }
}
