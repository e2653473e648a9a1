import { PRIVILEGE } from '../isa/fields.ts';
import { type FunctionReference, type I32, type I64, i32, i64, type ModuleBuilder } from '../wasm/index.ts';
import { HartFields } from './emit.ts';
import { chooseJumpSpace, emptyJumpTables, forgetLocalJumps, jumpPageIsUsed } from './jump-table.ts';
import {
  LARGE_MARKS_BYTES,
  LARGE_MARKS_OFFSET,
  SECOND_TLB_OFFSET,
  SPACE_BYTES,
  SPACES,
  SPACES_OFFSET,
} from './state.ts';
import { defineFirstLevel, flushLocal, forgetPage } from './tlb-first.ts';
import { defineSecondLevel, forget, SECOND_LEVEL, WALK_CACHE } from './tlb-second.ts';

/**
 * How what is cached of address translation is forgotten.
 *
 * The first level holds translations of the present address space and global ones. Second level and walk cache hold those
 * of many address spaces; each entry has the number of its own, and global ones have a number, too. An address space is a
 * value of satp: an ASID that the guest uses for two page tables without a fence does no harm. Numbers are given once: to
 * forget an address space is to give it a new one, and to forget everything is to give new ones to all.
 *
 * A shootdown of the memory manager takes away frames, whatever addresses lead to them. Only the first level knows frames,
 * and the jump tables count on those that code is in.
 */
export interface TlbFunctions {
  /** (hart): forgets everything */
  readonly flush: FunctionReference;
  /** (hart): empties the first level, as what it holds may not be allowed any more */
  readonly flushFirst: FunctionReference;
  /** (hart): empties the data tables of the first level */
  readonly flushData: FunctionReference;
  /** (hart): forgets all frames */
  readonly forgetFrames: FunctionReference;
  /** (hart, machine address of a frame): takes a frame that holds no code out of the first level */
  readonly dropFrame: FunctionReference;
  /** (hart): empties the fetch tables */
  readonly flushFetch: FunctionReference;
  /** (hart): empties the jump tables */
  readonly forgetJumps: FunctionReference;
  /** (hart, machine address of a frame): takes the frame out of the first level's write tables */
  readonly dropWrites: FunctionReference;
  /** (hart): satp has changed, but not its mode */
  readonly switchSpace: FunctionReference;
  /** (hart, gva, hasAddress, asid, hasAsid): SFENCE.VMA */
  readonly fence: FunctionReference;
  /** (hart, gva, asid, hasAsid) -> 1: SFENCE.VMA of the address is done; 0: it may concern code, or more, or is illegal here */
  readonly fencePage: FunctionReference;
  /** (hart, gva) -> the last word of its entry in the second level; 0: none */
  readonly second: FunctionReference;
  /** (hart, gva, last word): puts a translation into the second level */
  readonly remember: FunctionReference;
  /** (hart, gva): notes that translations of the leaf page of the last walk are cached, if it is a large one */
  readonly markLarge: FunctionReference;
  readonly flushTables: FunctionReference;
  readonly flushSpace: FunctionReference;
  readonly newSpace: FunctionReference;
}

export function declareTlb(module: ModuleBuilder): TlbFunctions {
  return {
    flush: module.declare(['i32'], undefined, 'flush'),
    flushFirst: module.declare(['i32']),
    flushData: module.declare(['i32'], undefined, 'flushData'),
    forgetFrames: module.declare(['i32'], undefined, 'forgetFrames'),
    dropFrame: module.declare(['i32', 'i32'], undefined, 'dropFrame'),
    flushFetch: module.declare(['i32'], undefined, 'flushFetch'),
    forgetJumps: module.declare(['i32'], undefined, 'forgetJumps'),
    dropWrites: module.declare(['i32', 'i32'], undefined, 'dropWrites'),
    switchSpace: module.declare(['i32']),
    fence: module.declare(['i32', 'i64', 'i32', 'i64', 'i32'], undefined, 'fence'),
    fencePage: module.declare(['i32', 'i64', 'i64', 'i32'], 'i32', 'fencePage'),
    second: module.declare(['i32', 'i64'], 'i32'),
    remember: module.declare(['i32', 'i64', 'i32']),
    markLarge: module.declare(['i32', 'i64']),
    flushTables: module.declare(['i32', 'i32', 'i32', 'i32']),
    flushSpace: module.declare(['i32', 'i32']),
    newSpace: module.declare(['i32']),
  };
}

