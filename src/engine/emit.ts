import type { StateField32, StateField64 } from '../isa/fields.ts';
import { type FunctionBuilder, type FunctionReference, type I32, type I64, i32, i64 } from '../wasm/index.ts';
import type { CodeCounter } from './counters.ts';
import { FENCES, type Field32, type Field64, offset32, offset64 } from './state.ts';

/** The immediate of FENCE (unprivileged specification, 2.7): device output and stores before, input and loads behind. */
const FENCE_STORES_BEFORE = 0x50;
const FENCE_LOADS_BEHIND = 0x0a;

/** Reads and writes a hart's fields in generated code. */
export class HartFields {
  readonly code: FunctionBuilder;
  /** Byte address of the hart area. */
  readonly hart: I32;

  constructor(code: FunctionBuilder, hart: I32) {
    this.code = code;
    this.hart = hart;
  }

  get(field: Field64): I64 {
    return i64.load(this.hart, offset64(field));
  }

  set(field: Field64 | StateField64, value: I64): void {
    this.code.store(8, this.hart, value, offset64(field));
  }

  add(field: Field64, value: I64): void {
    this.set(field, i64.add(this.get(field), value));
  }

  get32(field: Field32 | StateField32): I32 {
    return i32.load(this.hart, offset32(field));
  }

  set32(field: Field32 | StateField32, value: I32): void {
    this.code.store(4, this.hart, value, offset32(field));
  }

  /** Adds 1 to a counter. */
  count(counter: CodeCounter): void {
    this.add(counter, i64.const(1));
  }

  /** Bits of mip: what devices drive and what software has set. */
  get pending(): I32 {
    return i32.or(i32.atomicLoad(this.hart, offset32('lines')), this.get32('softwarePending'));
  }

  /** Remembers an exception that `trap` will take. */
  raise(cause: number | I32, value: I64): void {
    this.set32('trapCause', typeof cause === 'number' ? i32.const(cause) : cause);
    this.set('trapValue', value);
  }

  /** FENCE with its immediate, sign-extended: the sign is the upper bit of fm, which FENCE.TSO has set. */
  fence(imm: I32): void {
    const nonzero = (mask: number): I32 => i32.ne(i32.and(imm, i32.const(mask)), i32.const(0));
    const storeBeforeLoad = i32.and(
      i32.and(nonzero(FENCE_STORES_BEFORE), nonzero(FENCE_LOADS_BEHIND)),
      i32.ge_s(imm, i32.const(0)),
    );
    this.code.if(i32.ge_u(i32.add(this.get32('fences'), storeBeforeLoad), i32.const(FENCES.all)), () =>
      this.code.atomicFence(),
    );
  }

  has(field: Field64, mask: bigint): I32 {
    return i64.ne(i64.and(this.get(field), i64.const(mask)), i64.const(0));
  }
}

/** Functions of the embedder that the generated code calls. */
export interface Imports {
  /** Time in ticks of the platform's timer: () -> f64 */
  readonly now: FunctionReference;
  /**
   * Brings a page in or makes it writable: (gfn, write, offset, storing) -> 0, or the machine address for one store; storing:
   * as the field of that name, 0 if it is not a store
   */
  readonly nestedFault: FunctionReference;
  /** A store to an address of `nestedFault` was made: (bytes) */
  readonly storeNoted: FunctionReference;
  /** The decoded block of a block of machine memory: (machine address >>> BLOCK_SHIFT) -> address */
  readonly codeBlock: FunctionReference;
  /**
   * Decodes instructions from that of a slot on: (slot) -> their number; 0 if the block is of a frame that has gone, so that
   * it has to be fetched again
   */
  readonly decodeSlot: FunctionReference;
  /** Decodes instruction bits into a slot: (slot, bits) */
  readonly decodeBits: FunctionReference;
  /** The counter of jumps to a slot, whose address pc is, has come to 0: (slot) */
  readonly hot: FunctionReference;
  /** The translated region at a slot, whose address pc is: (slot) -> index in the table; 0: the slot is no entry now */
  readonly enterRegion: FunctionReference;
  /** Puts the instruction of a slot that enters a region into the crossing slot: (slot) */
  readonly stepSlot: FunctionReference;
  /** The region with the entry `regionEntry` has come to a group of accesses that lies on two pages: () */
  readonly straddled: FunctionReference;
  /**
   * A store to a frame with decoded code: (machine address, bytes, ahead). Announced behind the store, or ahead of it
   * where what is stored comes out of the operation.
   */
  readonly codeWritten: FunctionReference;
  /** Device accesses: (guest-physical address, bytes) -> value; (address, bytes, value) */
  readonly deviceRead: FunctionReference;
  readonly deviceWrite: FunctionReference;
  /** A region has been left: (REGION_STATUS). Only if `Instruments.exits`. */
  readonly regionLeft: FunctionReference | undefined;
  /** The hart is about to poll: (address of the instruction that comes to it). Only if `Instruments.samples`. */
  readonly sample: FunctionReference | undefined;
  /** The PMP registers changed: () */
  readonly pmpChanged: FunctionReference;
  /** Exact floating point: (operation, format, rounding mode, a, b, c) -> bits; flags go to fcsr */
  readonly float: FunctionReference;
}
