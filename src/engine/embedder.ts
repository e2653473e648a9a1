import { MSTATUS } from '../isa/fields.ts';
import type { CodeCache } from './code-cache.ts';
import type { HostCounts } from './counting.ts';
import type { FieldValues } from './field-values.ts';
import type { HartEnvironment } from './hart-options.ts';
import { floatOp, lastFlags } from './softfloat/index.ts';
import type { Translations } from './translate/translations.ts';
import type { Watch } from './watch.ts';

/** What the engine's calls go to. */
export interface Embedder {
  readonly memory: WebAssembly.Memory;
  readonly environment: HartEnvironment;
  readonly fields: FieldValues;
  readonly counts: HostCounts;
  readonly code: CodeCache;
  readonly translations: Translations;
  readonly watch: Watch;
  /** Byte address of the slot for an instruction that belongs to no block. */
  readonly crossing: number;
  readonly pmpChanged: () => void;
}

/** What a hart's engine imports (`Imports` in emit.ts), with memory and table. */
export function engineImports(embedder: Embedder): Record<string, WebAssembly.ImportValue> {
  const { memory, environment, fields, counts, code, translations, watch, crossing, pmpChanged } = embedder;
  return {
    memory,
    table: translations.table,
    hot: (slot: number) => translations.hot(slot >>> 0, fields.get64('pc')),
    enterRegion: (slot: number) => translations.enter(slot >>> 0, fields.get64('pc')),
    stepSlot: (slot: number) => translations.step(slot >>> 0, crossing),
    straddled: () => translations.straddled(fields.get64('regionEntry')),
    now: () => environment.now(),
    nestedFault: (gfn: number, write: number, offset: number, storing: number) => {
      counts.add('nestedFaults');
      const address = storing === 0 ? 0 : (environment.store?.(gfn, offset) ?? 0);
      if (address === 0) environment.nestedFault(gfn, write !== 0);
      return Math.max(address, 0);
    },
    storeNoted: (bytes: number) => environment.stored?.(bytes),
    codeBlock: (number: number) => code.block(number),
    decodeSlot: (slot: number) => {
      const decoded = code.decodeSlot(slot >>> 0);
      counts.add('decodedInstructions', decoded);
      return decoded;
    },
    decodeBits: (slot: number, bits: number) => code.decodeBits(slot >>> 0, bits >>> 0),
    codeWritten: (address: number, bytes: number, ahead: number) => {
      counts.add('codeWrites');
      code.written(address >>> 12, address & 0xfff, bytes, ahead !== 0);
    },
    deviceRead: (address: bigint, bytes: number) => {
      counts.add('deviceReads');
      const value = environment.deviceRead(BigInt.asUintN(64, address), bytes);
      if (value === undefined) fields.set32('deviceFault', 1);
      return value ?? 0n;
    },
    deviceWrite: (address: bigint, bytes: number, value: bigint) => {
      counts.add('deviceWrites');
      const wanted = BigInt.asUintN(bytes * 8, value);
      if (!environment.deviceWrite(BigInt.asUintN(64, address), bytes, wanted)) fields.set32('deviceFault', 1);
    },
    regionLeft: (status: number) => watch.regionLeft(status),
    sample: (pc: bigint) => watch.sample(pc),
    pmpChanged,
    float: (operation: number, format: number, mode: number, a: bigint, b: bigint, c: bigint) => {
      counts.add('exactFloats');
      const result = floatOp(operation, format, mode, a, b, c);
      const flags = lastFlags();
      if (flags !== 0) {
        fields.set32('fcsr', fields.get32('fcsr') | flags);
        fields.set64('mstatus', fields.get64('mstatus') | MSTATUS.FS);
      }
      return result;
    },
  };
}
