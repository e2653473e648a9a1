import { CAUSE } from '../isa/fields.ts';
import {
  call,
  type FunctionBuilder,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type ModuleBuilder,
  select,
} from '../wasm/index.ts';
import { HartFields, type Imports } from './emit.ts';
import { emptyJumpTables, jumpPageIsUsed } from './jump-table.ts';
import {
  BLOCK_BYTES,
  BLOCK_SHIFT,
  CROSSING_OFFSET,
  FETCH_TABLE_BYTES,
  FETCH_TLB_ENTRIES,
  FETCH_TLB_OFFSET,
  type MemoryConstants,
  offset32,
  offset64,
  TLB_END,
  TLB_ENTRY_BYTES,
  TLB_OFFSET,
  TLB_TABLE_BYTES,
  TLB_WRITE_OFFSET,
} from './state.ts';
import { ACCESS, NO_TRANSLATION, type WalkFunctions } from './walk.ts';

/** A machine address that stands for a device; RAM is never there (page 0 holds the host header). */
const DEVICE = 1;

/** In place of a decoded block's address: the crossing slot holds the instruction. */
export const IN_CROSSING_SLOT = 1;

/** Results of the slow accesses. */
export const STORED = { fault: 0, done: 1, doneAndResynchronize: 2 } as const;

export interface AccessFunctions {
  /** (hart): empties all TLBs */
  readonly flush: FunctionReference;
  /** (hart, gva, hasAddress) */
  readonly flushAddress: FunctionReference;
  /** (hart, gva, bytes, access) -> machine address; DEVICE; 0: trap */
  readonly dataAddress: FunctionReference;
  /** (hart, gva, bytes) -> machine address of what was loaded; 0: trap */
  readonly load: FunctionReference;
  /** (hart, gva, bytes, value) -> STORED */
  readonly store: FunctionReference;
  /** (hart, gva, bytes, access) -> machine address; 0: trap */
  readonly atomic: FunctionReference;
  /** (hart, pc) -> decoded block of pc; IN_CROSSING_SLOT; 0: trap */
  readonly fetch: FunctionReference;
  /** (hart, pc) -> IN_CROSSING_SLOT; 0: trap */
  readonly crossing: FunctionReference;
}

export function declareAccess(module: ModuleBuilder): AccessFunctions {
  return {
    flush: module.declare(['i32'], undefined, 'flush'),
    flushAddress: module.declare(['i32', 'i64', 'i32']),
    dataAddress: module.declare(['i32', 'i64', 'i32', 'i32'], 'i32'),
    load: module.declare(['i32', 'i64', 'i32'], 'i32', 'load'),
    store: module.declare(['i32', 'i64', 'i32', 'i64'], 'i32', 'store'),
    atomic: module.declare(['i32', 'i64', 'i32', 'i32'], 'i32', 'atomic'),
    fetch: module.declare(['i32', 'i64'], 'i32', 'fetch'),
    crossing: module.declare(['i32', 'i64'], 'i32'),
  };
}

/** Byte offset in a TLB table of the entry that a guest-virtual address may be in. */
export const tlbIndex = (gva: I64): I32 => i32.and(i32.shr_u(i32.wrap(gva), i32.const(8)), i32.const(0xff0));
/** The same for a fetch table: its entries are of blocks. */
export const fetchTlbIndex = (gva: I64): I32 =>
  i32.and(i32.shr_u(i32.wrap(gva), i32.const(BLOCK_SHIFT - 4)), i32.const((FETCH_TLB_ENTRIES - 1) * TLB_ENTRY_BYTES));
/** The same for a known address. */
export const fetchTlbOffset = (gva: bigint): number =>
  (Number(BigInt.asUintN(32, gva)) >>> (BLOCK_SHIFT - 4)) & ((FETCH_TLB_ENTRIES - 1) * TLB_ENTRY_BYTES);
export const blockOf = (gva: I64): I64 => i64.and(gva, i64.const(-BLOCK_BYTES));
const pageOf = (gva: I64): I64 => i64.and(gva, i64.const(-4096));

export function defineAccess(
  module: ModuleBuilder,
  f: AccessFunctions,
  walk: WalkFunctions,
  imports: Imports,
  m: MemoryConstants,
): void {
  defineFlush(module, f);
  defineDataAddress(module, f, walk, m);
  defineLoad(module, f, imports);
  defineStore(module, f, imports);
  defineAtomic(module, f, imports);
  defineFetch(module, f, walk, imports);
}

