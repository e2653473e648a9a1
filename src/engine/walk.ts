import { MENVCFG, MSTATUS, PRIVILEGE } from '../isa/fields.ts';
import {
  call,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type Local,
  type ModuleBuilder,
  select,
} from '../wasm/index.ts';
import { HartFields, type Imports } from './emit.ts';
import { type MemoryConstants, PMP_RANGE_BYTES, PMP_RANGES_OFFSET } from './state.ts';
import type { TlbFunctions } from './tlb.ts';
import { find, LAST_WORD, numberOf, PTE, place, put, WALK_CACHE } from './tlb-second.ts';

/** Kinds of access: parameters of the translation functions. */
export const ACCESS = { read: 0, write: 1, fetch: 2 } as const;

/** In place of ACCESS.write: nothing but a store, which needs nothing of what is there. */
export const PLAIN_STORE = 2;

/** The rest of a page table entry (privileged specification, 10.3.1 and 10.4.1):
 *  8..9 RSW, 10..53 PPN, 54..60 reserved, 61..62 PBMT, 63 N. */
const PTE_RESERVED = 0x3ffn << 54n;
const PTE_PPN_MASK = (1n << 44n) - 1n;

/** A machine address that stands for a device; RAM is never there (page 0 holds the host header). */
export const DEVICE = 1;

/** Result of `walk` for a translation that faults. */
export const NO_TRANSLATION = -1n;

export interface WalkFunctions {
  /** (hart, gpa, write) -> machine address, 0 if the address is not in RAM */
  readonly physical: FunctionReference;
  /** (hart, offset in RAM, write) -> machine address, 0 if the nested page table does not serve the access as it stands */
  readonly resident: FunctionReference;
  /** (hart, gva, access, privilege) -> gpa, or NO_TRANSLATION with the trap cause and value set */
  readonly walk: FunctionReference;
  /** (hart, gpa, bytes, access, privilege) -> 0 denied, 1 granted, 2 granted but not for the whole page */
  readonly pmp: FunctionReference;
}

export function declareWalk(module: ModuleBuilder): WalkFunctions {
  return {
    physical: module.declare(['i32', 'i64', 'i32'], 'i32'),
    resident: module.declare(['i32', 'i32', 'i32'], 'i32'),
    walk: module.declare(['i32', 'i64', 'i32', 'i32'], 'i64'),
    pmp: module.declare(['i32', 'i64', 'i32', 'i32', 'i32'], 'i32'),
  };
}

const masked = (value: I64, mask: bigint | number): I64 => i64.and(value, i64.const(mask));
const isSet = (value: I64, mask: bigint | number): I32 => i64.ne(masked(value, mask), i64.const(0));

export function defineWalk(
  module: ModuleBuilder,
  f: WalkFunctions,
  tlb: TlbFunctions,
  imports: Imports,
  m: MemoryConstants,
): void {
  definePhysical(module, f, imports, m);
  defineResident(module, f, m);
  definePmp(module, f);
  defineWalkTables(module, f, tlb, m);
}

/**
 * The nested page table: guest-physical to machine. An untouched page that is read is the page of zeros; all else that
 * is not there, and a write to what is not writable, is the embedder's `nestedFault`, after which the entry is read
 * again. ACCESSED and DIRTY are set by compare-and-exchange: an entry that the memory manager changed at the same time
 * is never written over.
 */
