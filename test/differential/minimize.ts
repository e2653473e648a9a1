/** Makes a program on which two machines disagree smaller: instructions become no-operations as long as they still disagree. */
import { compareMachines, type TestMachine } from './harness.ts';
import type { Program } from './program.ts';

const NOP = [0x13, 0x00, 0x00, 0x00];
const COMPRESSED_NOP = [0x01, 0x00];

/** Offsets of the instructions of a program's code, as far as they follow one another. */
export function instructionOffsets(code: Uint8Array): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < code.length; at += (code[at]! & 3) === 3 ? 4 : 2) offsets.push(at);
  return offsets;
}

export function isNop(code: Uint8Array, at: number): boolean {
  const pattern = (code[at]! & 3) === 3 ? NOP : COMPRESSED_NOP;
  return pattern.every((byte, index) => code[at + index] === byte);
}

function without(program: Program, offsets: readonly number[], number: number): Program {
  const code = program.code.slice();
  for (const at of offsets) code.set((code[at]! & 3) === 3 ? NOP : COMPRESSED_NOP, at);
  return { ...program, code, number };
}

/**
 * Removes ever smaller runs of instructions; all candidates of a round run in one batch.
 * @returns the smallest program found, with the number of the one given
 */
export async function minimize(expected: TestMachine, actual: TestMachine, program: Program): Promise<Program> {
  let best = program;
  const removable = (): number[] =>
    instructionOffsets(best.code)
      .slice(0, -1)
      .filter((at) => !isNop(best.code, at));
  let size = Math.max(1, removable().length >> 1);
  for (;;) {
    const offsets = removable();
    const candidates: Program[] = [];
    for (let start = 0; start < offsets.length; start += size) {
      candidates.push(without(best, offsets.slice(start, start + size), candidates.length));
    }
    // Hanging candidates would take the whole time limit each: a short one will do.
    const { mismatches } = await compareMachines(expected, actual, candidates, { timeout: 3000 });
    const found = mismatches.find(({ missing }) => missing === undefined);
    if (found !== undefined) best = { ...candidates[found.number]!, number: program.number };
    else if (size === 1) return best;
    else size = Math.max(1, size >> 1);
  }
}
