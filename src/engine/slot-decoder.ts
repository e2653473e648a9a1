import { csrIndex } from '../isa/csr.ts';
import { decode, INSTRUCTIONS, isCompressed, wordNumber } from '../isa/decode.ts';
import { type Operands, operandsOf } from '../isa/format.ts';
import type { Instruction } from '../isa/instruction.ts';
import { operationOf, SLOT } from './slots.ts';

const MEMO_ENTRIES = 8192;
const EMPTY = -1;

/**
 * Turns instruction bits into the words of a slot (see the engine's state for the layout). A guest that boots has hundreds of
 * thousands of instructions decoded. Compressed ones are remembered: there are few that differ, and they take longer.
 */
export class SlotDecoder {
  /** The words of what was decoded last. */
  first = 0;
  second = 0;
  /** Compressed instructions by a hash of their bits: the bits, first and second word. */
  readonly #memoBits = new Int32Array(MEMO_ENTRIES).fill(EMPTY);
  readonly #memoWords = new Int32Array(2 * MEMO_ENTRIES);

  decode(bits: number): void {
    if (isCompressed(bits)) this.#compressed(bits);
    else this.#word(bits);
  }

  #compressed(bits: number): void {
    const memo = (bits ^ (bits >>> 13)) & (MEMO_ENTRIES - 1);
    if (this.#memoBits[memo] !== bits) {
      const decoded = decode(bits);
      if (decoded === undefined) this.#set(SLOT.illegal, 0);
      else this.#put(INSTRUCTIONS[decoded.number]!, operationOf(decoded.number, 2), SLOT.nop2, decoded.operands);
      this.#memoBits[memo] = bits;
      this.#memoWords[2 * memo] = this.first;
      this.#memoWords[2 * memo + 1] = this.second;
    }
    this.#set(this.#memoWords[2 * memo]!, this.#memoWords[2 * memo + 1]!);
  }

  #word(bits: number): void {
    const number = wordNumber(bits);
    if (number === undefined) {
      this.#set(SLOT.illegal, 0);
      return;
    }
    const instruction = INSTRUCTIONS[number]!;
    this.#put(instruction, operationOf(number, 4), SLOT.nop4, operandsOf(instruction.format, bits));
  }

  #put(instruction: Instruction, operation: number, nop: number, { rd, rs1, rs2, rs3, imm, rm }: Operands): void {
    const { format, pure } = instruction;
    if (pure && rd === 0) {
      this.#set(nop, 0);
      return;
    }
    let second = imm;
    if (format === 'CSR') {
      const index = csrIndex(imm);
      if (index === undefined) {
        this.#set(SLOT.illegal, 0);
        return;
      }
      second = index;
    } else if (format === 'R' || format === 'R4') {
      second = rm | ((rs3 * 8) << 8);
    }
    this.#set(operation | ((rd * 8) << 8) | ((rs1 * 8) << 16) | ((rs2 * 8) << 24), second);
  }

  #set(first: number, second: number): void {
    this.first = first;
    this.second = second;
  }
}