function definePhysical(module: ModuleBuilder, f: WalkFunctions, imports: Imports, m: MemoryConstants): void {
  module.define(f.physical, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gpa = code.parameter(1, 'i64').get;
    const write = code.parameter(2, 'i32').get;
    const page = code.local('i64', i64.shr_u(i64.sub(gpa, i64.const(m.ramBase)), i64.const(12))).get;
    code.if(i64.ge_u(page, i64.extend_i32_u(h.get32('ramPages'))), () => code.return(i32.const(0)));
    const gfn = code.local('i32', i32.wrap(page)).get;
    const entryAddress = code.local('i32', i32.add(h.get32('npt'), i32.shl(gfn, i32.const(2)))).get;
    const offset = i32.and(i32.wrap(gpa), i32.const(0xfff));
    const needed = code.local('i32', select(write, i32.const(m.accessed | m.dirty), i32.const(m.accessed))).get;
    const permission = code.local('i32', select(write, i32.const(m.present | m.writable), i32.const(m.present))).get;
    const entry = code.local('i32');
    const setBits = (again: Parameters<typeof code.br>[0]): void => {
      code.if(i32.ne(i32.and(entry.get, needed), needed), () =>
        code.brIf(
          again,
          i32.ne(i32.atomicCompareExchange(entryAddress, entry.get, i32.or(entry.get, needed)), entry.get),
        ),
      );
    };
    code.loop((again) => {
      code.set(entry, i32.atomicLoad(entryAddress));
      code.if(i32.eq(i32.and(entry.get, permission), permission), () => {
        setBits(again);
        code.return(i32.or(i32.shl(i32.shr_u(entry.get, i32.const(m.payloadShift)), i32.const(12)), offset));
      });
      const untouched = i32.eqz(i32.and(entry.get, i32.const(m.present | m.kindMask)));
      code.if(i32.and(untouched, i32.eqz(write)), () => {
        setBits(again);
        code.return(i32.or(i32.shl(h.get32('zeroFrame'), i32.const(12)), offset));
      });
      // What is only stored to need not be there: the embedder may give an address for this one store.
      const storing = select(i32.eq(write, i32.const(PLAIN_STORE)), h.get32('storing'), i32.const(0));
      const address = code.local('i32', call('i32', imports.nestedFault, gfn, write, offset, storing)).get;
      code.brIf(again, i32.eqz(address));
      h.set32('singleStore', i32.const(1));
      code.return(address);
    });
    code.unreachable();
  });
}

/**
 * A nested page table entry as it stands now: what second level and walk cache say of the guest's page tables holds
 * whatever becomes of the frames, so that taking a frame away leaves them as they are.
 */
function defineResident(module: ModuleBuilder, f: WalkFunctions, m: MemoryConstants): void {
  module.define(f.resident, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const place = code.parameter(1, 'i32').get;
    const write = code.parameter(2, 'i32').get;
    const at = i32.add(h.get32('npt'), i32.shl(i32.shr_u(place, i32.const(12)), i32.const(2)));
    const entry = code.local('i32', i32.atomicLoad(at)).get;
    const forReading = m.present | m.accessed;
    const needed = select(write, i32.const(forReading | m.writable | m.dirty), i32.const(forReading));
    const offset = i32.and(place, i32.const(0xfff));
    const mfn = code.local('i32', i32.shr_u(entry, i32.const(m.payloadShift)));
    code.if(i32.ne(i32.and(entry, needed), needed), () => {
      const isZero = i32.eq(i32.and(entry, i32.const(m.present | m.kindMask | m.accessed)), i32.const(m.accessed));
      code.if(i32.or(i32.eqz(isZero), write), () => code.return(i32.const(0)));
      code.set(mfn, h.get32('zeroFrame'));
    });
    code.return(i32.or(i32.shl(mfn.get, i32.const(12)), offset));
    code.unreachable();
  });
}

/**
 * Physical memory protection (privileged specification, 3.7). The embedder has turned the registers into a list of
 * ranges, in order of priority; the first one that holds any byte of the access decides.
 */
function definePmp(module: ModuleBuilder, f: WalkFunctions): void {
  module.define(f.pmp, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gpa = code.parameter(1, 'i64').get;
    const bytes = code.parameter(2, 'i32').get;
    const access = code.parameter(3, 'i32').get;
    const privilege = code.parameter(4, 'i32').get;
    const left = code.local('i32', h.get32('pmpChecks'));
    code.if(i32.eqz(left.get), () => code.return(i32.const(1)));
    const last = code.local('i64', i64.add(gpa, i64.extend_i32_u(i32.sub(bytes, i32.const(1))))).get;
    const pageFirst = code.local('i64', masked(gpa, -4096)).get;
    const pageLast = i64.or(gpa, i64.const(0xfff));
    const range = code.local('i32', i32.add(h.hart, i32.const(PMP_RANGES_OFFSET)));
    const partial = code.local('i32', i32.const(1));
    const machine = i32.eq(privilege, i32.const(PRIVILEGE.M));
    code.loop((again) => {
      code.set(left, i32.sub(left.get, i32.const(1)));
      code.if(i32.eqz(left.get), () => code.return(i32.mul(machine, partial.get)));
      const low = i64.load(range.get);
      const high = i64.load(range.get, 8);
      const config = i32.load(range.get, 16);
      code.if(i32.and(i64.le_u(low, pageLast), i64.ge_u(high, pageFirst)), () => {
        code.if(i32.or(i64.gt_u(low, pageFirst), i64.lt_u(high, pageLast)), () => code.set(partial, i32.const(2)));
        code.if(i32.and(i64.le_u(low, last), i64.ge_u(high, gpa)), () => {
          code.if(i32.or(i64.gt_u(low, gpa), i64.lt_u(high, last)), () => code.return(i32.const(0)));
          // M-mode is bound by locked entries (L, bit 7) only.
          code.if(i32.and(machine, i32.eqz(i32.and(config, i32.const(0x80)))), () => code.return(partial.get));
          code.return(i32.mul(i32.and(i32.shr_u(config, access), i32.const(1)), partial.get));
        });
      });
      code.set(range, i32.add(range.get, i32.const(PMP_RANGE_BYTES)));
      code.br(again);
    });
    code.unreachable();
  });
}