export function defineTlb(module: ModuleBuilder, f: TlbFunctions): void {
  defineFirstLevel(module, f);
  defineSecondLevel(module, f);
  defineFlush(module, f);
  defineSpaces(module, f);
  defineFence(module, f);
  defineMarkLarge(module, f);
  module.define(f.forgetJumps, (code) => emptyJumpTables(new HartFields(code, code.parameter(0, 'i32').get)));
}

/** The last number of an address space; 0 is none, and what entries hold that were never written. */
const LAST_SPACE = 0x7fff_ffff;

function defineFlush(module: ModuleBuilder, f: TlbFunctions): void {
  module.define(f.forgetFrames, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    h.count('frameFlushes');
    code.callVoid(f.flushFirst, h.hart);
    emptyJumpTables(h);
  });
  module.define(f.flush, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    h.count('fullFlushes');
    code.callVoid(f.flushFirst, h.hart);
    emptyJumpTables(h);
    // At the very first flush, too. Two numbers are needed.
    code.if(i32.ge_u(i32.sub(h.get32('nextSpace'), i32.const(1)), i32.const(LAST_SPACE - 2)), () => {
      const start = i32.add(h.hart, i32.const(SECOND_TLB_OFFSET));
      code.fill(start, i32.const(0), i32.const(LARGE_MARKS_OFFSET - SECOND_TLB_OFFSET));
      h.set32('nextSpace', i32.const(1));
    });
    const next = code.local('i32', h.get32('nextSpace')).get;
    h.set32('firstSpace', next);
    h.set32('globalSpace', next);
    h.set32('nextSpace', i32.add(next, i32.const(1)));
    code.callVoid(f.newSpace, h.hart);
    code.fill(i32.add(h.hart, i32.const(LARGE_MARKS_OFFSET)), i32.const(0), i32.const(2 * LARGE_MARKS_BYTES));
  });
}

/** ASID of a value of satp: all 16 bits are there. */
const asidOf = (satp: I64): I32 => i32.and(i32.wrap(i64.shr_u(satp, i64.const(44))), i32.const(0xffff));

const spaceEntry = (h: HartFields, asid: I32): I32 => {
  const index = i32.and(asid, i32.const(SPACES - 1));
  return i32.add(i32.add(h.hart, i32.const(SPACES_OFFSET)), i32.mul(index, i32.const(SPACE_BYTES)));
};

function defineSpaces(module: ModuleBuilder, f: TlbFunctions): void {
  // Gives the present address space a new number.
  module.define(f.newSpace, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const number = code.local('i32', h.get32('nextSpace')).get;
    code.if(i32.eq(number, i32.const(LAST_SPACE)), () => {
      code.callVoid(f.flush, h.hart);
      code.return();
    });
    h.set32('space', number);
    h.set32('nextSpace', i32.add(number, i32.const(1)));
    // A fence that another hart has asked for may be served in U-mode.
    chooseJumpSpace(h);
    const satp = code.local('i64', h.get('satp')).get;
    const entry = code.local('i32', spaceEntry(h, asidOf(satp))).get;
    code.store(8, entry, satp);
    code.store(4, entry, number, 8);
  });
  module.define(f.switchSpace, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    h.count('spaceChanges');
    flushLocal(h, f);
    forgetLocalJumps(h);
    const satp = code.local('i64', h.get('satp')).get;
    const entry = code.local('i32', spaceEntry(h, asidOf(satp))).get;
    const number = code.local('i32', i32.load(entry, 8)).get;
    code.if(
      i32.and(i64.eq(i64.load(entry), satp), i32.ge_u(number, h.get32('firstSpace'))),
      () => h.set32('space', number),
      () => code.callVoid(f.newSpace, h.hart),
    );
  });
  // (hart, asid): forgets what is not global in an address space
  module.define(f.flushSpace, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const asid = code.parameter(1, 'i32').get;
    h.count('spaceFlushes');
    code.if(i32.eq(asid, asidOf(h.get('satp'))), () => {
      flushLocal(h, f);
      forgetLocalJumps(h);
      code.callVoid(f.newSpace, h.hart);
      code.return();
    });
    const entry = code.local('i32', spaceEntry(h, asid)).get;
    code.if(i32.eq(asid, asidOf(i64.load(entry))), () => code.store(4, entry, i32.const(0), 8));
  });
}

