/** Page tables in the page-table pages of the test machine. */
import { CODE, CODE_SIZE, DATA, DATA_SIZE, PAGE, PAGE_TABLES, PAGE_TABLES_SIZE, STUB } from '../layout.ts';

/** Bits of a page table entry (privileged specification, Sv39): V R W X U G A D from bit 0 on, PPN from bit 10. */
export const PTE = { V: 1n, R: 2n, W: 4n, X: 8n, U: 16n, G: 32n, A: 64n, D: 128n } as const;

/** Number of levels and the satp mode that goes with it. */
export type Levels = 3 | 4;

export function leaf(physical: number, flags: bigint): bigint {
  return (BigInt(physical / PAGE) << 10n) | flags;
}

/** Tables that are built entry by entry; table pages are taken from PAGE_TABLES one after the other. */
export class PageTables {
  readonly levels: Levels;
  readonly root: number;
  #entries = new Map<number, bigint>();
  #next = PAGE_TABLES;

  constructor(levels: Levels) {
    this.levels = levels;
    this.root = this.#takePage();
  }

  get satp(): bigint {
    return (BigInt(this.levels === 3 ? 8 : 9) << 60n) | BigInt(this.root / PAGE);
  }

  /** Number of the first table page that was not used. */
  get nextPage(): number {
    return (this.#next - PAGE_TABLES) / PAGE;
  }

  #takePage(): number {
    const page = this.#next;
    if (page >= PAGE_TABLES + PAGE_TABLES_SIZE) throw new Error('page tables: more tables than pages for them');
    this.#next += PAGE;
    return page;
  }

  /**
   * Address of the entry for an address at a level (0 = 4 KiB pages), with tables made on the way down where there
   * are none.
   */
  entryAddress(virtual: bigint, level: number): number {
    let table = this.root;
    for (let at = this.levels - 1; ; at--) {
      const index = Number((virtual >> BigInt(12 + 9 * at)) & 511n);
      const address = table + index * 8;
      if (at === level) return address;
      const entry = this.#entries.get(address);
      if (entry === undefined || (entry & PTE.V) === 0n) {
        table = this.#takePage();
        this.#entries.set(address, leaf(table, PTE.V));
      } else if ((entry & (PTE.R | PTE.X)) !== 0n) {
        throw new Error(`page tables: a larger page is in the way of ${virtual.toString(16)}`);
      } else {
        table = Number(entry >> 10n) * PAGE;
      }
    }
  }

  /** Sets an entry that is not set yet to anything. @returns its address */
  set(virtual: bigint, level: number, entry: bigint): number {
    const address = this.entryAddress(virtual, level);
    if (this.#entries.has(address)) throw new Error(`page tables: ${virtual.toString(16)} is mapped already`);
    this.#entries.set(address, entry);
    return address;
  }

  map(virtual: bigint, physical: number, flags: bigint, level = 0): number {
    return this.set(virtual, level, leaf(physical, flags));
  }

  pokes(): [address: number, value: bigint][] {
    return [...this.#entries];
  }
}

/** Tables that map the code, the data, the stub and the tables themselves to where they are. */
export class IdentityTables extends PageTables {
  /**
   * @param user whether code and data belong to U-mode
   * @param preset bits of the entries besides permissions: A and D already set, or left for the hardware
   * @param secondCodePage flags of the second page of code, if they are not to be those of the first
   */
  constructor(levels: Levels, user: boolean, preset: bigint = PTE.A | PTE.D, secondCodePage?: bigint) {
    super(levels);
    const owner = user ? PTE.U : 0n;
    this.map(BigInt(STUB), STUB, PTE.V | PTE.R | PTE.X | PTE.A);
    for (let at = CODE; at < CODE + CODE_SIZE; at += PAGE) {
      const special = at === CODE ? undefined : secondCodePage;
      this.map(BigInt(at), at, special ?? PTE.V | PTE.R | PTE.W | PTE.X | owner | preset);
    }
    for (let at = DATA; at < DATA + DATA_SIZE; at += PAGE) {
      this.map(BigInt(at), at, PTE.V | PTE.R | PTE.W | owner | preset);
    }
  }
}