/** 1 if addresses are translated at a privilege: not in M-mode, nor in mode Bare. */
export const isPaged = (h: HartFields, privilege: I32): I32 =>
  i32.and(i64.lt_s(h.get('satp'), i64.const(0)), i32.ne(privilege, i32.const(PRIVILEGE.M)));

const ppnOf = (pte: I64): I64 => masked(i64.shr_u(pte, i64.const(10)), PTE_PPN_MASK);
const addressIn = (pte: I64): I64 => i64.shl(ppnOf(pte), i64.const(12));
const lowMask = (bits: I64): I64 => i64.sub(i64.shl(i64.const(1), bits), i64.const(1));
const and = (...conditions: I32[]): I32 => conditions.reduce((a, b) => i32.and(a, b));

/** What is asked for. */
interface Asked {
  readonly gva: I64;
  readonly privilege: I32;
  readonly isFetch: I32;
  readonly isWrite: I32;
}

/** Whether a leaf entry permits the access; accessed and dirty bits aside. */
function permits(h: HartFields, pte: I64, { privilege, isFetch, isWrite }: Asked): I32 {
  // W without R is reserved.
  const legal = i64.ne(masked(pte, PTE.R | PTE.W), i64.const(PTE.W));
  const userPage = isSet(pte, PTE.U);
  const supervisor = i32.or(i32.eqz(userPage), and(i32.eqz(isFetch), h.has('mstatus', MSTATUS.SUM)));
  const readable = i32.or(isSet(pte, PTE.R), i32.and(isSet(pte, PTE.X), h.has('mstatus', MSTATUS.MXR)));
  const permission = select(isFetch, isSet(pte, PTE.X), select(isWrite, isSet(pte, PTE.W), readable));
  return and(legal, select(privilege, supervisor, userPage), permission);
}

/**
 * An entry of the walk cache. Bits of the tag below the address of the 2 MiB that it is of: 0..7 bits of a leaf entry, or
 * G alone; 8..13 log2 of the leaf page's size, or 0 for a table of pages. Last word: offset in RAM of the table, or the
 * page number of the guest-physical 2 MiB.
 */
const LEAF_SIZE_SHIFT = 8;
const LEAF_SIZE_MASK = 63;
const WALK_TAG_MASK = -0x20_0000;
/** Leaf pages from here on do not fit into an entry (there is no RAM). */
const CACHED_PPN_END = 1n << 32n;

/**
 * Sv39 and Sv48 (privileged specification, 10.3.2): hardware updates A and D if menvcfg.ADUE says so (Svadu).
 *
 * The walk cache says where the last level is; whatever is not as simple as that begins at the root.
 */