function defineFlush(module: ModuleBuilder, f: AccessFunctions): void {
  module.define(f.flush, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    code.fill(i32.add(h.hart, i32.const(TLB_OFFSET)), i32.const(0xff), i32.const(TLB_END - TLB_OFFSET));
    h.set('largePagesLow', i64.const(-1));
    h.set('largePagesLast', i64.const(0));
    emptyJumpTables(h);
  });
  // One address: its entry in every table; if it may lie in a large page, whose translation sits in many entries, all.
  module.define(f.flushAddress, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const all = i32.or(
      i32.eqz(code.parameter(2, 'i32').get),
      i32.and(i64.ge_u(gva, h.get('largePagesLow')), i64.le_u(gva, h.get('largePagesLast'))),
    );
    code.if(all, () => {
      code.callVoid(f.flush, h.hart);
      code.return();
    });
    code.if(jumpPageIsUsed(h, gva), () => emptyJumpTables(h));
    const entry = code.local('i32', i32.add(h.hart, tlbIndex(gva))).get;
    for (let table = TLB_OFFSET; table < FETCH_TLB_OFFSET; table += TLB_TABLE_BYTES) {
      code.store(8, entry, i64.const(-1), table);
    }
    const firstBlock = code.local('i32', i32.add(h.hart, fetchTlbIndex(pageOf(gva)))).get;
    for (let table = FETCH_TLB_OFFSET; table < TLB_END; table += FETCH_TABLE_BYTES) {
      for (let block = 0; block < 4096 / BLOCK_BYTES; block++) {
        code.store(8, firstBlock, i64.const(-1), table + block * TLB_ENTRY_BYTES);
      }
    }
  });
}

/**
 * Remembers the range that large pages were cached in, so that a flush by address knows when one entry is not enough.
 */
function noteLargePage(h: HartFields, gva: I64): void {
  h.code.if(i32.gt_u(h.get32('leafShift'), i32.const(12)), () => {
    const size = i64.shl(i64.const(1), i64.extend_i32_u(h.get32('leafShift')));
    const low = h.code.local('i64', i64.and(gva, i64.sub(i64.const(0), size))).get;
    const last = h.code.local('i64', i64.add(low, i64.sub(size, i64.const(1)))).get;
    h.code.if(i64.lt_u(low, h.get('largePagesLow')), () => h.set('largePagesLow', low));
    h.code.if(i64.gt_u(last, h.get('largePagesLast')), () => h.set('largePagesLast', last));
  });
}

/**
 * Translates one access that does not cross a page and puts the translation into the TLB, except for what has to be
 * looked at every time: stores to frames with decoded code, and pages that the PMP grants only in part.
 */
function defineDataAddress(module: ModuleBuilder, f: AccessFunctions, walk: WalkFunctions, m: MemoryConstants): void {
  module.define(f.dataAddress, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const bytes = code.parameter(2, 'i32').get;
    const access = code.parameter(3, 'i32').get;
    const privilege = h.get32('dataPrivilege');
    const flushes = code.local('i32', h.get32('flushes')).get;
    const gpa = code.local('i64', call('i64', walk.walk, h.hart, gva, access, privilege)).get;
    code.if(i64.eq(gpa, i64.const(NO_TRANSLATION)), () => code.return(i32.const(0)));
    const granted = code.local('i32', call('i32', walk.pmp, h.hart, gpa, bytes, access, privilege)).get;
    code.if(i32.eqz(granted), () => {
      h.raise(select(access, i32.const(CAUSE.storeAccessFault), i32.const(CAUSE.loadAccessFault)), gva);
      code.return(i32.const(0));
    });
    const address = code.local('i32', call('i32', walk.physical, h.hart, gpa, access)).get;
    // While the hart waited for the page, the guest may have changed its page table and counted this hart as flushed.
    code.if(i32.ne(h.get32('flushes'), flushes), () =>
      code.return(call('i32', f.dataAddress, h.hart, gva, bytes, access)),
    );
    code.if(i32.eqz(address), () => {
      h.set('deviceAddress', gpa);
      code.return(i32.const(DEVICE));
    });
    const frameInfo = i32.add(
      h.get32('frameTable'),
      i32.mul(i32.shr_u(address, i32.const(12)), i32.const(m.frameBytes)),
    );
    const holdsCode = i32.and(i32.load(frameInfo, m.frameInfoOffset), i32.const(m.frameCode));
    h.set32('codeFrame', i32.and(i32.ne(holdsCode, i32.const(0)), access));
    code.if(i32.and(i32.eq(granted, i32.const(1)), i32.eqz(h.get32('codeFrame'))), () => {
      noteLargePage(h, gva);
      const table = i32.add(h.get32('dataTlb'), i32.mul(access, i32.const(TLB_WRITE_OFFSET)));
      const entry = code.local('i32', i32.add(table, tlbIndex(gva))).get;
      code.store(8, entry, pageOf(gva));
      code.store(4, entry, i32.sub(address, i32.wrap(gva)), 8);
    });
    code.return(address);
  });
}

