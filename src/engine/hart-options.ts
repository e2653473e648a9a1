import type { MoreBlocks } from './block-room.ts';
import type { EngineObserver } from './observer.ts';
import type { MemoryConstants } from './state.ts';
import type { Translator } from './translate/translations.ts';

/** What a hart needs of the machine around it. */
export interface HartEnvironment {
  /** Time in ticks of the platform's timer (10 MHz). */
  now(): number;
  /**
   * Makes a page of the guest present, and writable if asked for: the NPT entry has to say so afterwards. If that takes a
   * translation back that a TLB may hold, `flush` has to be called before it returns.
   */
  nestedFault(gfn: number, write: boolean): void;
  /**
   * A store to a page that is not there or not writable.
   * @returns the machine address for this store alone, behind which `stored` is called if it is made; 0: nestedFault is to be
   * called; -1: the entry is to be looked at again
   */
  store?(gfn: number, offset: number): number;
  /** The store that `store` has given the last address for was made. */
  stored?(bytes: number): void;
  /** @returns undefined if no device answers. */
  deviceRead(address: bigint, bytes: number): bigint | undefined;
  /** @returns false if no device answers. */
  deviceWrite(address: bigint, bytes: number, value: bigint): boolean;
}

/** What a hart has to know when it is not the only one of its guest. */
export interface SiblingHarts {
  /**
   * Has the other harts forget the right to write to a frame (`forgetWrites`), and returns when they have. The hart may be
   * parked meanwhile.
   */
  forgetWrites(mfn: number): void;
  /** Byte address of a word in which the harts count changes of code. */
  readonly codeChanges: number;
  /** Whether the processor below keeps all orders of plain accesses but that of a store before a load. */
  readonly totalStoreOrder: boolean;
}

export interface HartOptions {
  readonly memory: WebAssembly.Memory;
  /** The engine, compiled from `buildEngine`. */
  readonly engine: WebAssembly.Module;
  readonly constants: MemoryConstants;
  readonly id: number;
  /** Byte address of the hart area, of `hartAreaBytes(decodedBlocks)` bytes. */
  readonly area: number;
  readonly decodedBlocks: number;
  /** Where it gets room for more of them; by default nowhere. */
  readonly moreBlocks?: MoreBlocks | undefined;
  /** Byte address of the nested page table, and its number of entries. */
  readonly npt: number;
  readonly ramPages: number;
  readonly frameTable: number;
  readonly zeroFrame: number;
  readonly environment: HartEnvironment;
  /** Translates hot code; without it all is interpreted. */
  readonly translator?: Translator | undefined;
  /** Is told what the hart does, as far as engine and translations are built for it. */
  readonly observer?: EngineObserver | undefined;
  /** Given if the guest has other harts. */
  readonly siblings?: SiblingHarts | undefined;
}