function defineWalkTables(module: ModuleBuilder, f: WalkFunctions, tlb: TlbFunctions, m: MemoryConstants): void {
  module.define(f.walk, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const access = code.parameter(2, 'i32').get;
    const privilege = code.parameter(3, 'i32').get;
    const isFetch = i32.eq(access, i32.const(ACCESS.fetch));
    const isWrite = i32.eq(access, i32.const(ACCESS.write));
    const asked = { gva, privilege, isFetch, isWrite };
    // Page faults are causes 12 (fetch), 13 (read), 15 (write); access faults are 1, 5 and 7.
    const pageFault = i32.add(i32.const(13), select(isFetch, i32.const(-1), i32.shl(isWrite, i32.const(1))));
    const accessFault = i32.add(i32.const(5), select(isFetch, i32.const(-4), i32.shl(isWrite, i32.const(1))));
    const fail = (cause: I32): void => {
      h.raise(cause, gva);
      code.return(i64.const(NO_TRANSLATION));
    };

    code.if(i32.eqz(isPaged(h, privilege)), () => {
      h.set32('leafShift', i32.const(12));
      code.if(i64.ne(i64.shr_u(gva, i64.const(56)), i64.const(0)), () => fail(accessFault));
      code.return(gva);
    });

    h.count('walks');
    const needed = code.local('i64', select(isWrite, i64.const(PTE.A | PTE.D), i64.const(PTE.A))).get;
    const pte = code.local('i64');
    const shift = code.local('i64');
    const pteAddress = code.local('i32');
    lookIntoWalkCache(h, f, asked, needed, pte, shift);

    // Mode 8 is Sv39 with three levels, mode 9 is Sv48 with four.
    const levels = i32.sub(i32.wrap(i64.shr_u(h.get('satp'), i64.const(60))), i32.const(5));
    const unusedBits = code.local('i64', i64.extend_i32_u(i32.sub(i32.const(52), i32.mul(levels, i32.const(9))))).get;
    code.if(i64.ne(i64.shr_s(i64.shl(gva, unusedBits), unusedBits), gva), () => fail(pageFault));

    const pteGpa = code.local('i64');
    const table = code.local('i64');
    const flushes = code.local('i32');
    const granted = code.local('i32');
    /** G of the levels above: it holds for all below. */
    const inherited = code.local('i64');
    const tablePmp = (accessKind: number): I32 =>
      call('i32', f.pmp, h.hart, pteGpa.get, i32.const(8), i32.const(accessKind), i32.const(PRIVILEGE.S));
    code.loop((again) => {
      code.set(flushes, h.get32('flushes'));
      // A wait for the frame of a table: by now the guest may use that page for something else.
      const orAgain = (): void => code.brIf(again, i32.ne(h.get32('flushes'), flushes.get));
      code.set(table, i64.shl(masked(h.get('satp'), PTE_PPN_MASK), i64.const(12)));
      code.set(shift, i64.sub(i64.const(64 - 9), unusedBits));
      code.set(inherited, i64.const(0));
      code.loop((nextLevel) => {
        const index = masked(i64.shr_u(gva, shift.get), 511);
        code.set(pteGpa, i64.add(table.get, i64.shl(index, i64.const(3))));
        code.set(granted, tablePmp(ACCESS.read));
        code.if(i32.eqz(granted.get), () => fail(accessFault));
        code.set(pteAddress, call('i32', f.physical, h.hart, pteGpa.get, i32.const(0)));
        orAgain();
        code.if(i32.eqz(pteAddress.get), () => fail(accessFault));
        code.set(pte, i64.atomicLoad(pteAddress.get));
        code.if(i32.or(i32.eqz(isSet(pte.get, PTE.V)), isSet(pte.get, PTE_RESERVED)), () => fail(pageFault));
        code.if(i64.eqz(masked(pte.get, PTE.R | PTE.W | PTE.X)), () => {
          code.if(isSet(pte.get, PTE.A | PTE.D | PTE.U), () => fail(pageFault));
          code.set(inherited, i64.or(inherited.get, masked(pte.get, PTE.G)));
          code.set(table, addressIn(pte.get));
          code.set(shift, i64.sub(shift.get, i64.const(9)));
          code.brIf(nextLevel, i64.ge_s(shift.get, i64.const(12)));
          fail(pageFault);
        });
      });
      code.if(i32.eqz(permits(h, pte.get, asked)), () => fail(pageFault));
      // A large page has to be aligned to its size.
      const offsetMask = code.local('i64', lowMask(shift.get)).get;
      const frame = code.local('i64', addressIn(pte.get)).get;
      code.if(i64.ne(i64.and(frame, offsetMask), i64.const(0)), () => fail(pageFault));

      code.if(i64.ne(i64.and(pte.get, needed), needed), () => {
        code.if(i32.eqz(h.has('menvcfg', MENVCFG.ADUE)), () => fail(pageFault));
        code.if(i32.eqz(tablePmp(ACCESS.write)), () => fail(accessFault));
        code.set(pteAddress, call('i32', f.physical, h.hart, pteGpa.get, i32.const(1)));
        orAgain();
        code.if(i32.eqz(pteAddress.get), () => fail(accessFault));
        const updated = i64.or(pte.get, needed);
        code.brIf(again, i64.ne(i64.atomicCompareExchange(pteAddress.get, pte.get, updated), pte.get));
        code.set(pte, updated);
      });
      setLeaf(h, i64.or(pte.get, inherited.get), shift.get);
      const gpa = i64.or(frame, i64.and(gva, offsetMask));
      code.if(
        i64.eq(shift.get, i64.const(12)),
        // The PMP has to grant the whole table, as it is not asked again.
        () => code.if(i32.eq(granted.get, i32.const(1)), () => cacheTable(h, m, gva, inherited.get, table.get)),
        () => cacheLeaf(h, tlb, gva, code.local('i64', gpa).get),
      );
      code.return(gpa);
    });
    code.unreachable();
  });
}

