import { CAUSE } from '../isa/fields.ts';
import { call, type I32, type I64, i32, i64, type ModuleBuilder } from '../wasm/index.ts';
import type { AccessFunctions, Uses } from './access.ts';
import { HartFields, type Imports } from './emit.ts';
import { remember, trySecond } from './second-level.ts';
import {
  BLOCK_ENTRIES,
  BLOCK_ENTRIES_OFFSET,
  BLOCK_ENTRY_BYTES,
  BLOCK_SHIFT,
  CROSSING_OFFSET,
  type MemoryConstants,
  offset32,
} from './state.ts';
import { fillFetch } from './tlb-first.ts';
import { PTE } from './tlb-second.ts';
import { ACCESS, isPaged, NO_TRANSLATION } from './walk.ts';

/** In place of a decoded block's address: the crossing slot holds the instruction. */
export const IN_CROSSING_SLOT = 1;

/** Translates the address of an instruction's halfword, as for data. Instructions come from RAM only. */
export function defineFetchAddress(module: ModuleBuilder, f: AccessFunctions, u: Uses): void {
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

export function defineFetch(module: ModuleBuilder, f: AccessFunctions, { imports, m }: Uses): void {
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
