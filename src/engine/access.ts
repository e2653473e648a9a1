import { CAUSE, MSTATUS } from '../isa/fields.ts';
import {
  call,
  type FunctionBuilder,
  type FunctionReference,
  type FunctionType,
  type I32,
  type I64,
  i32,
  i64,
  type Label,
  type Local,
  type ModuleBuilder,
  select,
} from '../wasm/index.ts';
import { HartFields, type Imports } from './emit.ts';
import {
  BLOCK_ENTRIES,
  BLOCK_ENTRIES_OFFSET,
  BLOCK_ENTRY_BYTES,
  BLOCK_SHIFT,
  CROSSING_OFFSET,
  type MemoryConstants,
  offset32,
  offset64,
  TLB_WRITE_OFFSET,
} from './state.ts';
import type { TlbFunctions } from './tlb.ts';
import { fillData, fillFetch, pageOf, tlbIndex } from './tlb-first.ts';
import { PTE } from './tlb-second.ts';
import { ACCESS, isPaged, NO_TRANSLATION, PLAIN_STORE, type WalkFunctions } from './walk.ts';

/** A machine address that stands for a device; RAM is never there (page 0 holds the host header). */
const DEVICE = 1;

/** `storing` in place of a number of bytes: a store of translated code, which the interpreter makes if it has to be seen. */
export const ANNOUNCED_STORE = 0x100;

/** In place of a decoded block's address: the crossing slot holds the instruction. */
export const IN_CROSSING_SLOT = 1;

/** Results of the slow accesses. */
export const STORED = { fault: 0, done: 1, doneAndResynchronize: 2 } as const;

/** `reach` and `look`. */
export const REACH_TYPE = { parameters: ['i32', 'i64', 'i32'], result: 'i32' } as const satisfies FunctionType;

/**
 * What translated code wants to reach, in one word, as it is a constant of each access. Bits 0..15: distance in bytes from the
 * first byte to the last one; bit 16: 1 for ACCESS.write, 0 for ACCESS.read; bit 17: not if the TLB has been flushed since the
 * last time.
 */
export const reachWord = (access: number, distance: number, ifNotFlushed = false): number =>
  distance | (access << REACH_ACCESS_SHIFT) | (ifNotFlushed ? REACH_IF_NOT_FLUSHED : 0);

const REACH_DISTANCE = 0xffff;
const REACH_ACCESS_SHIFT = 16;
const REACH_IF_NOT_FLUSHED = 1 << 17;

export interface AccessFunctions {
  /** (hart, gva, bytes, access) -> machine address; DEVICE; 0: trap */
  readonly dataAddress: FunctionReference;
  /** (hart, gva, bytes) -> machine address of what was loaded; 0: trap */
  readonly load: FunctionReference;
  /** (hart, gva, bytes, value) -> STORED */
  readonly store: FunctionReference;
  /** (hart, gva, bytes, access) -> machine address; 0: trap */
  readonly atomic: FunctionReference;
  /** (hart, gva) -> machine address of an instruction; 0: trap. How it was granted is in fetchGranted and fetchGlobal. */
  readonly fetchAddress: FunctionReference;
  /**
   * (hart, gva, `reachWord`) -> 1: the machine address of gva is in the field `reached`, and all of that is RAM; 0: not this way.
   * V8 knows of what it loads that the upper half of the register is clear, and of results of calls it does not.
   */
  readonly reach: FunctionReference;
  /** The same, after a look at the first level of the TLB. */
  readonly look: FunctionReference;
  /** (hart, pc) -> decoded block of pc; IN_CROSSING_SLOT; 0: trap */
  readonly fetch: FunctionReference;
  /** (hart, pc) -> IN_CROSSING_SLOT; 0: trap */
  readonly crossing: FunctionReference;
}

export function declareAccess(module: ModuleBuilder): AccessFunctions {
  return {
    dataAddress: module.declare(['i32', 'i64', 'i32', 'i32'], 'i32'),
    load: module.declare(['i32', 'i64', 'i32'], 'i32'),
    store: module.declare(['i32', 'i64', 'i32', 'i64'], 'i32'),
    reach: module.declare(REACH_TYPE.parameters, REACH_TYPE.result, 'reach'),
    look: module.declare(REACH_TYPE.parameters, REACH_TYPE.result, 'look'),
    atomic: module.declare(['i32', 'i64', 'i32', 'i32'], 'i32', 'atomic'),
    fetchAddress: module.declare(['i32', 'i64'], 'i32', 'fetchAddress'),
    fetch: module.declare(['i32', 'i64'], 'i32'),
    crossing: module.declare(['i32', 'i64'], 'i32'),
  };
}

interface Uses {
  readonly walk: WalkFunctions;
  readonly tlb: TlbFunctions;
  readonly imports: Imports;
  readonly m: MemoryConstants;
}

