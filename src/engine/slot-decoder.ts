import { csrIndex } from '../isa/csr.ts';
import { decode, INSTRUCTIONS, isCompressed, wordNumber } from '../isa/decode.ts';
import { noOperands, type Operands, readOperands } from '../isa/format.ts';
import type { Instruction } from '../isa/instruction.ts';
import { operationOf, SLOT } from './slots.ts';

/** Halfwords whose lower two bits are 0 to 2: the compressed instructions. */
const COMPRESSED = 3 << 14;

/**
 * Turns instruction bits into the words of a slot (see the engine's state for the layout). A guest that boots has hundreds of
 * thousands of instructions decoded. Compressed ones are remembered: there are few that differ, and they take longer.
 */
export class SlotDecoder {
  /** The words of what was decoded last. */
  first = 0;
  second = 0;
  /** First and second word by compressed instruction; a first word of 0, which no instruction has: not decoded yet. */
  #known: Int32Array | undefined;
  readonly #operands = noOperands();

  /** For a hart that has become idle: what is remembered is 384 KiB. */
  forget(): void {
    this.#known = undefined;
  }

  decode(bits: number): void {
    if (isCompressed(bits)) this.#compressed(bits);
    else this.#word(bits);
  }

  #compressed(bits: number): void {
    this.#known ??= new Int32Array(2 * COMPRESSED);
    const place = (((bits & 3) << 14) | ((bits & 0xffff) >>> 2)) * 2;
    if (this.#known[place] === 0) {
      const decoded = decode(bits);
      if (decoded === undefined) this.#set(SLOT.illegal, 0);
      else this.#put(INSTRUCTIONS[decoded.number]!, operationOf(decoded.number, 2), SLOT.nop2, decoded.operands);
      this.#known[place] = this.first;
      this.#known[place + 1] = this.second;
    } else this.#set(this.#known[place]!, this.#known[place + 1]!);
  }

  #word(bits: number): void {
    const number = wordNumber(bits);
    if (number === undefined) {
      this.#set(SLOT.illegal, 0);
      return;
    }
    const instruction = INSTRUCTIONS[number]!;
    this.#put(instruction, operationOf(number, 4), SLOT.nop4, readOperands(instruction.format, bits, this.#operands));
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
