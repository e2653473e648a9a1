import { isCompressed } from '../isa/decode.ts';
import { BlockRoom, type BlockRoomOptions } from './block-room.ts';
import { CodeFrames, type CodeFramesOptions } from './code-frames.ts';
import { SlotDecoder } from './slot-decoder.ts';
import { aloneOperation, FIRST_INSTRUCTION, HANDLERS, OPERATIONS, pairOperation, SLOT } from './slots.ts';
import {
  BLOCK_BYTES,
  BLOCK_ENTRIES,
  BLOCK_ENTRY_BYTES,
  BLOCK_SHIFT,
  DECODED_CODE_OFFSET,
  SLOT_BYTES,
  SLOTS_BYTES,
} from './state.ts';
import { EFFECTS } from './translate/effects.ts';

const FRAME_BYTES = 4096;
const BLOCKS_PER_FRAME = FRAME_BYTES / BLOCK_BYTES;
/** Stores to a decoded block after which it counts as data. */
const WRITES_UNTIL_DATA = 64;
/** No block of machine memory. */
const NONE = 0xffffffff;

/** A hart whose decoded blocks last this long needs no room for more of them: two seconds. */
const SLOW_TURN_TICKS = 2e7;

export interface CodeCacheOptions extends BlockRoomOptions, CodeFramesOptions {
  /** Time in ticks of the platform's timer; without it there is always more room if there is any. */
  readonly now?: () => number;
  /** Byte address of the entries that the generated code looks for decoded blocks in. */
  readonly entries: number;
  /** Empties the hart's fetch TLBs: some decoded block is about to hold other code. */
  readonly flushFetch: () => void;
  /** The same, and has the hart fetch again before its next instruction. */
  readonly refetch: () => void;
  /** Instructions have been decoded: (slot of the first one, machine addresses of the first byte and of the end of their code). */
  readonly decoded: (slot: number, start: number, end: number) => void;
  /** The bytes of a frame with decoded code change. */
  readonly frameChanged: (mfn: number) => void;
  /** Given if the guest has other harts: code has changed. */
  readonly changed: (() => void) | undefined;
}

/**
 * The decoded blocks of one hart: machine memory whose code has been executed, instruction by instruction in the form
 * that the interpreter reads.
 *
 * A decoded block belongs to one use of a frame, which the frame's number and generation name. Invariants: a frame with
 * a decoded block has the CODE flag, and no write TLB of any hart has an entry for a frame with that flag, so that every
 * store to it is announced by `written`.
 */
export class CodeCache {
  readonly #o: CodeCacheOptions;
  readonly #frames: CodeFrames;
  readonly #room: BlockRoom;
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  /** Decoded block by block of machine memory. */
  readonly #index = new Map<number, number>();
  /** By decoded block: block of machine memory, its frame's generation, stores since it was last fetched from. */
  readonly #block: Uint32Array;
  readonly #generation: Uint32Array;
  readonly #writes: Uint32Array;
  readonly #referenced: Uint8Array;
  #hand = 0;
  /** When the hand last came round, ticks. */
  #turned = 0;
  readonly #decoder = new SlotDecoder();

  constructor(options: CodeCacheOptions) {
    this.#o = options;
    this.#i32 = new Int32Array(options.buffer);
    this.#u8 = new Uint8Array(options.buffer);
    this.#u16 = new Uint16Array(options.buffer);
    this.#frames = new CodeFrames(options);
    this.#room = new BlockRoom(this.#u8, options);
    const { most } = this.#room;
    this.#block = new Uint32Array(most).fill(NONE);
    this.#generation = new Uint32Array(most);
    this.#writes = new Uint32Array(most);
    this.#referenced = new Uint8Array(most);
  }

