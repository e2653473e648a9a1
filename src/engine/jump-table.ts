import {
  type FunctionReference,
  type FunctionType,
  type I32,
  type I64,
  i32,
  i64,
  type ModuleBuilder,
  select,
  type TypeReference,
} from '../wasm/index.ts';
import { HartFields } from './emit.ts';
import {
  JUMP_ENTRY_BYTES,
  JUMP_PAGES,
  JUMP_PAGES_OFFSET,
  JUMP_SET_BYTES,
  JUMP_SETS,
  JUMP_TABLE_OFFSET,
  JUMP_TABLES_END,
} from './state.ts';
import { REGION_STATUS } from './translate/status.ts';

/** A translated region's function: (hart, pc) -> REGION_STATUS. */
export const REGION_TYPE = { parameters: ['i32', 'i64'], result: 'i32' } as const satisfies FunctionType;

/** Number of the set of a jump table that an address may be in. */
export function jumpSet(gva: bigint): number {
  const low = Number(BigInt.asUintN(32, gva));
  return ((low >>> 1) ^ (low >>> 12)) & (JUMP_SETS - 1);
}

/**
 * Looks an address up in the jump table.
 * @param ifFound writes what is done then, with the address of the entry
 */
export function findJump(h: HartFields, gva: I64, ifFound: (entry: I32) => void): void {
  const { code } = h;
  const low = i32.wrap(gva);
  const hash = i32.xor(i32.shr_u(low, i32.const(1)), i32.shr_u(low, i32.const(12)));
  const set = i32.mul(i32.and(hash, i32.const(JUMP_SETS - 1)), i32.const(JUMP_SET_BYTES));
  const entry = code.local('i32', i32.add(h.get32('jumpTable'), set));
  const tag = code.local('i64', i64.or(gva, i64.const(1))).get;
  // The second entry if it is not the first one: without a branch.
  const isOther = i64.ne(i64.load(entry.get), tag);
  code.set(entry, i32.add(entry.get, i32.mul(isOther, i32.const(JUMP_ENTRY_BYTES))));
  code.block((missed) => {
    code.brIf(missed, i64.ne(i64.load(entry.get), tag));
    code.brIf(missed, i32.ne(i32.load(entry.get, 12), h.get32('jumpSpace')));
    ifFound(entry.get);
  });
}

/** The function that a region ends in: (hart, pc) -> REGION_STATUS */
export function declareLink(module: ModuleBuilder): FunctionReference {
  return module.declare(REGION_TYPE.parameters, REGION_TYPE.result, 'link');
}

/**
 * Goes on at pc: in the region that waits for a return to there, or in another region if one is known there and no poll is
 * due. Regions share it, as V8 would take some hundred microseconds for a copy in each.
 */
export function defineLink(module: ModuleBuilder, link: FunctionReference, region: TypeReference): void {
  module.define(link, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const pc = code.parameter(1, 'i64').get;
    code.if(i64.eq(i64.load(h.get32('returnTop')), pc), () => code.return(i32.const(REGION_STATUS.returned)));
    code.if(i32.ge_s(h.get32('remaining'), i32.const(0)), () =>
      findJump(h, pc, (entry) => code.returnCallIndirect(region, i32.load(entry, 8), h.hart, pc)),
    );
    h.set('pc', pc);
    code.return(i32.const(REGION_STATUS.continue));
    code.unreachable();
  });
}

/** True if a region in the tables may have code on the page of an address. */
export function jumpPageIsUsed(h: HartFields, gva: I64): I32 {
  const page = i32.and(i32.wrap(i64.shr_u(gva, i64.const(12))), i32.const(JUMP_PAGES - 1));
  const byte = i32.load8_u(i32.add(h.hart, i32.shr_u(page, i32.const(3))), JUMP_PAGES_OFFSET);
  return i32.and(i32.shr_u(byte, i32.and(page, i32.const(7))), i32.const(1));
}

export function emptyJumpTables(h: HartFields): void {
  h.code.if(h.get32('jumpTableUsed'), () => {
    const first = i32.add(h.hart, i32.const(JUMP_TABLE_OFFSET));
    h.code.fill(first, i32.const(0), i32.const(JUMP_TABLES_END - JUMP_TABLE_OFFSET));
    h.set32('jumpTableUsed', i32.const(0));
    h.set32('jumpTableLocal', i32.const(0));
  });
}

/** The address space changes: user code of another one is told by its number, supervisor code is not. */
export function forgetLocalJumps(h: HartFields): void {
  h.code.if(h.get32('jumpTableLocal'), () => emptyJumpTables(h));
}

/** Says what entries have to say of their address space, after a change of it or of the privilege. */
export function chooseJumpSpace(h: HartFields): void {
  h.set32('jumpSpace', select(h.get32('privilege'), i32.const(0), h.get32('space')));
}
