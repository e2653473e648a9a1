import { INSTRUCTIONS } from '../../isa/decode.ts';
import { FunctionBuilder, type I64, i64 } from '../../wasm/index.ts';
import { resultOf } from './effects.ts';
import { asWord } from './words.ts';

/**
 * Whether the translator has rd as a 32-bit value of which it is the sign extension: always, when all registers that are read
 * are such, or never; or it is a constant, which is one as well.
 */
export type WordKind = 'always' | 'of words' | 'never' | 'constant';

/** What rd becomes may depend on the immediate: a bit that it names may be one of those that a sign extension copies. */
const IMMEDIATES = [8, 31, 63].map((imm) => i64.const(imm));

/** By number of instruction. Most are never asked for, and only the translator asks: a start has no time for all of them. */
const known: WordKind[] = [];

export const wordKind = (number: number): WordKind => (known[number] ??= find(number));

function find(number: number): WordKind {
  const code = new FunctionBuilder({ parameters: [], result: undefined });
  const results = (source: () => I64): (I64 | undefined)[] =>
    IMMEDIATES.map((imm) => resultOf(INSTRUCTIONS[number]!, { rs1: source(), rs2: source(), imm }));
  const areWords = (values: readonly (I64 | undefined)[]): boolean =>
    values.every((value) => value !== undefined && asWord(value) !== undefined);
  const plain = results(() => code.local('i64').get);
  if (plain.every((value) => value?.constant !== undefined)) return 'constant';
  if (areWords(plain)) return 'always';
  return areWords(results(() => i64.extend_i32_s(code.local('i32').get))) ? 'of words' : 'never';
}