function setLeaf(h: HartFields, pte: I64, shift: I64): void {
  h.set32('leafShift', i32.wrap(shift));
  h.set32('leafFlags', i32.and(i32.wrap(pte), i32.const(0xff)));
}

/** Returns from the walk if the cache leads to an entry that permits the access and has all accessed and dirty bits. */
function lookIntoWalkCache(
  h: HartFields,
  f: WalkFunctions,
  asked: Asked,
  needed: I64,
  pte: Local<'i64'>,
  size: Local<'i64'>,
): void {
  const { code } = h;
  const { gva } = asked;
  const tag = code.local('i64');
  find(h, WALK_CACHE, gva, (entry) => {
    code.set(tag, i64.load(entry));
    const lastWord = i32.load(entry, LAST_WORD);
    code.set(size, masked(i64.shr_u(tag.get, i64.const(LEAF_SIZE_SHIFT)), LEAF_SIZE_MASK));
    const page = masked(i64.shr_u(gva, i64.const(12)), 511);
    code.if(
      i64.eqz(size.get),
      () => {
        code.set(size, i64.const(12));
        const place = i32.add(lastWord, i32.shl(i32.wrap(page), i32.const(3)));
        const at = code.local('i32', call('i32', f.resident, h.hart, place, i32.const(0))).get;
        code.set(pte, i64.const(0));
        code.if(at, () => code.set(pte, i64.or(i64.atomicLoad(at), masked(tag.get, PTE.G))));
      },
      () => {
        const ppn = i64.or(i64.extend_i32_u(lastWord), page);
        code.set(pte, i64.or(masked(tag.get, 0xff), i64.shl(ppn, i64.const(10))));
      },
    );
    const isLeaf = and(isSet(pte.get, PTE.V), i32.eqz(isSet(pte.get, PTE_RESERVED)), isSet(pte.get, PTE.R | PTE.X));
    const complete = i64.eq(i64.and(pte.get, needed), needed);
    code.if(and(isLeaf, complete, permits(h, pte.get, asked)), () => {
      h.count('shortWalks');
      setLeaf(h, pte.get, size.get);
      code.return(i64.or(addressIn(pte.get), masked(gva, 0xfff)));
    });
  });
}

function cacheTable(h: HartFields, m: MemoryConstants, gva: I64, inherited: I64, table: I64): void {
  const { code } = h;
  const number = code.local('i32', numberOf(h, i32.wrap(inherited))).get;
  const tag = i64.or(masked(gva, WALK_TAG_MASK), inherited);
  put(code, place(h, WALK_CACHE, gva, number), tag, number, i32.wrap(i64.sub(table, i64.const(m.ramBase))));
}

/** Keeps the 2 MiB around an address in a large page. */
function cacheLeaf(h: HartFields, tlb: TlbFunctions, gva: I64, gpa: I64): void {
  const { code } = h;
  const ppn = code.local('i64', masked(i64.shr_u(gpa, i64.const(12)), -512)).get;
  code.if(i64.lt_u(ppn, i64.const(CACHED_PPN_END)), () => {
    code.callVoid(tlb.markLarge, h.hart, gva);
    const flags = i64.extend_i32_u(h.get32('leafFlags'));
    const size = i64.shl(i64.extend_i32_u(h.get32('leafShift')), i64.const(LEAF_SIZE_SHIFT));
    const number = code.local('i32', numberOf(h, i32.and(h.get32('leafFlags'), i32.const(PTE.G)))).get;
    const tag = i64.or(masked(gva, WALK_TAG_MASK), i64.or(size, flags));
    put(code, place(h, WALK_CACHE, gva, number), tag, number, i32.wrap(ppn));
  });
}
