import type { CodeCache } from '../code-cache.ts';
import { targetsOf } from '../jump-sites.ts';
import { BLOCK_BYTES, offset32, SLOT_BYTES } from '../state.ts';
import { fetchTlbOffset } from '../tlb-first.ts';

/** A page of a region's code: how many pages it lies above the entry's, and the use of a frame that it has to be. */
export interface Page {
  readonly delta: bigint;
  readonly mfn: number;
  readonly generation: number;
}

/** Targets of an indirect jump that a region compares with, and how far they may lie from its entry, bytes. */
const MOST_TARGETS = 4;
const MOST_DISTANCE = 2 ** 24;
const PAGE_BYTES = 4096;

/** Guest code as far as the fetch TLB of a hart leads to it, which costs the guest nothing. */
export class CodeView {
  readonly code: CodeCache;
  readonly #area: number;
  readonly #u16: Uint16Array;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;

  /** @param area byte address of the hart area */
  constructor(buffer: ArrayBufferLike, area: number, code: CodeCache) {
    this.code = code;
    this.#area = area;
    this.#u16 = new Uint16Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#i64 = new BigInt64Array(buffer);
  }

  /** Machine address of a guest-virtual one. */
  address(pc: bigint): number | undefined {
    const mfn = this.frame(BigInt.asIntN(64, pc));
    return mfn === undefined ? undefined : mfn * PAGE_BYTES + Number(pc & BigInt(PAGE_BYTES - 1));
  }

  /** The frame that a page of code is mapped to. */
  frame(gva: bigint): number | undefined {
    const page = gva & -BigInt(PAGE_BYTES);
    for (let block = page; block < page + BigInt(PAGE_BYTES); block += BigInt(BLOCK_BYTES)) {
      const entry = this.#i32[(this.#area + offset32('fetchTlb')) >>> 2]! + fetchTlbOffset(block);
      if (this.#i64[entry / 8] === BigInt.asIntN(64, block)) {
        return this.code.frameOfBlock(this.#i32[(entry + 8) >>> 2]! >>> 0);
      }
    }
    return undefined;
  }

  /** The bits of the instruction at a machine address; 0 if it goes on on the next page. */
  bits(address: number): number {
    const low = this.half(address);
    if ((low & 3) !== 3) return low;
    return address % PAGE_BYTES === PAGE_BYTES - 2 ? 0 : (low | (this.half(address + 2) << 16)) >>> 0;
  }

  half(address: number): number {
    return this.#u16[address >>> 1]!;
  }

  /** Where the indirect jump at a machine address has led to, the most frequent first. */
  targets(address: number): bigint[] {
    const slot = this.code.slotAt(address);
    return slot === undefined ? [] : targetsOf(this.#i32, this.#i64, this.#area, slot);
  }
}

/** The code around a hot place, by the distance from it in bytes, and the pages of it that have been looked at. */
export class SeenCode {
  readonly #view: CodeView;
  readonly #address: number;
  readonly #pc: bigint;
  /** Where in its page the hot place is. */
  readonly #start: number;
  /** By distance in pages. */
  readonly #pages = new Map<number, Page>();
  /** Machine address of the block looked at last, and its first slot. */
  #block = NaN;
  #slots: number | undefined;

  /** @param address machine address of the instruction at `pc` */
  constructor(view: CodeView, address: number, pc: bigint) {
    this.#view = view;
    this.#address = address;
    this.#pc = pc;
    this.#start = Number(pc & BigInt(PAGE_BYTES - 1));
  }

  get pages(): readonly Page[] {
    return [...this.#pages.values()];
  }

  /** The instruction, if it has been executed. */
  instruction(offset: number): number | undefined {
    const first = this.address(offset);
    if (first === undefined || !this.#wasExecuted(first)) return undefined;
    const low = this.#view.half(first);
    if ((low & 3) !== 3) return low;
    const second = first % PAGE_BYTES === PAGE_BYTES - 2 ? this.address(offset + 2) : first + 2;
    return second === undefined ? undefined : (low | (this.#view.half(second) << 16)) >>> 0;
  }

  /** Where the indirect jump there has led to, the most frequent first. */
  targets(offset: number): number[] {
    const address = this.address(offset);
    if (address === undefined) return [];
    const entry = BigInt.asIntN(64, this.#pc);
    const offsets = this.#view
      .targets(address)
      .map((target) => Number(target - entry))
      .filter((distance) => Math.abs(distance) < MOST_DISTANCE);
    return offsets.slice(0, MOST_TARGETS);
  }

  #wasExecuted(address: number): boolean {
    const { code } = this.#view;
    const within = address % BLOCK_BYTES;
    if (address - within !== this.#block) {
      this.#block = address - within;
      this.#slots = code.slotAt(this.#block);
    }
    return this.#slots !== undefined && code.slotWasExecuted(this.#slots + (within / 2) * SLOT_BYTES);
  }

  /** Machine address of code. */
  address(offset: number): number | undefined {
    const position = this.#start + offset;
    const delta = Math.floor(position / PAGE_BYTES);
    let page = this.#pages.get(delta);
    if (page === undefined) {
      const mfn = delta === 0 ? Math.floor(this.#address / PAGE_BYTES) : this.#view.frame(this.#pc + BigInt(offset));
      if (mfn === undefined) return undefined;
      page = { delta: BigInt(delta), mfn, generation: this.#view.code.frameGeneration(mfn) };
      this.#pages.set(delta, page);
    }
    return page.mfn * PAGE_BYTES + position - delta * PAGE_BYTES;
  }
}
