import { csrIndex } from '../isa/csr.ts';
import { decode, INSTRUCTIONS, isCompressed } from '../isa/decode.ts';
import { operationOf, SLOT } from './interpreter.ts';
import { DECODED_FRAME_OFFSET, DECODED_PAGE_BYTES, type MemoryConstants, SLOT_BYTES, SLOTS_BYTES } from './state.ts';

/** Stores to a decoded page after which it counts as data. */
const WRITES_UNTIL_DATA = 64;
const MEMO_ENTRIES = 8192;

export interface CodeCacheOptions {
  readonly buffer: SharedArrayBuffer;
  /** Byte address and number of the decoded pages. */
  readonly address: number;
  readonly pages: number;
  readonly frameTable: number;
  readonly zeroFrame: number;
  readonly constants: MemoryConstants;
  /** Empties the hart's TLBs, and has it fetch again before its next instruction. */
  readonly flush: () => void;
}

/**
 * The decoded pages of one hart: machine frames whose code has been executed, instruction by instruction in the form that
 * the interpreter reads.
 *
 * A decoded page belongs to one use of a frame, which the frame's number and generation name. Invariants: a frame with a
 * decoded page has the CODE flag, and no write TLB has an entry for a frame with that flag, so that every store to it
 * is announced by `written` before it happens.
 */
export class CodeCache {
  readonly #o: CodeCacheOptions;
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  /** Decoded page by machine frame. */
  readonly #index = new Map<number, number>();
  /** By decoded page: machine frame (0: none), generation, stores since it was last fetched from. */
  readonly #frame: Uint32Array;
  readonly #generation: Uint32Array;
  readonly #writes: Uint32Array;
  readonly #referenced: Uint8Array;
  #hand = 0;
  /** Instruction bits (and 1 << 32 when the entry is filled), first and second word of the slot. */
  readonly #memoBits = new Float64Array(MEMO_ENTRIES).fill(-1);
  readonly #memoWords = new Int32Array(2 * MEMO_ENTRIES);

  constructor(options: CodeCacheOptions) {
    this.#o = options;
    this.#i32 = new Int32Array(options.buffer);
    this.#u8 = new Uint8Array(options.buffer);
    this.#u16 = new Uint16Array(options.buffer);
    this.#frame = new Uint32Array(options.pages);
    this.#generation = new Uint32Array(options.pages);
    this.#writes = new Uint32Array(options.pages);
    this.#referenced = new Uint8Array(options.pages);
    for (let page = 0; page < options.pages; page++) {
      const address = this.#address(page);
      this.#u8.fill(0, address, address + DECODED_PAGE_BYTES);
      this.#u8[address + SLOTS_BYTES] = SLOT.pageEnd;
    }
  }

  /** The decoded page of a machine frame: its byte address. */
  page(mfn: number): number {
    const generation = this.#frameGeneration(mfn);
    const found = this.#index.get(mfn);
    if (found !== undefined) {
      if (this.#generation[found] !== generation) {
        this.#clear(found);
        this.#generation[found] = generation;
      }
      this.#referenced[found] = 1;
      this.#writes[found] = 0;
      this.#flag(mfn);
      return this.#address(found);
    }
    const page = this.#take();
    this.#index.set(mfn, page);
    this.#frame[page] = mfn;
    this.#generation[page] = generation;
    this.#writes[page] = 0;
    this.#referenced[page] = 1;
    const address = this.#address(page);
    this.#i32[(address + DECODED_FRAME_OFFSET) >>> 2] = (mfn << 12) | 0;
    this.#flag(mfn);
    return address;
  }