/** Privileged specification, 10.2.1. Global pages are not forgotten with an address space. */
function defineFence(module: ModuleBuilder, f: TlbFunctions): void {
  module.define(f.fence, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const asid = code.local('i32', i32.and(i32.wrap(code.parameter(3, 'i64').get), i32.const(0xffff))).get;
    const hasAsid = code.parameter(4, 'i32').get;
    // Translations of a large page stand in many entries.
    code.if(i32.or(i32.eqz(code.parameter(2, 'i32').get), isMarkedLarge(h, gva)), () => {
      code.if(
        hasAsid,
        () => code.callVoid(f.flushSpace, h.hart, asid),
        () => code.callVoid(f.flush, h.hart),
      );
      code.return();
    });
    forgetAddress(h, gva, asid, hasAsid);
    code.if(jumpPageIsUsed(h, gva), () => emptyJumpTables(h));
  });
  // What translated code may do without being left.
  module.define(f.fencePage, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const isMore = i32.or(isMarkedLarge(h, gva), jumpPageIsUsed(h, gva));
    code.if(i32.or(fenceIsIllegal(h), isMore), () => code.return(i32.const(0)));
    const asid = code.local('i32', i32.and(i32.wrap(code.parameter(2, 'i64').get), i32.const(0xffff))).get;
    forgetAddress(h, gva, asid, code.parameter(3, 'i32').get);
    code.return(i32.const(1));
    code.unreachable();
  });
}

/** Forgets the small page of an address, in all address spaces: with an ASID, that is more than was asked for. */
function forgetAddress(h: HartFields, gva: I64, asid: I32, hasAsid: I32): void {
  h.count('addressFlushes');
  forget(h, SECOND_LEVEL, gva);
  forget(h, WALK_CACHE, gva);
  const elsewhere = i32.and(hasAsid, i32.ne(asid, asidOf(h.get('satp'))));
  h.code.if(i32.eqz(elsewhere), () => forgetPage(h, gva));
}

/** SFENCE.VMA is illegal in U-mode, and in S-mode when mstatus.TVM is set (privileged specification, 3.1.6.6). */
export function fenceIsIllegal(h: HartFields): I32 {
  const privilege = h.get32('privilege');
  const isTrapped = i32.and(i32.ne(privilege, i32.const(PRIVILEGE.M)), h.has('mstatus', 1n << 20n));
  return i32.or(i32.eqz(privilege), isTrapped);
}

/** By size of large pages: log2 of it, and where the marks are. */
const MARKS = [
  { shift: 21, offset: LARGE_MARKS_OFFSET },
  { shift: 30, offset: LARGE_MARKS_OFFSET + LARGE_MARKS_BYTES },
] as const;

/** Marks of the lower half of the address space come first, then those of the upper half. Several addresses share one. */
function markPlace(gva: I64, shift: number): { byte: I32; bit: I32 } {
  const page = i32.wrap(i64.shr_u(gva, i64.const(shift)));
  const half = (LARGE_MARKS_BYTES / 2) * 8;
  const upper = i32.wrap(i64.shr_u(gva, i64.const(63)));
  const number = i32.add(i32.and(page, i32.const(half - 1)), i32.mul(upper, i32.const(half)));
  return { byte: i32.shr_u(number, i32.const(3)), bit: i32.shl(i32.const(1), i32.and(number, i32.const(7))) };
}

function isMarkedLarge(h: HartFields, gva: I64): I32 {
  const [small, large] = MARKS.map(({ shift, offset }) => {
    const { byte, bit } = markPlace(gva, shift);
    return i32.and(i32.load8_u(i32.add(h.hart, byte), offset), bit);
  });
  return i32.ne(i32.or(small!, large!), i32.const(0));
}

function defineMarkLarge(module: ModuleBuilder, f: TlbFunctions): void {
  module.define(f.markLarge, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const gva = code.parameter(1, 'i64').get;
    const size = code.local('i32', h.get32('leafShift')).get;
    for (const { shift, offset } of MARKS) {
      code.if(i32.eq(size, i32.const(shift)), () => {
        const { byte, bit } = markPlace(gva, shift);
        const at = code.local('i32', i32.add(h.hart, byte)).get;
        code.store(1, at, i32.or(i32.load8_u(at, offset), bit), offset);
        code.return();
      });
    }
    // 512 GiB: no mark of its own.
    code.if(i32.gt_u(size, i32.const(MARKS[1].shift)), () =>
      code.fill(i32.add(h.hart, i32.const(MARKS[1].offset)), i32.const(0xff), i32.const(LARGE_MARKS_BYTES)),
    );
  });
}
