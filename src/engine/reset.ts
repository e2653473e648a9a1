/** What a hart's area holds before the hart's first instruction. */
import { INTERRUPT, MENVCFG, PRIVILEGE } from '../isa/fields.ts';
import type { FieldValues } from './field-values.ts';
import type { HartOptions } from './hart-options.ts';
import { SLOT } from './slots.ts';
import {
  CHUNK,
  CROSSING_OFFSET,
  DECODED_OFFSET,
  FENCES,
  LONGEST_CHUNK,
  RETURNS_OFFSET,
  SLOT_BYTES,
  TLB_OFFSET,
  TLB_USED_OFFSET,
  X_OFFSET,
} from './state.ts';

const S_INTERRUPTS = (1n << BigInt(INTERRUPT.SSI)) | (1n << BigInt(INTERRUPT.STI)) | (1n << BigInt(INTERRUPT.SEI));
/** What a firmware would delegate: all exceptions that can come from S- or U-mode. */
const DELEGATED = 0xb3ffn;

/**
 * Clears a hart's area and writes what the hart is made with. The control block in front of it belongs to whoever talks to the
 * hart from outside, and stays.
 */
export function clearHart(fields: FieldValues, options: HartOptions): void {
  const { area, siblings } = options;
  const { buffer } = options.memory;
  const i32 = new Int32Array(buffer);
  const bytes = new Uint8Array(buffer);
  bytes.fill(0, area + X_OFFSET, area + DECODED_OFFSET);
  // Empty entries of the first level; those behind it are told from others by their numbers.
  bytes.fill(0xff, area + TLB_OFFSET, area + TLB_USED_OFFSET);
  fields.set32('hartId', options.id);
  for (const field of ['npt', 'ramPages', 'frameTable', 'zeroFrame'] as const) fields.set32(field, options[field]);
  for (const field of ['pace', 'chunk', 'remaining'] as const) fields.set32(field, CHUNK);
  fields.set32('longestPace', siblings === undefined ? LONGEST_CHUNK : CHUNK);
  fields.set64('deadline', -1n);
  fields.set64('stimecmp', -1n);
  if (siblings !== undefined) {
    fields.set32('fences', siblings.totalStoreOrder ? FENCES.storeBeforeLoad : FENCES.all);
    fields.set32('codeChanges', siblings.codeChanges);
    fields.set32('codeChangesSeen', Atomics.load(i32, siblings.codeChanges >>> 2));
  }
  new BigInt64Array(buffer)[(area + RETURNS_OFFSET) / 8] = -1n;
  // What the crossing slot holds at first are the bits 0, which are no instruction.
  const crossing = (area + CROSSING_OFFSET) >>> 2;
  i32[crossing] = SLOT.illegal;
  i32[crossing + SLOT_BYTES / 4] = SLOT.blockEnd;
  i32[crossing + SLOT_BYTES / 2] = SLOT.blockEnd;
}

/** M-mode as after a reset (privileged specification, 3.4); there is no Sstc. */
export function setMachineMode(fields: FieldValues, pc: bigint): void {
  fields.set32('privilege', PRIVILEGE.M);
  fields.set64('menvcfg', MENVCFG.ADUE);
  fields.set64('pc', pc);
}

/** S-mode as a firmware would leave the hart, translation and interrupts off (SBI 2.0, 9.1). */
export function setSupervisorMode(fields: FieldValues, pc: bigint): void {
  fields.set32('privilege', PRIVILEGE.S);
  fields.set64('mstatus', 0n);
  fields.set64('satp', 0n);
  fields.set32('hypercalls', 1);
  fields.set32('sstc', 1);
  fields.set64('medeleg', DELEGATED);
  fields.set64('mideleg', S_INTERRUPTS);
  fields.set64('mcounteren', 7n);
  fields.set64('menvcfg', MENVCFG.ADUE | MENVCFG.STCE);
  fields.set64('stimecmp', -1n);
  fields.set64('pc', pc);
}
