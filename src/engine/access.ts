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
import { defineFetch, defineFetchAddress } from './fetch.ts';
import { defineReach, REACH_TYPE } from './reach.ts';
import { remember, trySecond } from './second-level.ts';
import { type MemoryConstants, offset64, TLB_WRITE_OFFSET } from './state.ts';
import type { TlbFunctions } from './tlb.ts';
import { fillData, pageOf } from './tlb-first.ts';
import { PTE } from './tlb-second.ts';
import { ACCESS, DEVICE, isPaged, NO_TRANSLATION, PLAIN_STORE, type WalkFunctions } from './walk.ts';

/** Results of the slow accesses. */
export const STORED = { fault: 0, done: 1, doneAndResynchronize: 2 } as const;

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

export interface Uses {
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
        h.set32('storing', one);
        const address = code.local('i32', call('i32', f.dataAddress, h.hart, page, one, i32.const(ACCESS.write))).get;
        h.set32('storing', i32.const(0));
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
    h.set32('storing', i32.const(1));
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
    code.if(i32.and(h.get32('codeFrame'), i32.const(2)), () => code.callVoid(imports.storeNoted, bytes));
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