  /**
   * Decodes the instruction at the place that a slot stands for. False if the frame has been put to another use since:
   * then its bytes are not the guest's, and the page has to be fetched again.
   */
  decodeSlot(slot: number): boolean {
    const page = Math.floor((slot - this.#o.address) / DECODED_PAGE_BYTES);
    const address = this.#address(page);
    if (this.#frameGeneration(this.#frame[page]!) !== this.#generation[page]) return false;
    const offset = ((slot - address) / SLOT_BYTES) * 2;
    const code = (this.#i32[(address + DECODED_FRAME_OFFSET) >>> 2]! >>> 0) + offset;
    const low = this.#u16[code >>> 1]!;
    if (isCompressed(low)) this.decodeBits(slot, low);
    else if (offset === 4094) this.#u8[slot] = SLOT.crossing;
    else this.decodeBits(slot, (low | (this.#u16[(code + 2) >>> 1]! << 16)) >>> 0);
    return true;
  }

  /** Decodes instruction bits into a slot. */
  decodeBits(slot: number, bits: number): void {
    const memo = (bits ^ (bits >>> 13)) & (MEMO_ENTRIES - 1);
    if (this.#memoBits[memo] !== bits) {
      const [first, second] = slotWords(bits);
      this.#memoBits[memo] = bits;
      this.#memoWords[2 * memo] = first;
      this.#memoWords[2 * memo + 1] = second;
    }
    this.#i32[(slot >>> 2) + 1] = this.#memoWords[2 * memo + 1]!;
    this.#i32[slot >>> 2] = this.#memoWords[2 * memo]!;
  }

  /** Bytes of a frame with the CODE flag are about to change: by a store of the hart, or by a device. */
  written(mfn: number, offset: number, length: number): void {
    // Whoever else has decoded this use of the frame finds another generation at his next look.
    const info = this.#infoIndex(mfn);
    const generation = Atomics.add(this.#i32, info, 1 << 8) >>> 8;
    const page = this.#index.get(mfn);
    if (page === undefined) {
      Atomics.and(this.#i32, info, ~this.#o.constants.frameCode);
      return;
    }
    // What was decoded of an earlier use of the frame must not come back to life with the new generation.
    if (this.#generation[page] !== generation) this.#clear(page);
    this.#generation[page] = (generation + 1) & 0xffffff;
    if (++this.#writes[page]! > WRITES_UNTIL_DATA) {
      this.#drop(page);
      Atomics.and(this.#i32, info, ~this.#o.constants.frameCode);
      this.#o.flush();
      return;
    }
    // An instruction of 4 bytes may begin 2 bytes before the first one written.
    const first = Math.max(0, (offset >> 1) - 1);
    const last = Math.min(2047, (offset + length - 1) >> 1);
    const address = this.#address(page);
    this.#u8.fill(0, address + first * SLOT_BYTES, address + (last + 1) * SLOT_BYTES);
  }

  #address(page: number): number {
    return this.#o.address + page * DECODED_PAGE_BYTES;
  }

  #infoIndex(mfn: number): number {
    const { frameTable, constants } = this.#o;
    return (frameTable + mfn * constants.frameBytes + constants.frameInfoOffset) >>> 2;
  }

  #frameGeneration(mfn: number): number {
    return Atomics.load(this.#i32, this.#infoIndex(mfn)) >>> 8;
  }

  /** The page of zeros is never written, so that it needs no flag. */
  #flag(mfn: number): void {
    if (mfn === this.#o.zeroFrame) return;
    const { frameCode } = this.#o.constants;
    const old = Atomics.or(this.#i32, this.#infoIndex(mfn), frameCode);
    if ((old & frameCode) === 0) this.#o.flush();
  }

  /** A free decoded page; if there is none, one that was not fetched from since the hand came by last. */
  #take(): number {
    for (;;) {
      const page = this.#hand;
      this.#hand = (this.#hand + 1) % this.#o.pages;
      if (this.#frame[page] === 0) return page;
      if (this.#referenced[page] === 0) {
        this.#drop(page);
        this.#o.flush();
        return page;
      }
      this.#referenced[page] = 0;
    }
  }

  #drop(page: number): void {
    this.#index.delete(this.#frame[page]!);
    this.#frame[page] = 0;
    this.#clear(page);
  }

  #clear(page: number): void {
    const address = this.#address(page);
    this.#u8.fill(0, address, address + SLOTS_BYTES);
  }
}

/** The two words of a slot (see the engine's state for the layout). */
function slotWords(bits: number): [number, number] {
  const decoded = decode(bits);
  if (decoded === undefined) return [SLOT.illegal, 0];
  const instruction = INSTRUCTIONS[decoded.number]!;
  const { rd, rs1, rs2, rs3, rm } = decoded.operands;
  let { imm } = decoded.operands;
  if (instruction.pure && rd === 0) return [decoded.length === 2 ? SLOT.nop2 : SLOT.nop4, 0];
  if (instruction.format === 'CSR') {
    const index = csrIndex(imm);
    if (index === undefined) return [SLOT.illegal, 0];
    imm = index;
  } else if (instruction.format === 'R' || instruction.format === 'R4') {
    imm = rm | ((rs3 * 8) << 8);
  }
  const operation = operationOf(decoded.number, decoded.length);
  return [operation | ((rd * 8) << 8) | ((rs1 * 8) << 16) | ((rs2 * 8) << 24), imm];
}
