import {
  type FunctionBuilder,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type ModuleBuilder,
  select,
} from '../wasm/index.ts';
import type { HartFields } from './emit.ts';
import {
  BLOCK_BYTES,
  BLOCK_SHIFT,
  DATA_TABLES,
  FETCH_TABLE_BYTES,
  FETCH_TABLES,
  FETCH_TLB_ENTRIES,
  FETCH_TLB_OFFSET,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_OFFSET,
  TLB_TABLE_BYTES,
  TLB_USED_BYTES,
  TLB_USED_OFFSET,
  TLB_WRITE_OFFSET,
} from './state.ts';
import type { TlbFunctions } from './tlb.ts';

/**
 * The first level of the TLB: tables that the code of each access probes by itself. Who fills an entry notes which part of
 * the table it is in, so that a flush costs what was in use.
 */

/** Byte offset in a TLB table of the entry that a guest-virtual address may be in. */
export const tlbIndex = (gva: I64): I32 =>
  i32.and(
    i32.shr_u(i32.wrap(gva), i32.const(12 - Math.log2(TLB_ENTRY_BYTES))),
    i32.const((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES),
  );
/** The same for a fetch table: its entries are of blocks. */
export const fetchTlbIndex = (gva: I64): I32 =>
  i32.and(i32.shr_u(i32.wrap(gva), i32.const(BLOCK_SHIFT - 4)), i32.const((FETCH_TLB_ENTRIES - 1) * TLB_ENTRY_BYTES));
/** The same for a known address. */
export const fetchTlbOffset = (gva: bigint): number =>
  (Number(BigInt.asUintN(32, gva)) >>> (BLOCK_SHIFT - 4)) & ((FETCH_TLB_ENTRIES - 1) * TLB_ENTRY_BYTES);
export const blockOf = (gva: I64): I64 => i64.and(gva, i64.const(-BLOCK_BYTES));
export const pageOf = (gva: I64): I64 => i64.and(gva, i64.const(-4096));

/** Tables are numbered: those for data (an even number is for reading, the next for writing), then those for fetches. */
const ALL_TABLES = DATA_TABLES + FETCH_TABLES;
/** log2 of the bytes of a part: a table has 64 of them. */
const DATA_PART_SHIFT = Math.log2(TLB_TABLE_BYTES / 64);
const FETCH_PART_SHIFT = Math.log2(FETCH_TABLE_BYTES / 64);
/** Distance of the mask of parts that hold what is valid in one address space only, from that of all used parts. */
const LOCAL_MASK = 8;

/** Puts a translation into a data table; `isLocal`: it does not hold in every address space. */
export function fillData(h: HartFields, table: I32, gva: I64, address: I32, isLocal: I32): void {
  const { code } = h;
  const index = code.local('i32', tlbIndex(gva)).get;
  const entry = code.local('i32', i32.add(table, index)).get;
  code.store(8, entry, pageOf(gva));
  code.store(4, entry, i32.sub(address, i32.wrap(gva)), 8);
  const number = i32.div_u(i32.sub(table, i32.add(h.hart, i32.const(TLB_OFFSET))), i32.const(TLB_TABLE_BYTES));
  noteUse(h, number, i32.shr_u(index, i32.const(DATA_PART_SHIFT)), isLocal);
}

/** Puts the decoded block of an address into the fetch table of the present privilege. */
export function fillFetch(h: HartFields, gva: I64, block: I32, isLocal: I32): void {
  const { code } = h;
  const table = code.local('i32', h.get32('fetchTlb')).get;
  const index = code.local('i32', fetchTlbIndex(gva)).get;
  const entry = code.local('i32', i32.add(table, index)).get;
  code.store(8, entry, blockOf(gva));
  code.store(4, entry, block, 8);
  const number = i32.div_u(i32.sub(table, i32.add(h.hart, i32.const(FETCH_TLB_OFFSET))), i32.const(FETCH_TABLE_BYTES));
  const part = i32.shr_u(index, i32.const(FETCH_PART_SHIFT));
  noteUse(h, i32.add(number, i32.const(DATA_TABLES)), part, isLocal);
}

function noteUse({ code, hart }: HartFields, table: I32, part: I32, isLocal: I32): void {
  const masks = code.local('i32', i32.add(hart, i32.mul(table, i32.const(TLB_USED_BYTES)))).get;
  const bit = code.local('i64', i64.shl(i64.const(1), i64.extend_i32_u(part))).get;
  for (const [mask, is] of [
    [TLB_USED_OFFSET, i32.const(1)],
    [TLB_USED_OFFSET + LOCAL_MASK, isLocal],
  ] as const) {
    code.if(is, () => code.store(8, masks, i64.or(i64.load(masks, mask), bit), mask));
  }
}

/** Takes a page out of all tables. */
export function forgetPage({ code, hart }: HartFields, gva: I64): void {
  const entry = code.local('i32', i32.add(hart, tlbIndex(gva))).get;
  for (let table = 0; table < DATA_TABLES; table++) {
    code.store(8, entry, i64.const(-1), TLB_OFFSET + table * TLB_TABLE_BYTES);
  }
  const firstBlock = code.local('i32', i32.add(hart, fetchTlbIndex(pageOf(gva)))).get;
  for (let table = 0; table < FETCH_TABLES; table++) {
    const start = FETCH_TLB_OFFSET + table * FETCH_TABLE_BYTES;
    for (let block = 0; block < 4096 / BLOCK_BYTES; block++) {
      code.store(8, firstBlock, i64.const(-1), start + block * TLB_ENTRY_BYTES);
    }
  }
}

/** Empties the entries that are not valid in every address space, and some others with them. */
export const flushLocal = ({ code, hart }: HartFields, f: TlbFunctions): void =>
  code.callVoid(f.flushTables, hart, i32.const(LOCAL_MASK), i32.const(0), i32.const(ALL_TABLES));

export function defineFirstLevel(module: ModuleBuilder, f: TlbFunctions): void {
  for (const [reference, first, end] of [
    [f.flushFirst, 0, ALL_TABLES],
    [f.flushData, 0, DATA_TABLES],
    [f.flushFetch, DATA_TABLES, ALL_TABLES],
  ] as const) {
    module.define(reference, (code) => {
      const hart = code.parameter(0, 'i32').get;
      code.callVoid(f.flushTables, hart, i32.const(0), i32.const(first), i32.const(end));
    });
  }
  defineFlushTables(module, f);
  defineDrop(module, f.dropWrites, TLB_WRITE_OFFSET / TLB_TABLE_BYTES, 2);
  defineDrop(module, f.dropFrame, 0, 1);
}

/** (hart, 0 or LOCAL_MASK, first table, end): empties the parts of the mask, in the first table and those up to the end. */
function defineFlushTables(module: ModuleBuilder, f: TlbFunctions): void {
  module.define(f.flushTables, (code) => {
    const hart = code.parameter(0, 'i32').get;
    const which = code.parameter(1, 'i32').get;
    const table = code.parameter(2, 'i32');
    const masks = code.local('i32');
    const parts = code.local('i64');
    const start = code.local('i32');
    const isFetch = code.local('i32');
    code.loop((again) => {
      code.set(masks, i32.add(hart, i32.mul(table.get, i32.const(TLB_USED_BYTES))));
      code.set(parts, i64.load(i32.add(masks.get, which), TLB_USED_OFFSET));
      const others = i64.and(i64.load(masks.get, TLB_USED_OFFSET), i64.xor(parts.get, i64.const(-1)));
      code.store(8, masks.get, others, TLB_USED_OFFSET);
      code.store(8, masks.get, i64.const(0), TLB_USED_OFFSET + LOCAL_MASK);
      code.set(isFetch, i32.ge_u(table.get, i32.const(DATA_TABLES)));
      const fetchTable = i32.sub(table.get, i32.const(DATA_TABLES));
      const offset = select(
        isFetch.get,
        i32.add(i32.const(FETCH_TLB_OFFSET), i32.mul(fetchTable, i32.const(FETCH_TABLE_BYTES))),
        i32.add(i32.const(TLB_OFFSET), i32.mul(table.get, i32.const(TLB_TABLE_BYTES))),
      );
      code.set(start, i32.add(hart, offset));
      const partShift = select(isFetch.get, i32.const(FETCH_PART_SHIFT), i32.const(DATA_PART_SHIFT));
      eachPart(code, parts.get, start.get, partShift, (part) => {
        clear(code, part, 0, 1 << DATA_PART_SHIFT);
        code.if(isFetch.get, () => clear(code, part, 1 << DATA_PART_SHIFT, 1 << FETCH_PART_SHIFT));
      });
      code.set(table, i32.add(table.get, i32.const(1)));
      code.brIf(again, i32.lt_u(table.get, code.parameter(3, 'i32').get));
    });
  });
}

/** Takes a frame, by its machine address, out of each `step`th data table from the `first` on. */
function defineDrop(module: ModuleBuilder, reference: FunctionReference, first: number, step: number): void {
  module.define(reference, (code) => {
    const hart = code.parameter(0, 'i32').get;
    const frame = code.parameter(1, 'i32').get;
    for (let table = first; table < DATA_TABLES; table += step) {
      const parts = i64.load(hart, TLB_USED_OFFSET + table * TLB_USED_BYTES);
      const start = i32.add(hart, i32.const(TLB_OFFSET + table * TLB_TABLE_BYTES));
      eachPart(code, parts, start, i32.const(DATA_PART_SHIFT), (part) => {
        for (let entry = 0; entry < 1 << DATA_PART_SHIFT; entry += TLB_ENTRY_BYTES) {
          const mapped = i32.add(i32.load(part, entry), i32.load(part, entry + 8));
          code.if(i32.eq(mapped, frame), () => code.store(8, part, i64.const(-1), entry));
        }
      });
    }
  });
}

function clear(code: FunctionBuilder, part: I32, from: number, to: number): void {
  for (let entry = from; entry < to; entry += TLB_ENTRY_BYTES) code.store(8, part, i64.const(-1), entry);
}

/** Runs `body` with the address of each part of a table that a mask names. */
function eachPart(code: FunctionBuilder, mask: I64, start: I32, partShift: I32, body: (part: I32) => void): void {
  const left = code.local('i64', mask);
  const part = code.local('i32');
  code.block((done) => {
    code.brIf(done, i64.eqz(left.get));
    code.loop((again) => {
      code.set(part, i32.add(start, i32.shl(i32.wrap(i64.ctz(left.get)), partShift)));
      body(part.get);
      code.set(left, i64.and(left.get, i64.sub(left.get, i64.const(1))));
      code.brIf(again, i64.ne(left.get, i64.const(0)));
    });
  });
}