const crossesPage = (gva: I64, bytes: I32): I32 =>
  i32.gt_u(i32.add(i32.and(i32.wrap(gva), i32.const(0xfff)), bytes), i32.const(4096));
const isMisaligned = (gva: I64, bytes: I32): I32 => i32.and(i32.wrap(gva), i32.sub(bytes, i32.const(1)));

function defineLoad(module: ModuleBuilder, f: AccessFunctions, imports: Imports): void {
  module.define(f.load, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const bytes = code.parameter(2, 'i32').get;
    const valueAddress = i32.add(h.hart, i32.const(offset64('value')));
    code.if(crossesPage(gva, bytes), () => {
      byteByByte(code, bytes, (index, step) => {
        const from = code.local('i32');
        code.set(from, call('i32', f.load, h.hart, i64.add(gva, i64.extend_i32_u(index)), i32.const(1)));
        code.if(i32.eqz(from.get), () => code.return(i32.const(0)));
        // A device's byte arrives in `value` itself, so the bytes are gathered elsewhere.
        code.store(1, i32.add(h.hart, index), i32.load8_u(from.get), offset64('trapValue'));
        step();
      });
      h.set('value', h.get('trapValue'));
      code.return(valueAddress);
    });
    const address = code.local('i32', call('i32', f.dataAddress, h.hart, gva, bytes, i32.const(ACCESS.read))).get;
    code.if(i32.ne(address, i32.const(DEVICE)), () => code.return(address));
    code.if(isMisaligned(gva, bytes), () => {
      h.raise(CAUSE.loadAccessFault, gva);
      code.return(i32.const(0));
    });
    h.set32('deviceFault', i32.const(0));
    h.set('value', call('i64', imports.deviceRead, h.get('deviceAddress'), bytes));
    code.if(h.get32('deviceFault'), () => {
      h.raise(CAUSE.loadAccessFault, gva);
      code.return(i32.const(0));
    });
    code.return(valueAddress);
  });
}

function byteByByte(code: FunctionBuilder, bytes: I32, body: (index: I32, step: () => void) => void): void {
  const index = code.local('i32', i32.const(0));
  code.loop((again) => {
    body(index.get, () => {
      code.set(index, i32.add(index.get, i32.const(1)));
      code.brIf(again, i32.lt_u(index.get, bytes));
    });
  });
}

function defineStore(module: ModuleBuilder, f: AccessFunctions, imports: Imports): void {
  module.define(f.store, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const bytes = code.parameter(2, 'i32').get;
    const value = code.parameter(3, 'i64').get;
    code.if(crossesPage(gva, bytes), () => {
      // Both pages first: a store that faults must not have stored anything.
      const second = code.local('i64', pageOf(i64.add(gva, i64.const(7)))).get;
      const one = i32.const(1);
      for (const page of [gva, second]) {
        const address = call('i32', f.dataAddress, h.hart, page, one, i32.const(ACCESS.write));
        code.if(i32.eqz(address), () => code.return(i32.const(STORED.fault)));
      }
      const status = code.local('i32', i32.const(STORED.done));
      const result = code.local('i32');
      byteByByte(code, bytes, (index, step) => {
        const distance = i64.extend_i32_u(i32.shl(index, i32.const(3)));
        const address = i64.add(gva, i64.extend_i32_u(index));
        code.set(result, call('i32', f.store, h.hart, address, one, i64.shr_u(value, distance)));
        code.if(i32.eqz(result.get), () => code.return(i32.const(STORED.fault)));
        code.set(status, i32.or(status.get, result.get));
        step();
      });
      // 3 is done and done-and-resynchronize of some byte.
      code.return(select(i32.gt_u(status.get, i32.const(1)), i32.const(2), i32.const(1)));
    });
    const address = code.local('i32', call('i32', f.dataAddress, h.hart, gva, bytes, i32.const(ACCESS.write))).get;
    code.if(i32.eqz(address), () => code.return(i32.const(STORED.fault)));
    code.if(i32.eq(address, i32.const(DEVICE)), () => {
      code.if(isMisaligned(gva, bytes), () => {
        h.raise(CAUSE.storeAccessFault, gva);
        code.return(i32.const(STORED.fault));
      });
      h.set32('deviceFault', i32.const(0));
      code.callVoid(imports.deviceWrite, h.get('deviceAddress'), bytes, value);
      code.if(h.get32('deviceFault'), () => {
        h.raise(CAUSE.storeAccessFault, gva);
        code.return(i32.const(STORED.fault));
      });
      code.return(i32.const(STORED.doneAndResynchronize));
    });
    code.block((done) => {
      for (const size of [1, 2, 4] as const) {
        code.if(i32.eq(bytes, i32.const(size)), () => {
          code.store(size, address, value);
          code.br(done);
        });
      }
      code.store(8, address, value);
    });
    code.if(h.get32('codeFrame'), () => code.callVoid(imports.codeWritten, address, bytes, i32.const(0)));
    code.return(i32.add(i32.const(STORED.done), h.get32('refetch')));
  });
}