  /** The decoded block of a block of machine memory: its byte address. */
  block(number: number): number {
    const mfn = Math.floor(number / BLOCKS_PER_FRAME);
    const generation = this.frameGeneration(mfn);
    let index = this.#index.get(number);
    if (index === undefined) {
      index = this.#take();
      this.#index.set(number, index);
      this.#block[index] = number;
      this.#i32[(this.#room.address(index) + DECODED_CODE_OFFSET) >>> 2] = (number << BLOCK_SHIFT) | 0;
    } else if (this.#generation[index] !== generation) {
      this.#clear(index);
    }
    this.#generation[index] = generation;
    this.#writes[index] = 0;
    this.#referenced[index] = 1;
    this.#frames.watch(mfn, generation);
    this.#tell(number, index);
    return this.#room.address(index);
  }

  /**
   * Decodes the instruction at the place that a slot stands for, and those behind it up to a jump or the end of the block.
   * @returns the number of instructions; 0 if the frame has been put to another use since (then its bytes are not the guest's),
   * or the block was given up: it has to be fetched again
   */
  decodeSlot(slot: number): number {
    const index = this.#room.indexOf(slot);
    const address = this.#room.address(index);
    if (!this.#isCurrent(index)) {
      // The fetch TLB still leads here.
      this.#o.refetch();
      return 0;
    }
    const end = address + SLOTS_BYTES;
    const start = (this.#i32[(address + DECODED_CODE_OFFSET) >>> 2]! >>> 0) + ((slot - address) / SLOT_BYTES) * 2;
    let code = start;
    let next = slot;
    /** Slot of the instruction before. */
    let before = 0;
    let count = 0;
    do {
      count++;
      const low = this.#u16[code >>> 1]!;
      if (isCompressed(low)) this.decodeBits(next, low);
      else if (code % FRAME_BYTES === FRAME_BYTES - 2) {
        this.#u8[next] = SLOT.crossing;
        code += 2;
        break;
      } else this.decodeBits(next, low | (this.#u16[(code + 2) >>> 1]! << 16));
      const operation = this.#u8[next]!;
      if (before !== 0) this.#pair(before, operation);
      before = next;
      const length = LENGTH_OF_NEXT[operation]!;
      if (length === 0) {
        code += 2;
        break;
      }
      code += length;
      next += (length / 2) * SLOT_BYTES;
    } while (next < end && this.#u8[next] === SLOT.undecoded);
    this.#o.decoded(slot, start, code);
    return count;
  }

  /** Has a slot stand for both its instruction and the one behind it, if there is a handler for both. */
  #pair(slot: number, second: number): void {
    const operation = pairOperation(this.#u8[slot]!, second);
    if (operation !== 0) this.#u8[slot] = operation;
  }

  /** Machine address of the code that a slot stands for; undefined if the frame has been put to another use. */
  codeAddress(slot: number): number | undefined {
    const index = this.#room.indexOf(slot);
    const address = this.#room.address(index);
    const number = this.#block[index];
    if (number === undefined || !this.#isCurrent(index)) return undefined;
    return number * BLOCK_BYTES + ((slot - address) / SLOT_BYTES) * 2;
  }

  /** The slot for a machine address of code; undefined if there is none now. */
  slotAt(address: number): number | undefined {
    const index = this.#index.get(Math.floor(address / BLOCK_BYTES));
    if (index === undefined || !this.#isCurrent(index)) return undefined;
    return this.#room.address(index) + ((address % BLOCK_BYTES) / 2) * SLOT_BYTES;
  }

  /** True if the instruction of a slot has been decoded: it, or what leads to it without a jump, is executed. */
  slotWasExecuted(slot: number): boolean {
    const operation = this.#u8[slot];
    return operation !== SLOT.undecoded && operation !== SLOT.illegal;
  }

  /** Has a slot enter a translation. Gives the operation of the instruction that was there; undefined if there is none. */
  markTranslated(slot: number): number | undefined {
    const operation = this.#u8[slot]!;
    if (operation === SLOT.translated || operation === SLOT.undecoded) return undefined;
    this.#u8[slot] = SLOT.translated;
    return aloneOperation(operation);
  }

  setOperation(slot: number, operation: number): void {
    this.#u8[slot] = operation;
  }

  /** Has a slot decoded again when it is executed. */
  forget(slot: number): void {
    this.#u8[slot] = SLOT.undecoded;
  }

  /** False if nothing that a hart has was decoded from a frame. */
  mayHold(mfn: number): boolean {
    if (mfn !== this.#o.zeroFrame) return this.#frames.isFlagged(mfn);
    const first = mfn * BLOCKS_PER_FRAME;
    return Array.from({ length: BLOCKS_PER_FRAME }, (_, i) => first + i).some((number) => this.#index.has(number));
  }

  /** The frame whose code a decoded block holds. */
  frameOfBlock(address: number): number {
    return (this.#i32[(address + DECODED_CODE_OFFSET) >>> 2]! >>> 0) >>> 12;
  }

  frameGeneration(mfn: number): number {
    return this.#frames.generation(mfn);
  }

  /** Decodes instruction bits, signed or not, into a slot. */
  decodeBits(slot: number, bits: number): void {
    const decoder = this.#decoder;
    decoder.decode(bits);
    this.#i32[(slot >>> 2) + 1] = decoder.second;
    this.#i32[slot >>> 2] = decoder.first;
  }

  /**
   * Bytes of a frame with the CODE flag change: by a store of the hart, or by a device. To be called behind the change,
   * so that what another hart decodes before it is of an earlier generation. `ahead`: the change comes only now; then the
   * frame loses the flag, and whoever decodes of it must first wait until this hart polls, which is behind the change.
   */
  written(mfn: number, offset: number, length: number, ahead = false): void {
    // An instruction of 4 bytes may begin 2 bytes before the first one written, and be the second of a pair.
    const first = Math.max(0, offset - 6);
    const end = offset + length;
    const stays = this.#staysCode(mfn, first, end) && !(ahead && this.#o.dropSiblingWrites !== undefined);
    // Whoever else has decoded this use of the frame finds another generation at his next look.
    const { before, now } = stays ? this.#frames.change(mfn) : this.#frames.release(mfn);
    this.#o.frameChanged(mfn);
    this.#o.changed?.();
    let known = false;
    for (let part = 0; part < BLOCKS_PER_FRAME; part++) {
      const index = this.#index.get(mfn * BLOCKS_PER_FRAME + part);
      if (index === undefined) continue;
      known = true;
      if (!stays) {
        this.#drop(index);
        continue;
      }
      // What was decoded of an earlier use of the frame must not come back to life with the new generation.
      if (this.#generation[index] !== before) this.#clear(index);
      this.#generation[index] = now;
      const from = Math.max(0, first - part * BLOCK_BYTES);
      const to = Math.min(BLOCK_BYTES, end - part * BLOCK_BYTES);
      if (from >= to) continue;
      const address = this.#room.address(index);
      this.#undecode(address + (from >> 1) * SLOT_BYTES, address + ((to + 1) >> 1) * SLOT_BYTES);
    }
    if (known && !stays) this.#o.refetch();
  }

  /** Undecodes the blocks that other harts have written to since they were decoded. */
  dropStale(): void {
    for (const index of this.#index.values()) if (!this.#isCurrent(index)) this.#clear(index);
  }

  /** Gives the room beside the hart's area back, and with it what was decoded there. Not while the hart executes. */
  shrink(): void {
    this.#decoder.forget();
    if (this.#room.blocks === this.#o.blocks) return;
    // What stays is of work that is done, too: its room is used first.
    for (let index = 0; index < this.#o.blocks; index++) {
      this.#referenced[index] = 0;
      const number = this.#block[index]!;
      if (number !== NONE) this.#takeBack(number);
    }
    for (let index = this.#o.blocks; index < this.#room.blocks; index++) {
      const number = this.#block[index]!;
      if (number === NONE) continue;
      this.#takeBack(number);
      this.#index.delete(number);
      this.#block[index] = NONE;
    }
    // Before another one gets the memory nothing may lead there.
    this.#o.refetch();
    this.#hand = 0;
    this.#room.shrink();
  }

  /** Counts a store to decoded blocks of a frame. False if there is none, or one that is written so often that it is data. */
  #staysCode(mfn: number, first: number, end: number): boolean {
    let known = false;
    let isData = false;
    for (let part = 0; part < BLOCKS_PER_FRAME; part++) {
      const index = this.#index.get(mfn * BLOCKS_PER_FRAME + part);
      if (index === undefined) continue;
      known = true;
      const start = part * BLOCK_BYTES;
      if (first < start + BLOCK_BYTES && end > start) isData ||= ++this.#writes[index]! > WRITES_UNTIL_DATA;
    }
    return known && !isData;
  }

  #isCurrent(index: number): boolean {
    const number = this.#block[index]!;
    return number !== NONE && this.frameGeneration(Math.floor(number / BLOCKS_PER_FRAME)) === this.#generation[index];
  }

  /** Lets the generated code find a decoded block by itself, for as long as the frame's word stays the same. */
  #tell(number: number, index: number): void {
    const mfn = Math.floor(number / BLOCKS_PER_FRAME);
    const word = this.#frames.word(mfn);
    if (!this.#frames.isWatched(mfn, word, this.#generation[index]!)) return;
    const entry = this.#entry(number);
    this.#i32[entry] = number + 1;
    this.#i32[entry + 1] = this.#room.address(index);
    this.#i32[entry + 2] = word;
  }

  /** The next fetch from a block is to be seen here; until then nothing leads to it but the fetch TLBs. */
  #takeBack(number: number): void {
    const entry = this.#entry(number);
    if (this.#i32[entry] === number + 1) this.#i32[entry] = 0;
  }

  #entry(number: number): number {
    return (this.#o.entries + (number & (BLOCK_ENTRIES - 1)) * BLOCK_ENTRY_BYTES) >>> 2;
  }

  /**
   * A free decoded block. If there is none as the hand comes round, there may be room for more of them; otherwise it is one
   * that was not fetched from since the hand came by last.
   */
  #take(): number {
    for (;;) {
      if (this.#hand >= this.#room.blocks && !(this.#turnsFast() && this.#room.grow())) this.#hand = 0;
      const index = this.#hand++;
      if (this.#block[index] === NONE) return index;
      if (this.#referenced[index] === 0) {
        this.#drop(index);
        this.#o.flushFetch();
        return index;
      }
      this.#referenced[index] = 0;
      this.#takeBack(this.#block[index]!);
    }
  }

  /** Whether the hand comes round again soon: otherwise decoding anew costs hardly anything. */
  #turnsFast(): boolean {
    const now = this.#o.now?.() ?? 0;
    const isFast = now - this.#turned < SLOW_TURN_TICKS;
    this.#turned = now;
    return isFast;
  }

  #drop(index: number): void {
    this.#index.delete(this.#block[index]!);
    this.#block[index] = NONE;
    this.#clear(index);
  }

  #clear(index: number): void {
    const address = this.#room.address(index);
    this.#undecode(address, address + SLOTS_BYTES);
  }

  /**
   * Only the operation goes: the instruction that stores here may be one of these slots, and needs its operands yet.
   */
  #undecode(start: number, end: number): void {
    for (let slot = start; slot < end; slot += SLOT_BYTES) this.#u8[slot] = SLOT.undecoded;
  }
}

/** By operation: bytes of the instruction if the next one is executed behind it; 0 otherwise. */
const LENGTH_OF_NEXT = Uint8Array.from({ length: OPERATIONS }, (_, operation) => {
  if (operation === SLOT.nop2) return 2;
  if (operation === SLOT.nop4) return 4;
  const handler = HANDLERS[operation - FIRST_INSTRUCTION];
  if (handler === undefined) return 0;
  return EFFECTS[handler.number]!.control === 'next' ? handler.length : 0;
});
