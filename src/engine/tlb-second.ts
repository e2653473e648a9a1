import { type FunctionBuilder, type I32, type I64, i32, i64, type ModuleBuilder, select } from '../wasm/index.ts';
import { HartFields } from './emit.ts';
import {
  SECOND_TLB_OFFSET,
  SECOND_TLB_SETS,
  SET_BYTES,
  SET_WAYS,
  WALK_CACHE_OFFSET,
  WALK_CACHE_SETS,
} from './state.ts';
import type { TlbFunctions } from './tlb.ts';

/** What is behind the first level of the TLB: second level and walk cache, in sets of the same shape (see `state.ts`). */

/** Bits of a page table entry (privileged specification, 10.3.1). */
export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;

const ENTRY_BYTES = SET_BYTES / SET_WAYS;
/** Byte offsets in an entry. */
const NUMBER = 8;
export const LAST_WORD = 12;

/** One of the two tables. */
export interface Sets {
  /** Address bits that the tag leaves out. */
  readonly tagShift: number;
  readonly setOf: (h: HartFields, gva: I64) => I32;
}

const sets = (offset: number, count: number, tagShift: number, otherShift: number): Sets => ({
  tagShift,
  setOf: (h, gva) => {
    const bits = (shift: number): I32 => i32.wrap(i64.shr_u(gva, i64.const(shift)));
    const index = i32.and(i32.xor(bits(tagShift), bits(otherShift)), i32.const(count - 1));
    return i32.add(i32.add(h.hart, i32.const(offset)), i32.mul(index, i32.const(SET_BYTES)));
  },
});

export const SECOND_LEVEL = sets(SECOND_TLB_OFFSET, SECOND_TLB_SETS, 12, 24);
export const WALK_CACHE = sets(WALK_CACHE_OFFSET, WALK_CACHE_SETS, 21, 30);

const tagMatches = (entry: I32, gva: I64, { tagShift }: Sets): I32 =>
  i64.eqz(i64.shr_u(i64.xor(i64.load(entry), gva), i64.const(tagShift)));

/** Runs `body` with the entry of an address that is valid now, if there is one. */
export function find(h: HartFields, table: Sets, gva: I64, body: (entry: I32) => void): void {
  const { code } = h;
  const entry = code.local('i32', table.setOf(h, gva));
  const space = code.local('i32', h.get32('space')).get;
  const globalSpace = code.local('i32', h.get32('globalSpace')).get;
  code.block((missed) => {
    code.block((found) => {
      for (let way = 0; way < SET_WAYS; way++) {
        if (way > 0) code.set(entry, i32.add(entry.get, i32.const(ENTRY_BYTES)));
        const number = i32.load(entry.get, NUMBER);
        const valid = i32.or(i32.eq(number, space), i32.eq(number, globalSpace));
        code.brIf(found, i32.and(tagMatches(entry.get, gva, table), valid));
      }
      code.br(missed);
    });
    body(entry.get);
  });
}

/** Takes an address out of its set, in all address spaces. */
export function forget(h: HartFields, table: Sets, gva: I64): void {
  const { code } = h;
  const set = code.local('i32', table.setOf(h, gva)).get;
  for (let way = 0; way < SET_WAYS; way++) {
    const entry = i32.add(set, i32.const(way * ENTRY_BYTES));
    code.if(tagMatches(entry, gva, table), () => code.store(4, entry, i32.const(0), NUMBER));
  }
}

/**
 * The entry of a set that a new one may take the place of: the one with the same tag and number (then `onSame` runs), one
 * that is not valid any more, or any.
 */
export function place(h: HartFields, table: Sets, gva: I64, number: I32, onSame?: (entry: I32) => void): I32 {
  const { code } = h;
  const set = code.local('i32', table.setOf(h, gva)).get;
  const firstSpace = code.local('i32', h.get32('firstSpace')).get;
  const next = i32.and(i32.add(h.get32('victim'), i32.const(ENTRY_BYTES)), i32.const(SET_BYTES - 1));
  h.set32('victim', next);
  const entry = code.local('i32', i32.add(set, h.get32('victim')));
  const at = (way: number): I32 => i32.add(set, i32.const(way * ENTRY_BYTES));
  for (let way = 0; way < SET_WAYS; way++) {
    code.set(entry, select(i32.lt_u(i32.load(at(way), NUMBER), firstSpace), at(way), entry.get));
  }
  code.block((done) => {
    for (let way = 0; way < SET_WAYS; way++) {
      code.if(i32.and(tagMatches(at(way), gva, table), i32.eq(i32.load(at(way), NUMBER), number)), () => {
        code.set(entry, at(way));
        onSame?.(entry.get);
        code.br(done);
      });
    }
  });
  return entry.get;
}

export function put(code: FunctionBuilder, entry: I32, tag: I64, number: I32, lastWord: I32): void {
  code.store(8, entry, tag);
  code.store(4, entry, number, NUMBER);
  code.store(4, entry, lastWord, LAST_WORD);
}

/** The number under which a translation is kept. */
export const numberOf = (h: HartFields, isGlobal: I32): I32 =>
  select(isGlobal, h.get32('globalSpace'), h.get32('space'));

export function defineSecondLevel(module: ModuleBuilder, f: TlbFunctions): void {
  module.define(f.second, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    find(h, SECOND_LEVEL, code.parameter(1, 'i64').get, (entry) => code.return(i32.load(entry, LAST_WORD)));
    code.return(i32.const(0));
  });
  module.define(f.remember, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const word = code.parameter(2, 'i32');
    const isGlobal = i32.and(word.get, i32.const(PTE.G));
    const number = code.local('i32', numberOf(h, isGlobal)).get;
    const entry = place(h, SECOND_LEVEL, gva, number, (same) => {
      // Rights to the same frame add up; but those of a user page are not those of a page that is none, and vice versa.
      const old = i32.load(same, LAST_WORD);
      const differing = i32.and(i32.xor(word.get, old), i32.const(~(PTE.R | PTE.W | PTE.X)));
      code.if(i32.eqz(differing), () => code.set(word, i32.or(word.get, old)));
    });
    put(code, entry, gva, number, word.get);
  });
}
