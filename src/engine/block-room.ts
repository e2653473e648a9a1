import { SLOT } from './slots.ts';
import { DECODED_BLOCK_BYTES, MORE_BLOCKS, MORE_BLOCKS_BYTES, SLOT_BYTES, SLOTS_BYTES } from './state.ts';

/** Where a hart gets room for more decoded blocks than its area has: in pieces of MORE_BLOCKS. */
export interface MoreBlocks {
  /** Pieces that it may have at a time. */
  readonly most: number;
  /** Byte address of another piece, of MORE_BLOCKS_BYTES; undefined if there is none now. */
  take(): number | undefined;
  /** Takes all pieces back. */
  giveAll(): void;
}

export interface BlockRoomOptions {
  /** Byte address and number of the decoded blocks that the hart always has. */
  readonly address: number;
  readonly blocks: number;
  readonly more?: MoreBlocks | undefined;
}

/** The room that a hart's decoded blocks have: in its area, and in pieces beside it. Blocks are numbered from 0 on. */
export class BlockRoom {
  readonly #o: BlockRoomOptions;
  readonly #u8: Uint8Array;
  /** Byte addresses of the pieces beside the hart's area. */
  #pieces: number[] = [];

  constructor(u8: Uint8Array, options: BlockRoomOptions) {
    this.#o = options;
    this.#u8 = u8;
    this.#prepare(0, options.blocks);
  }

  /** Blocks that there is room for now. */
  get blocks(): number {
    return this.#o.blocks + this.#pieces.length * MORE_BLOCKS;
  }

  /** Blocks that there may ever be room for. */
  get most(): number {
    return this.#o.blocks + (this.#o.more?.most ?? 0) * MORE_BLOCKS;
  }

  /** Byte address of a block. */
  address(index: number): number {
    const { address, blocks } = this.#o;
    if (index < blocks) return address + index * DECODED_BLOCK_BYTES;
    const beside = index - blocks;
    return this.#pieces[Math.floor(beside / MORE_BLOCKS)]! + (beside % MORE_BLOCKS) * DECODED_BLOCK_BYTES;
  }

  /** The block that a slot is in. */
  indexOf(slot: number): number {
    const { address, blocks } = this.#o;
    for (let piece = 0; piece < this.#pieces.length; piece++) {
      const distance = slot - this.#pieces[piece]!;
      if (distance < 0 || distance >= MORE_BLOCKS_BYTES) continue;
      return blocks + piece * MORE_BLOCKS + Math.floor(distance / DECODED_BLOCK_BYTES);
    }
    return Math.floor((slot - address) / DECODED_BLOCK_BYTES);
  }

  /** Gets room for more blocks, if there is any and the hart may have it. */
  grow(): boolean {
    const { more } = this.#o;
    if (more === undefined || this.#pieces.length >= more.most) return false;
    const piece = more.take();
    if (piece === undefined) return false;
    const first = this.blocks;
    this.#pieces.push(piece);
    this.#prepare(first, this.blocks);
    return true;
  }

  /** Gives the room beside the hart's area back. */
  shrink(): void {
    this.#pieces = [];
    this.#o.more?.giveAll();
  }

  /** Makes room from block `first` up to `end` ready for use. */
  #prepare(first: number, end: number): void {
    for (let index = first; index < end; index++) {
      const address = this.address(index);
      this.#u8.fill(0, address, address + DECODED_BLOCK_BYTES);
      this.#u8[address + SLOTS_BYTES] = SLOT.blockEnd;
      this.#u8[address + SLOTS_BYTES + SLOT_BYTES] = SLOT.blockEnd;
    }
  }
}