/** LR, SC and AMO have to be aligned and in RAM. For SC and AMO the page is made writable. */
function defineAtomic(module: ModuleBuilder, f: AccessFunctions, imports: Imports): void {
  module.define(f.atomic, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const bytes = code.parameter(2, 'i32').get;
    const access = code.parameter(3, 'i32').get;
    const fail = (load: number, store: number): void => {
      h.raise(select(access, i32.const(store), i32.const(load)), gva);
      code.return(i32.const(0));
    };
    code.if(isMisaligned(gva, bytes), () => fail(CAUSE.loadAddressMisaligned, CAUSE.storeAddressMisaligned));
    const address = code.local('i32', call('i32', f.dataAddress, h.hart, gva, bytes, access)).get;
    code.if(i32.eq(address, i32.const(DEVICE)), () => fail(CAUSE.loadAccessFault, CAUSE.storeAccessFault));
    code.if(i32.and(i32.ne(address, i32.const(0)), h.get32('codeFrame')), () =>
      code.callVoid(imports.codeWritten, address, bytes, i32.const(1)),
    );
    code.return(address);
  });
}

/** Instructions come from RAM only. */
function defineFetch(module: ModuleBuilder, f: AccessFunctions, walk: WalkFunctions, imports: Imports): void {
  const fetchAddress = (
    h: HartFields,
    gva: I64,
    bytes: number,
    onFault: () => void,
  ): { address: I32; granted: I32 } => {
    const code = h.code;
    const privilege = h.get32('privilege');
    const access = i32.const(ACCESS.fetch);
    const gpa = code.local('i64', call('i64', walk.walk, h.hart, gva, access, privilege)).get;
    code.if(i64.eq(gpa, i64.const(NO_TRANSLATION)), () => onFault());
    const granted = code.local('i32', call('i32', walk.pmp, h.hart, gpa, i32.const(bytes), access, privilege)).get;
    const address = code.local('i32', i32.const(0));
    code.if(granted, () => code.set(address, call('i32', walk.physical, h.hart, gpa, i32.const(0))));
    code.if(i32.eqz(address.get), () => {
      h.raise(CAUSE.instructionAccessFault, gva);
      onFault();
    });
    return { address: address.get, granted };
  };

  module.define(f.fetch, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const pc = code.parameter(1, 'i64').get;
    const flushes = code.local('i32', h.get32('flushes')).get;
    const { address, granted } = fetchAddress(h, pc, 2, () => code.return(i32.const(0)));
    code.if(i32.eq(granted, i32.const(2)), () => code.return(call('i32', f.crossing, h.hart, pc)));
    const block = code.local('i32', call('i32', imports.codeBlock, i32.shr_u(address, i32.const(BLOCK_SHIFT)))).get;
    // As for data: what was translated before a flush is looked at again.
    code.if(i32.ne(h.get32('flushes'), flushes), () => code.return(call('i32', f.fetch, h.hart, pc)));
    noteLargePage(h, pc);
    const entry = code.local('i32', i32.add(h.get32('fetchTlb'), fetchTlbIndex(pc))).get;
    code.store(8, entry, blockOf(pc));
    code.store(4, entry, block, 8);
    code.return(block);
  });

  module.define(f.crossing, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const pc = code.parameter(1, 'i64').get;
    const flushes = code.local('i32', h.get32('flushes')).get;
    const half = (gva: I64): I32 => {
      const { address } = fetchAddress(h, gva, 2, () => code.return(i32.const(0)));
      return code.local('i32', i32.load16_u(address)).get;
    };
    const bits = code.local('i32', half(pc));
    code.if(i32.eq(i32.and(bits.get, i32.const(3)), i32.const(3)), () => {
      const high = half(i64.add(pc, i64.const(2)));
      code.set(bits, i32.or(bits.get, i32.shl(high, i32.const(16))));
    });
    code.if(i32.ne(h.get32('flushes'), flushes), () => code.return(call('i32', f.crossing, h.hart, pc)));
    code.if(i32.ne(bits.get, i32.load(h.hart, offset32('crossingBits'))), () => {
      h.set32('crossingBits', bits.get);
      code.callVoid(imports.decodeBits, i32.add(h.hart, i32.const(CROSSING_OFFSET)), bits.get);
    });
    code.return(i32.const(IN_CROSSING_SLOT));
  });
}
