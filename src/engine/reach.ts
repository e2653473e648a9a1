import { call, type FunctionType, type I32, type I64, i32, i64, type ModuleBuilder } from '../wasm/index.ts';
import type { AccessFunctions } from './access.ts';
import { HartFields } from './emit.ts';
import { TLB_WRITE_OFFSET } from './state.ts';
import { pageOf, tlbIndex } from './tlb-first.ts';
import { DEVICE } from './walk.ts';

/** `reach` and `look`. */
export const REACH_TYPE = { parameters: ['i32', 'i64', 'i32'], result: 'i32' } as const satisfies FunctionType;

/**
 * What translated code wants to reach, in one word, as it is a constant of each access. Bits 0..15: distance in bytes from the
 * first byte to the last one; bit 16: 1 for ACCESS.write, 0 for ACCESS.read; the others are those of REACH.
 */
export const reachWord = (access: number, distance: number, how = 0): number =>
  distance | (access << REACH_ACCESS_SHIFT) | how;

export const REACH = {
  /** Not if the TLB has been flushed since the last time. */
  ifNotFlushed: 1 << 17,
  /** For several accesses: to be noted in the field `straddled` if they lie on two pages. */
  group: 1 << 18,
} as const;

const REACH_DISTANCE = 0xffff;
const REACH_ACCESS_SHIFT = 16;

/**
 * `reach`: the access of translated code behind a TLB miss, for some bytes of one page. What is not plain RAM (devices,
 * pages with decoded code, what faults) it leaves to the interpreter. So does it when the TLB has been flushed on the way:
 * machine addresses that the translated code had before mean nothing then. `look` is the same for a page that is in the
 * TLB or comes there, so that all of it may be accessed.
 */
function reachParts(word: I32): { distance: I32; access: I32; ifNotFlushed: I32; group: I32 } {
  const bit = (shift: number): I32 => i32.and(i32.shr_u(word, i32.const(shift)), i32.const(1));
  return {
    distance: i32.and(word, i32.const(REACH_DISTANCE)),
    access: bit(REACH_ACCESS_SHIFT),
    ifNotFlushed: bit(Math.log2(REACH.ifNotFlushed)),
    group: bit(Math.log2(REACH.group)),
  };
}

export function defineReach(module: ModuleBuilder, f: AccessFunctions): void {
  module.define(f.reach, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const { distance, access, ifNotFlushed, group } = reachParts(code.parameter(2, 'i32').get);
    const none = i32.const(0);
    code.if(i32.and(ifNotFlushed, h.get32('refetch')), () => code.return(none));
    h.set32('refetch', none);
    const last = i64.add(gva, i64.extend_i32_u(distance));
    // One of a group that lies on two pages: its own page is in the TLB mostly.
    const entry = firstLevelEntry(h, gva, access);
    code.if(i64.eq(i64.load(entry), pageOf(last)), () => found(h, entry, gva));
    code.if(i64.ne(pageOf(gva), pageOf(last)), () => {
      h.set32('straddled', i32.or(h.get32('straddled'), group));
      code.return(none);
    });
    const bytes = i32.add(distance, i32.const(1));
    // A store that has to be seen is left to the interpreter, by `codeFrame`.
    h.set32('storing', i32.const(1));
    const address = code.local('i32', call('i32', f.dataAddress, h.hart, gva, bytes, access)).get;
    h.set32('storing', none);
    code.if(i32.le_u(address, i32.const(DEVICE)), () => code.return(none));
    code.if(i32.or(h.get32('refetch'), h.get32('codeFrame')), () => code.return(none));
    h.set32('reached', address);
    code.return(i32.const(1));
    code.unreachable();
  });
  module.define(f.look, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const word = code.parameter(2, 'i32').get;
    const { distance, access } = reachParts(word);
    const last = i64.add(gva, i64.extend_i32_u(distance));
    const entry = firstLevelEntry(h, gva, access);
    code.if(i64.eq(i64.load(entry), pageOf(last)), () => found(h, entry, gva));
    // What the PMP grants only in part is in no TLB: the next access to the page has to be looked at, too.
    const isWhole = i64.eq(i64.load(entry), pageOf(last));
    code.if(call('i32', f.reach, h.hart, gva, word), () => code.if(isWhole, () => found(h, entry, gva)));
    code.return(i32.const(0));
    code.unreachable();
  });
}

/** Address of the entry of the first-level TLB that an address may be in. */
function firstLevelEntry(h: HartFields, gva: I64, access: I32): I32 {
  const table = i32.add(h.get32('dataTlb'), i32.mul(access, i32.const(TLB_WRITE_OFFSET)));
  return h.code.local('i32', i32.add(table, tlbIndex(gva))).get;
}

function found(h: HartFields, entry: I32, gva: I64): void {
  h.set32('reached', i32.add(i32.load(entry, 8), i32.wrap(gva)));
  h.code.return(i32.const(1));
}