export function defineAccess(module: ModuleBuilder, f: AccessFunctions, uses: Uses): void {
  defineDataAddress(module, f, uses);
  defineLoad(module, f, uses.imports);
  defineStore(module, f, uses.imports);
  defineAtomic(module, f, uses.imports);
  defineReach(module, f);
  defineFetchAddress(module, f, uses);
  defineFetch(module, f, uses);
}

/**
 * Whether a translation of the second level grants an access: it was granted before, and the page is of the right kind.
 */
function secondGrants(h: HartFields, word: I32, access: I32, privilege: I32): I32 {
  const right = i32.shl(i32.const(PTE.R), access);
  const isUser = i32.eqz(privilege);
  const anyPage = i32.and(i32.ne(access, i32.const(ACCESS.fetch)), h.has('mstatus', MSTATUS.SUM));
  const kind = select(i32.or(isUser, i32.eqz(anyPage)), i32.const(PTE.U), i32.const(0));
  const wanted = i32.or(right, select(isUser, i32.const(PTE.U), i32.const(0)));
  return i32.eq(i32.and(word, i32.or(right, kind)), wanted);
}

/**
 * Puts the translation of the last walk into the second level: with the access that was granted, and with those that
 * would be granted without any further work.
 */
function remember(h: HartFields, u: Uses, gva: I64, gpa: I64, access: I32): void {
  const { code } = h;
  const { m, tlb } = u;
  const flags = h.get32('leafFlags');
  const isWrite = i32.eq(access, i32.const(ACCESS.write));
  const granted = i32.and(i32.shl(i32.const(PTE.R), access), flags);
  const rights = code.local('i32', select(isWrite, i32.const(PTE.R | PTE.W), granted));
  // Where there is a PMP, it was asked for this kind of access only.
  code.if(i32.eqz(h.get32('pmpChecks')), () => {
    const dirty = PTE.W | PTE.D;
    const isDirty = i32.eq(i32.and(flags, i32.const(dirty)), i32.const(dirty));
    const write = select(isDirty, i32.const(PTE.W), i32.const(0));
    code.set(rights, i32.or(rights.get, i32.or(i32.and(flags, i32.const(PTE.R | PTE.X)), write)));
  });
  const page = i32.and(flags, i32.const(PTE.U | PTE.G));
  const place = i32.wrap(i64.and(i64.sub(gpa, i64.const(m.ramBase)), i64.const(-4096)));
  const word = i32.or(place, i32.or(page, rights.get));
  code.callVoid(tlb.remember, h.hart, gva, word);
  code.callVoid(tlb.markLarge, h.hart, gva);
}

/**
 * Looks into the second level; if it grants the access, and the page is there, sets address and isGlobal and leaves by
 * `found`.
 */
function trySecond(
  h: HartFields,
  u: Uses,
  gva: I64,
  access: I32,
  privilege: I32,
  found: { address: Local<'i32'>; isGlobal: Local<'i32'>; label: Label },
): void {
  const { code } = h;
  const word = code.local('i32', call('i32', u.tlb.second, h.hart, gva)).get;
  code.if(secondGrants(h, word, access, privilege), () => {
    const place = i32.or(i32.and(word, i32.const(-4096)), i32.and(i32.wrap(gva), i32.const(0xfff)));
    const isWrite = i32.eq(access, i32.const(ACCESS.write));
    code.set(found.address, call('i32', u.walk.resident, h.hart, place, isWrite));
    code.if(found.address.get, () => {
      h.count('secondHits');
      code.set(found.isGlobal, i32.and(word, i32.const(PTE.G)));
      code.br(found.label);
    });
  });
}

/**
 * Translates one access that does not cross a page and puts the translation into the TLB, except for what has to be
 * looked at every time: stores to frames with decoded code, single stores to pages that are not there (`codeFrame` bits 0 and
 * 1), and pages that the PMP grants only in part.
 */
