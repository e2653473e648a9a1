import { ModuleBuilder } from '../wasm/index.ts';
import { declareAccess, defineAccess } from './access.ts';
import { declareCsrAccess, defineCsrAccess } from './csr-access.ts';
import type { Imports } from './emit.ts';
import { declareFloat, defineFloat } from './float.ts';
import { declareInterpreter, defineInterpreter } from './interpreter.ts';
import { declareLink, defineLink, REGION_TYPE } from './jump-table.ts';
import { type Instruments, NO_INSTRUMENTS } from './observer.ts';
import { defineMispredicted } from './predictions.ts';
import type { MemoryConstants } from './state.ts';
import { declareTlb, defineTlb } from './tlb.ts';
import { declareTrap, defineTrap } from './trap.ts';
import { declareWalk, defineWalk } from './walk.ts';

/**
 * Writes the engine as one WebAssembly module: interpreter, address translation, CSRs, traps, floating point.
 * It is the same for every hart of a host: where the hart's area is comes with each call.
 *
 * @param instruments what harts' observers are to be told
 */
export function buildEngine(
  constants: MemoryConstants,
  instruments: Instruments = NO_INSTRUMENTS,
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const imports: Imports = {
    now: module.import('now', [], 'f64'),
    nestedFault: module.import('nestedFault', ['i32', 'i32', 'i32', 'i32'], 'i32'),
    storeNoted: module.import('storeNoted', ['i32']),
    codeBlock: module.import('codeBlock', ['i32'], 'i32'),
    decodeSlot: module.import('decodeSlot', ['i32'], 'i32'),
    decodeBits: module.import('decodeBits', ['i32', 'i32']),
    hot: module.import('hot', ['i32']),
    enterRegion: module.import('enterRegion', ['i32'], 'i32'),
    stepSlot: module.import('stepSlot', ['i32']),
    straddled: module.import('straddled', []),
    codeWritten: module.import('codeWritten', ['i32', 'i32', 'i32']),
    deviceRead: module.import('deviceRead', ['i64', 'i32'], 'i64'),
    deviceWrite: module.import('deviceWrite', ['i64', 'i32', 'i64']),
    regionLeft: instruments.exits ? module.import('regionLeft', ['i32']) : undefined,
    sample: instruments.samples ? module.import('sample', ['i64']) : undefined,
    pmpChanged: module.import('pmpChanged', []),
    float: module.import('float', ['i32', 'i32', 'i32', 'i64', 'i64', 'i64'], 'i64'),
  };
  const walk = declareWalk(module);
  const tlb = declareTlb(module);
  const access = declareAccess(module);
  const trap = declareTrap(module);
  const csr = declareCsrAccess(module);
  const float = declareFloat(module);
  const run = declareInterpreter(module);
  const link = declareLink(module);
  const region = module.tableType(REGION_TYPE.parameters, REGION_TYPE.result);
  defineWalk(module, walk, tlb, imports, constants);
  defineTlb(module, tlb);
  defineAccess(module, access, { walk, tlb, imports, m: constants });
  defineTrap(module, trap, imports);
  defineCsrAccess(module, csr, { tlb, trap, imports });
  defineFloat(module, float, imports);
  defineLink(module, link, region);
  defineMispredicted(module);
  defineInterpreter(module, run, { access, tlb, trap, float, csr, region, imports });
  return module.finish();
}

/** What the module exports; beside this the functions that translated regions call. */
export interface EngineExports {
  run(hart: number): number;
  flush(hart: number): void;
  flushFetch(hart: number): void;
  flushData(hart: number): void;
  forgetFrames(hart: number): void;
  dropFrame(hart: number, frame: number): void;
  forgetJumps(hart: number): void;
  dropWrites(hart: number, frame: number): void;
  fence(hart: number, gva: bigint, hasAddress: number, asid: bigint, hasAsid: number): void;
  context(hart: number): void;
  trap(hart: number): void;
  timer(hart: number): void;
  /** The machine address of an instruction; 0: none. */
  fetchAddress(hart: number, pc: bigint): number;
}
