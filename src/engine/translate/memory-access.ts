import type { Decoded } from '../../isa/decode.ts';
import {
  call,
  Displaced,
  type Expr,
  type FunctionBuilder,
  type I32,
  type I64,
  i32,
  i64,
  type Local,
} from '../../wasm/index.ts';
import type { HartFields } from '../emit.ts';
import { NO_PREDICTION, PREDICTION, predictionOffset } from '../predictions.ts';
import { REACH, reachWord } from '../reach.ts';
import { MOST_STREAMS, STREAM_BYTES, STREAMS_OFFSET, TLB_WRITE_OFFSET } from '../state.ts';
import { tlbIndex } from '../tlb-first.ts';
import { ACCESS } from '../walk.ts';
import type { AccessGroup } from './groups.ts';
import type { RegionImports } from './imports.ts';
import { type Stream, streamName } from './streams.ts';

/** The parts of a stream's place (see the engine's state). */
const STREAM = { page: 0, limit: 8, frame: 16 } as const;

/** A stream with its place in the hart area. */
interface PlacedStream extends Stream {
  readonly place: number;
}

/** Groups that have been looked up: the machine address of the first byte of each, 0 if it has none. */
export type ReachedGroups = ReadonlyMap<AccessGroup, Local<'i32'>>;

/** What is known of a region's accesses. */
export interface AccessPlan {
  /** By block. */
  readonly streams: readonly ReadonlyMap<string, Stream>[];
  readonly chains: ReadonlySet<AccessGroup>;
  /** Number of the first prediction: by the region's contents. */
  readonly firstPrediction: number;
  /** As the region's. */
  readonly straddles: boolean;
}

/** What writing an access needs of the context. */
export interface AccessContext {
  readonly code: FunctionBuilder;
  /** Instructions left until the next poll. */
  readonly remaining: I32;
  readonly rs1: I64;
  temporary<T extends 'i32' | 'i64'>(type: T, value: Expr<T>): Local<T>;
  /** Leaves the instruction to the interpreter. */
  interpret(): void;
}

/** Offset of the TLB table for an access in its context. */
const tableOf = (access: number): number => (access === ACCESS.write ? TLB_WRITE_OFFSET : 0);

/** Writes the memory accesses of a region: by the page that a stream has, or a group, or the first-level TLB. */
export class MemoryAccesses {
  readonly #c: AccessContext;
  readonly #h: HartFields;
  readonly #imports: RegionImports;
  readonly #chains: ReadonlySet<AccessGroup>;
  readonly #straddles: boolean;
  #nextPrediction: number;
  /** The instruction, and the group that its access belongs to. */
  #decoded!: Decoded;
  #group: AccessGroup | undefined;
  #reached = new Map<AccessGroup, Local<'i32'>>();
  #streams: ReadonlyMap<string, Stream> = new Map();
  /** Places of the streams in the hart area, by name. */
  readonly #places = new Map<string, number>();