function defineDataAddress(module: ModuleBuilder, f: AccessFunctions, u: Uses): void {
  const { walk, m } = u;
  module.define(f.dataAddress, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const bytes = code.parameter(2, 'i32').get;
    const access = code.parameter(3, 'i32').get;
    const privilege = code.local('i32', h.get32('dataPrivilege')).get;
    const paged = code.local('i32', isPaged(h, privilege)).get;
    const flushes = code.local('i32', h.get32('flushes')).get;
    const address = code.local('i32');
    const granted = code.local('i32', i32.const(1));
    const isGlobal = code.local('i32', i32.const(1));
    h.count('dataMisses');
    h.set32('singleStore', i32.const(0));
    code.block((label) => {
      code.if(paged, () => trySecond(h, u, gva, access, privilege, { address, isGlobal, label }));
      const gpa = code.local('i64', call('i64', walk.walk, h.hart, gva, access, privilege)).get;
      code.if(i64.eq(gpa, i64.const(NO_TRANSLATION)), () => code.return(i32.const(0)));
      code.set(granted, call('i32', walk.pmp, h.hart, gpa, bytes, access, privilege));
      code.if(i32.eqz(granted.get), () => {
        h.raise(select(access, i32.const(CAUSE.storeAccessFault), i32.const(CAUSE.loadAccessFault)), gva);
        code.return(i32.const(0));
      });
      const isStore = i32.and(i32.eq(access, i32.const(ACCESS.write)), i32.ne(h.get32('storing'), i32.const(0)));
      code.set(address, call('i32', walk.physical, h.hart, gpa, select(isStore, i32.const(PLAIN_STORE), access)));
      // While the hart waited for the page, the guest may have changed its page table and counted this hart as flushed.
      code.if(i32.ne(h.get32('flushes'), flushes), () =>
        code.return(call('i32', f.dataAddress, h.hart, gva, bytes, access)),
      );
      code.if(i32.eqz(address.get), () => {
        h.set('deviceAddress', gpa);
        code.return(i32.const(DEVICE));
      });
      code.if(i32.and(paged, i32.eq(granted.get, i32.const(1))), () => {
        code.set(isGlobal, i32.and(h.get32('leafFlags'), i32.const(PTE.G)));
        remember(h, u, gva, gpa, access);
      });
    });
    const frame = i32.shr_u(address.get, i32.const(12));
    const frameInfo = i32.add(h.get32('frameTable'), i32.mul(frame, i32.const(m.frameBytes)));
    const holdsCode = i32.and(i32.load(frameInfo, m.frameInfoOffset), i32.const(m.frameCode));
    const single = i32.shl(h.get32('singleStore'), i32.const(1));
    h.set32('codeFrame', i32.or(i32.and(i32.ne(holdsCode, i32.const(0)), access), single));
    code.if(i32.and(i32.eq(granted.get, i32.const(1)), i32.eqz(h.get32('codeFrame'))), () => {
      const table = i32.add(h.get32('dataTlb'), i32.mul(access, i32.const(TLB_WRITE_OFFSET)));
      fillData(h, code.local('i32', table).get, gva, address.get, i32.eqz(isGlobal.get));
    });
    code.return(address.get);
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
    h.set32('storing', bytes);
    const address = code.local('i32', call('i32', f.dataAddress, h.hart, gva, bytes, i32.const(ACCESS.write))).get;
    h.set32('storing', i32.const(0));
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
    code.if(i32.and(h.get32('codeFrame'), i32.const(1)), () =>
      code.callVoid(imports.codeWritten, address, bytes, i32.const(0)),
    );
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

/**
 * `reach`: the access of translated code behind a TLB miss, for some bytes of one page. What is not plain RAM (devices,
 * pages with decoded code, what faults) it leaves to the interpreter. So does it when the TLB has been flushed on the way:
 * machine addresses that the translated code had before mean nothing then. `look` is the same for a page that is in the
 * TLB or comes there, so that all of it may be accessed.
 */
function reachParts(word: I32): { distance: I32; access: I32; ifNotFlushed: I32 } {
  const bit = (shift: number): I32 => i32.and(i32.shr_u(word, i32.const(shift)), i32.const(1));
  return {
    distance: i32.and(word, i32.const(REACH_DISTANCE)),
    access: bit(REACH_ACCESS_SHIFT),
    ifNotFlushed: bit(Math.log2(REACH_IF_NOT_FLUSHED)),
  };
}

function defineReach(module: ModuleBuilder, f: AccessFunctions): void {
  module.define(f.reach, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const { distance, access, ifNotFlushed } = reachParts(code.parameter(2, 'i32').get);
    const none = i32.const(0);
    code.if(i32.and(ifNotFlushed, h.get32('refetch')), () => code.return(none));
    h.set32('refetch', none);
    const last = i64.add(gva, i64.extend_i32_u(distance));
    code.if(i64.ne(pageOf(gva), pageOf(last)), () => code.return(none));
    const bytes = i32.add(distance, i32.const(1));
    h.set32('storing', i32.const(ANNOUNCED_STORE));
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
    const table = i32.add(h.get32('dataTlb'), i32.mul(access, i32.const(TLB_WRITE_OFFSET)));
    const entry = code.local('i32', i32.add(table, tlbIndex(gva))).get;
    const found = (): void => {
      h.set32('reached', i32.add(i32.load(entry, 8), i32.wrap(gva)));
      code.return(i32.const(1));
    };
    code.if(i64.eq(i64.load(entry), pageOf(last)), found);
    // What the PMP grants only in part is in no TLB: the next access to the page has to be looked at, too.
    const isWhole = i64.eq(i64.load(entry), pageOf(last));
    code.if(call('i32', f.reach, h.hart, gva, word), () => code.if(isWhole, found));
    code.return(i32.const(0));
    code.unreachable();
  });
}

/** Translates the address of an instruction's halfword, as for data. Instructions come from RAM only. */
function defineFetchAddress(module: ModuleBuilder, f: AccessFunctions, u: Uses): void {
  const { walk } = u;
  module.define(f.fetchAddress, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const privilege = code.local('i32', h.get32('privilege')).get;
    const access = i32.const(ACCESS.fetch);
    const paged = code.local('i32', isPaged(h, privilege)).get;
    const flushes = code.local('i32', h.get32('flushes')).get;
    const address = code.local('i32', i32.const(0));
    const granted = code.local('i32', i32.const(1));
    const isGlobal = code.local('i32', i32.const(1));
    code.block((label) => {
      code.if(paged, () => trySecond(h, u, gva, access, privilege, { address, isGlobal, label }));
      const gpa = code.local('i64', call('i64', walk.walk, h.hart, gva, access, privilege)).get;
      code.if(i64.eq(gpa, i64.const(NO_TRANSLATION)), () => code.return(i32.const(0)));
      code.set(granted, call('i32', walk.pmp, h.hart, gpa, i32.const(2), access, privilege));
      code.if(granted.get, () => code.set(address, call('i32', walk.physical, h.hart, gpa, i32.const(0))));
      code.if(i32.ne(h.get32('flushes'), flushes), () => code.return(call('i32', f.fetchAddress, h.hart, gva)));
      code.if(i32.eqz(address.get), () => {
        h.raise(CAUSE.instructionAccessFault, gva);
        code.return(i32.const(0));
      });
      code.if(i32.and(paged, i32.eq(granted.get, i32.const(1))), () => {
        code.set(isGlobal, i32.and(h.get32('leafFlags'), i32.const(PTE.G)));
        remember(h, u, gva, gpa, access);
      });
    });
    h.set32('fetchGranted', granted.get);
    h.set32('fetchGlobal', isGlobal.get);
    code.return(address.get);
  });
}

