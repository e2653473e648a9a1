import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asWord, compareWords } from '../../../src/engine/translate/words.ts';
import { FunctionBuilder, type I64, i32, i64 } from '../../../src/wasm/index.ts';

const code = new FunctionBuilder({ parameters: ['i64', 'i32'], result: undefined });
const wide = code.parameter(0, 'i64').get;
const word = code.parameter(1, 'i32').get;
const extended = i64.extend_i32_s(word);

test('what is the sign extension of 32 bits', () => {
  assert.equal(asWord(extended), word);
  assert.equal(asWord(i64.add(extended, i64.const(0))), word);
  for (const value of [
    i64.xor(extended, extended),
    i64.and(extended, i64.const(-(2 ** 31))),
    i64.or(i64.const(2 ** 31 - 1), i64.xor(extended, i64.const(-1))),
  ]) {
    assert.equal(asWord(value)?.type, 'i32');
  }
  assert.equal(asWord(i64.load32_s(word))?.operator, 'load');
});

test('comparisons of sign extensions are those of 32 bits', () => {
  for (const compare of [i64.eq, i64.ne, i64.lt_s, i64.lt_u, i64.ge_s, i64.ge_u]) {
    for (const other of [extended, i64.const(0), i64.const(-5)]) {
      const narrow = compareWords(compare(extended, other));
      assert.equal(narrow.operands?.[0]?.type, 'i32');
      assert.equal(narrow.operator, compare(extended, other).operator);
    }
    const condition = compare(extended, wide);
    assert.equal(compareWords(condition), condition);
  }
});

test('what is not, or is not known to be', () => {
  const values: I64[] = [
    wide,
    i64.load32_s(word, 8),
    i64.load32_u(word),
    i64.const(1),
    i64.extend_i32_u(word),
    i64.or(extended, wide),
    i64.and(extended, i64.const(2 ** 31)),
    i64.add(extended, i64.const(1)),
    i64.shl(extended, i64.const(1)),
  ];
  for (const [index, value] of values.entries()) assert.equal(asWord(value), undefined, `${index}`);
});

test('the low half of a sign extension is what was extended', () => {
  assert.equal(i32.wrap(extended), word);
  assert.notEqual(i32.wrap(wide), word);
});
