import { type Decoded, INSTRUCTIONS } from '../../isa/decode.ts';
import { FunctionBuilder, type I64, i64 } from '../../wasm/index.ts';
import { resultOf } from './effects.ts';
import { asWord, withoutZero } from './words.ts';

/**
 * Whether the translator has rd as a 32-bit value of which it is the sign extension: always, when all registers that are read
 * are such, or never; or it is a constant, which is one as well.
 */
export type WordKind = 'always' | 'of words' | 'never' | 'constant';

/**
 * What rd becomes may depend on the immediate: 0 leaves things as they are, a bit that it names may be one of those that a sign
 * extension copies, and a shift by 32 or more leaves nothing but such. By class: samples.
 */
const SAMPLES = [[0], [32, 48, 63], [8, 31, 63, -1]].map((samples) => samples.map((imm) => i64.const(imm)));
const ANY_IMMEDIATE = SAMPLES.length - 1;

const classOf = (imm: number): number => (imm === 0 ? 0 : imm >= 32 && imm <= 63 ? 1 : ANY_IMMEDIATE);

/**
 * By instruction, class, and which registers are x0. Most are never asked for, and only the translator asks: a start has no time
 * for all of them.
 */
const known: WordKind[] = [];

export function wordKind({ number, operands: { rs1, rs2, imm } }: Decoded): WordKind {
  const zeros = (rs1 === 0 ? 1 : 0) | (rs2 === 0 ? 2 : 0);
  const immediates = classOf(imm);
  const key = (number * SAMPLES.length + immediates) * 4 + zeros;
  known[key] ??= find(number, SAMPLES[immediates]!, zeros);
  return known[key];
}

function find(number: number, immediates: readonly I64[], zeros: number): WordKind {
  const code = new FunctionBuilder({ parameters: [], result: undefined });
  const results = (source: () => I64): (I64 | undefined)[] =>
    immediates.map((imm) =>
      resultOf(INSTRUCTIONS[number]!, {
        rs1: zeros & 1 ? i64.const(0) : source(),
        rs2: zeros & 2 ? i64.const(0) : source(),
        imm,
      }),
    );
  const areWords = (values: readonly (I64 | undefined)[]): boolean =>
    values.every((value) => value !== undefined && asWord(value) !== undefined);
  const plain = results(() => code.local('i64').get);
  if (plain.every((value) => value !== undefined && withoutZero(value).constant !== undefined)) return 'constant';
  if (areWords(plain)) return 'always';
  return areWords(results(() => i64.extend_i32_s(code.local('i32').get))) ? 'of words' : 'never';
}