/** The decoded block of a machine address: the embedder is asked for those that it has not told. */
function decodedBlock(h: HartFields, m: MemoryConstants, imports: Imports, address: I32): I32 {
  const { code } = h;
  const number = code.local('i32', i32.shr_u(address, i32.const(BLOCK_SHIFT))).get;
  const index = i32.mul(i32.and(number, i32.const(BLOCK_ENTRIES - 1)), i32.const(BLOCK_ENTRY_BYTES));
  const entry = code.local('i32', i32.add(i32.add(h.hart, i32.const(BLOCK_ENTRIES_OFFSET)), index)).get;
  const block = code.local('i32', i32.load(entry, 4));
  const frame = i32.mul(i32.shr_u(address, i32.const(12)), i32.const(m.frameBytes));
  const info = i32.atomicLoad(i32.add(h.get32('frameTable'), frame), m.frameInfoOffset);
  const isOther = i32.ne(i32.load(entry), i32.add(number, i32.const(1)));
  code.if(i32.or(isOther, i32.ne(i32.load(entry, 8), info)), () =>
    code.set(block, call('i32', imports.codeBlock, number)),
  );
  return block.get;
}

function defineFetch(module: ModuleBuilder, f: AccessFunctions, { imports, m }: Uses): void {
  module.define(f.fetch, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const pc = code.parameter(1, 'i64').get;
    const flushes = code.local('i32', h.get32('flushes')).get;
    h.count('fetchMisses');
    const address = code.local('i32', call('i32', f.fetchAddress, h.hart, pc)).get;
    code.if(i32.eqz(address), () => code.return(i32.const(0)));
    code.if(i32.eq(h.get32('fetchGranted'), i32.const(2)), () => code.return(call('i32', f.crossing, h.hart, pc)));
    const isLocal = code.local('i32', i32.eqz(h.get32('fetchGlobal'))).get;
    const block = decodedBlock(h, m, imports, address);
    // As for data: what was translated before a flush is looked at again.
    code.if(i32.ne(h.get32('flushes'), flushes), () => code.return(call('i32', f.fetch, h.hart, pc)));
    fillFetch(h, pc, block, isLocal);
    code.return(block);
  });

  module.define(f.crossing, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const pc = code.parameter(1, 'i64').get;
    const flushes = code.local('i32', h.get32('flushes')).get;
    const half = (gva: I64): I32 => {
      const address = code.local('i32', call('i32', f.fetchAddress, h.hart, gva)).get;
      code.if(i32.eqz(address), () => code.return(i32.const(0)));
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