  constructor(context: AccessContext, h: HartFields, imports: RegionImports, plan: AccessPlan) {
    this.#c = context;
    this.#h = h;
    this.#imports = imports;
    this.#chains = plan.chains;
    this.#straddles = plan.straddles;
    this.#nextPrediction = plan.firstPrediction;
    for (const name of plan.streams.flatMap((ofBlock) => [...ofBlock.keys()])) {
      const count = this.#places.size;
      if (this.#places.has(name) || count === MOST_STREAMS) continue;
      this.#places.set(name, STREAMS_OFFSET + count * STREAM_BYTES);
    }
    this.#emptyStreams();
  }

  /** @param goesOn the block is entered from the one written before it, and from nowhere else */
  beginBlock(streams: ReadonlyMap<string, Stream>, goesOn: boolean): void {
    this.#streams = streams;
    if (!goesOn) this.#reached.clear();
  }

  get reached(): ReachedGroups {
    return new Map(this.#reached);
  }

  set reached(reached: ReachedGroups) {
    this.#reached = new Map(reached);
  }

  beginInstruction(decoded: Decoded, group: AccessGroup | undefined): void {
    this.#decoded = decoded;
    this.#group = group;
  }

  /** Writes that nothing which was looked up before holds any more. */
  forget(): void {
    this.#reached.clear();
    this.#emptyStreams();
  }

  /** Machine address of `bytes` bytes at an address. */
  address(access: number, bytes: number, address: I64): I32 {
    const { code } = this.#c;
    const group = this.#group;
    const isOfGroup = group !== undefined && group.count > 1;
    // A read whose group begins with a write that was forgotten must not ask for a page to write to.
    const isAlone = !isOfGroup || (access === ACCESS.read && group.kind === 'write' && !this.#reached.has(group));
    if (isAlone) {
      const gva = this.#c.temporary('i64', address).get;
      return this.#look(access, gva, bytes - 1, 0, () => this.#c.interpret()).get;
    }
    const { imm } = this.#decoded.operands;
    let first = this.#reached.get(group);
    if (first === undefined) {
      const low = this.#c.temporary('i64', i64.add(this.#c.rs1, i64.const(group.low))).get;
      first = code.local('i32');
      const ifNone = (none: Local<'i32'>): void =>
        this.#straddles ? code.set(none, i32.const(0)) : this.#c.interpret();
      const how = this.#straddles ? 0 : REACH.group;
      code.set(first, this.#look(access, low, group.last - group.low, how, ifNone).get);
      this.#reached.set(group, first);
    }
    const own = new Displaced(first.get, imm - group.low);
    if (!this.#straddles) return own;
    // A group that lies on two pages, or on some other than plain RAM, has each of its accesses looked at; but if there is
    // no address because of a flush, those of other groups mean nothing any more.
    const machine = this.#c.temporary('i32', own);
    code.unlikely(i32.eqz(first.get), () => {
      const word = i32.const(reachWord(access, bytes - 1, REACH.ifNotFlushed));
      const reached = call('i32', this.#imports.reach, this.#h.hart, address, word);
      code.if(i32.eqz(reached), () => this.#c.interpret());
      code.set(machine, this.#h.get32('reached'));
    });
    return machine.get;
  }

  /**
   * Machine address for an atomic access. The tag has no offset bits; those that would make the access misaligned stay, so that
   * it misses. An atomic access to a page that holds code is left to the interpreter, which sees when it changes itself.
   */
  atomicAddress(bytes: 4 | 8, address: I64, access: number): I32 {
    const { code } = this.#c;
    const gva = this.#c.temporary('i64', address).get;
    const machine = this.#c.temporary('i32', this.#entry(gva));
    code.unlikely(
      i64.ne(i64.load(machine.get, tableOf(access)), i64.and(gva, i64.const(-4096 | (bytes - 1)))),
      () => {
        const { atomic } = this.#imports;
        this.#h.set32('refetch', i32.const(0));
        code.set(machine, call('i32', atomic, this.#h.hart, gva, i32.const(bytes), i32.const(access)));
        const flushed = this.#h.get32('refetch');
        code.if(i32.or(i32.eqz(machine.get), i32.or(flushed, this.#h.get32('codeFrame'))), () => this.#c.interpret());
      },
      () => code.set(machine, i32.add(i32.load(machine.get, tableOf(access) + 8), i32.wrap(gva))),
    );
    return machine.get;
  }

  /** Address of the TLB entry that an address may be in, less `tableOf` the access. */
  #entry(gva: I64): I32 {
    return i32.add(this.#h.get32('dataTlb'), tlbIndex(gva));
  }

  /**
   * Looks an address up in the TLB, and behind it; gives the machine address, or 0. The page of the last byte is compared
   * with that in the entry for the first one: both have to be there, aligned or not.
   * @param how one of REACH, or 0
   * @param ifNone writes what is done when there is no machine address, given the local that is to have it
   */
  #look(
    access: number,
    gva: I64,
    distance: number,
    how: number,
    ifNone: (machine: Local<'i32'>) => void,
  ): Local<'i32'> {
    const word = i32.const(reachWord(access, distance, how));
    const { code } = this.#c;
    const stream = this.#stream(access);
    if (stream !== undefined && distance < stream.span) {
      return this.#lookAtStream(stream, gva, word, ifNone);
    }
    const machine = this.#c.temporary('i32', this.#entry(gva));
    const lastPage = i64.and(i64.add(gva, i64.const(distance)), i64.const(-4096));
    code.unlikely(
      i64.ne(i64.load(machine.get, tableOf(access)), lastPage),
      () => {
        const reached = call('i32', this.#imports.reach, this.#h.hart, gva, word);
        code.if(
          reached,
          () => code.set(machine, this.#h.get32('reached')),
          () => ifNone(machine),
        );
      },
      () => {
        const difference = i32.load(machine.get, tableOf(access) + 8);
        code.set(machine, i32.add(this.#isChain ? this.#predicted(machine, difference) : difference, i32.wrap(gva)));
      },
    );
    return machine;
  }

  get #isChain(): boolean {
    return this.#group !== undefined && this.#chains.has(this.#group);
  }

  /**
   * The difference of machine and guest-virtual address, by way of its prediction: a processor goes on with that until it has compared
   * the two. What follows from the difference itself would have to wait for the load of it.
   * @param local free for use
   */
  #predicted(local: Local<'i32'>, difference: I32): I32 {
    const { code } = this.#c;
    const { hart } = this.#h;
    const offset = predictionOffset(this.#nextPrediction++);
    const prediction = i32.load(hart, offset + PREDICTION.difference);
    code.set(local, difference);
    code.unlikely(
      i32.ne(local.get, prediction),
      () =>
        code.if(i32.ne(prediction, i32.const(NO_PREDICTION)), () =>
          code.callVoid(this.#imports.mispredicted, hart, i32.const(offset), local.get, this.#c.remaining),
        ),
      () => code.set(local, prediction),
    );
    return local.get;
  }

  #emptyStreams(): void {
    for (const place of this.#places.values()) {
      this.#c.code.store(8, this.#h.hart, i64.const(0), place + STREAM.limit);
    }
  }

  /** The stream that the access of the instruction belongs to. */
  #stream(access: number): PlacedStream | undefined {
    if (this.#group === undefined) return undefined;
    const kind = access === ACCESS.write ? 'write' : 'read';
    const name = streamName({ kind, base: this.#decoded.operands.rs1 });
    const stream = this.#streams.get(name);
    const place = this.#places.get(name);
    return stream === undefined || place === undefined ? undefined : { ...stream, place };
  }

  #lookAtStream(
    { place, span }: PlacedStream,
    gva: I64,
    word: I32,
    ifNone: (machine: Local<'i32'>) => void,
  ): Local<'i32'> {
    const { code } = this.#c;
    const { hart } = this.#h;
    const offset = this.#c.temporary('i64', i64.sub(gva, i64.load(hart, place + STREAM.page))).get;
    const machine = this.#c.temporary('i32', i32.add(i32.wrap(offset), i32.load(hart, place + STREAM.frame)));
    code.unlikely(i64.ge_u(offset, i64.load(hart, place + STREAM.limit)), () => {
      const note = (): void => {
        code.set(machine, this.#h.get32('reached'));
        code.store(8, hart, i64.and(gva, i64.const(-4096)), place + STREAM.page);
        code.store(4, hart, i32.and(machine.get, i32.const(-4096)), place + STREAM.frame);
        code.store(8, hart, i64.const(4096 - span + 1), place + STREAM.limit);
      };
      code.if(call('i32', this.#imports.look, hart, gva, word), note, () => ifNone(machine));
    });
    return machine;
  }
}
