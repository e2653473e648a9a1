import { INTERRUPT, MENVCFG, PMP_ENTRIES } from '../isa/fields.ts';
import type { EngineExports } from './build.ts';
import { CodeCache } from './code-cache.ts';
import type { HostCounter } from './counters.ts';
import { HostCounts } from './counting.ts';
import { engineImports } from './embedder.ts';
import { FieldValues } from './field-values.ts';
import type { HartOptions, SiblingHarts } from './hart-options.ts';
import type { EngineObserver } from './observer.ts';
import { pmpRanges } from './pmp.ts';
import { clearHart, setMachineMode, setSupervisorMode } from './reset.ts';
import {
  BLOCK_ENTRIES_OFFSET,
  CROSSING_OFFSET,
  DECODED_OFFSET,
  EXIT,
  F_OFFSET,
  type Field64,
  offset32,
  PMP_RANGE_BYTES,
  PMP_RANGES_OFFSET,
  PMPADDR_OFFSET,
  X_OFFSET,
} from './state.ts';
import { forgetDecoded } from './translate/region.ts';
import { type Translation, Translations } from './translate/translations.ts';
import { Watch } from './watch.ts';

const PAGE_BYTES = 4096;
/** More frames are not forgotten one by one. */
const MOST_FRAMES = 4;

/** Counters of what ended `run`, by value of EXIT. */
const STOPS = new Map<number, HostCounter>(
  Object.entries({
    budget: 'budgetStops',
    wfi: 'waits',
    hypercall: 'hypercalls',
    request: 'requestStops',
    deadline: 'deadlineStops',
    pause: 'spins',
  } as const satisfies Record<keyof typeof EXIT, HostCounter>).map(([name, counter]) => [
    EXIT[name as keyof typeof EXIT],
    counter,
  ]),
);

/** One RISC-V hart: its state in shared memory and the generated engine that executes on it. */
export class Hart {
  readonly id: number;
  readonly #area: number;
  readonly #i32: Int32Array;
  readonly #i64: BigInt64Array;
  readonly #fields: FieldValues;
  readonly #engine: EngineExports;
  readonly #code: CodeCache;
  readonly #translations: Translations;
  readonly #siblings: SiblingHarts | undefined;
  readonly #counts: HostCounts;
  readonly #observer: EngineObserver | undefined;
  /** In the middle of `run`. */
  #running = false;

  constructor(options: HartOptions) {
    const { memory, constants, environment, area, siblings } = options;
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.id = options.id;
    this.#area = area;
    this.#siblings = siblings;
    const counts = new HostCounts(buffer, area);
    this.#counts = counts;
    this.#observer = options.observer;
    this.#fields = new FieldValues(buffer, area);
    const watch = new Watch({
      fields: this.#fields,
      observer: options.observer,
      translations: () => this.#translations,
    });
    this.#i32 = new Int32Array(buffer);
    this.#i64 = new BigInt64Array(buffer);
    clearHart(this.#fields, options);
    this.#code = new CodeCache({
      buffer,
      address: area + DECODED_OFFSET,
      blocks: options.decodedBlocks,
      more: options.moreBlocks,
      now: () => environment.now(),
      entries: area + BLOCK_ENTRIES_OFFSET,
      frameTable: options.frameTable,
      zeroFrame: options.zeroFrame,
      constants,
      flushFetch: () => this.#engine.flushFetch(area),
      refetch: () => {
        this.#engine.flushFetch(area);
        this.#fields.set32('refetch', 1);
      },
      dropWrites: (mfn) => this.#engine.dropWrites(area, mfn * 4096),
      decoded: (slot, start, end) => this.#translations.decoded(slot, start, end),
      frameChanged: (mfn) => this.#translations.frameChanged(mfn),
      dropSiblingWrites: siblings && ((mfn) => siblings.forgetWrites(mfn)),
      changed: siblings && (() => this.#codeChanged(siblings)),
    });
    this.#translations = new Translations({
      memory,
      area,
      fields: this.#fields,
      code: this.#code,
      translator: options.translator,
      count: (counter, by) => counts.add(counter, by),
      observer: options.observer,
      engine: () => this.#engine as unknown as WebAssembly.Exports,
      fetchAddress: (pc) => this.#engine.fetchAddress(area, BigInt.asIntN(64, pc)) >>> 0,
      leave: () => {
        this.#engine.forgetJumps(area);
        this.#fields.set32('refetch', 1);
      },
    });
    const env = engineImports({
      memory,
      environment,
      fields: this.#fields,
      counts,
      code: this.#code,
      translations: this.#translations,
      watch,
      crossing: area + CROSSING_OFFSET,
      pmpChanged: () => this.#pmpChanged(),
    });
    const instance = new WebAssembly.Instance(options.engine, { env });
    this.#engine = instance.exports as unknown as EngineExports;
    this.flush();
  }

  /** Starts in M-mode as after a reset (privileged specification, 3.4); there is no Sstc. */
  resetMachineMode(pc: bigint): void {
    setMachineMode(this.#fields, pc);
    this.#pmpChanged();
    this.#engine.context(this.#area);
  }

  /**
   * Starts in S-mode as a firmware would leave the hart, translation and interrupts off (SBI 2.0, 9.1); environment calls
   * from S-mode end `run`.
   */
  resetSupervisorMode(pc: bigint): void {
    setSupervisorMode(this.#fields, pc);
    this.flush();
    this.#engine.context(this.#area);
  }

  /**
   * Executes about `instructions` instructions, or less.
   * @param deadline time in ticks at which to return
   * @returns a value of EXIT
   */
  run(instructions: number, deadline: number): number {
    this.#fields.set64('budget', BigInt(instructions));
    this.#fields.set64('deadline', BigInt(Math.min(deadline, Number.MAX_SAFE_INTEGER)));
    return this.resume();
  }

  /** Goes on with what is left of the budget and the deadline of the last `run`. */
  resume(): number {
    this.#running = true;
    this.#observer?.began?.();
    try {
      const reason = this.#engine.run(this.#area);
      this.#counts.add(STOPS.get(reason)!);
      return reason;
    } finally {
      this.#running = false;
      this.#observer?.stopped?.();
    }
  }

  x(n: number): bigint {
    return this.#i64[(this.#area + X_OFFSET) / 8 + n]!;
  }

  setX(n: number, value: bigint): void {
    if (n !== 0) this.#i64[(this.#area + X_OFFSET) / 8 + n] = value;
  }

  f(n: number): bigint {
    return BigInt.asUintN(64, this.#i64[(this.#area + F_OFFSET) / 8 + n]!);
  }

  get pc(): bigint {
    return BigInt.asUintN(64, this.#fields.get64('pc'));
  }

  set pc(value: bigint) {
    this.#fields.set64('pc', value);
  }

  get privilege(): number {
    return this.#fields.get32('privilege');
  }

  /** Instructions executed so far (those that ended in an exception included). */
  get retired(): number {
    return Number(this.#fields.get64('retired')) + this.#fields.get32('chunk') - this.#fields.get32('remaining');
  }

  /** A field of the hart's state, for debuggers and tests. */
  field(name: Field64): bigint {
    return BigInt.asUintN(64, this.#fields.get64(name));
  }

  /** Byte offset in a hart area of the word with the lines of mip that are driven from outside, changed with Atomics. */
  static readonly linesOffset = offset32('lines');

  /** A line of mip. */
  isPending(bit: number): boolean {
    return (Atomics.load(this.#i32, (this.#area + Hart.linesOffset) >>> 2) & (1 << bit)) !== 0;
  }

  /** Drives a line of mip. */
  setPending(bit: number, level: boolean): void {
    const index = (this.#area + Hart.linesOffset) >>> 2;
    if (level) Atomics.or(this.#i32, index, 1 << bit);
    else Atomics.and(this.#i32, index, ~(1 << bit));
  }

  /** SSIP is software's own bit: a supervisor IPI sets it, the guest clears it. */
  raiseSoftwareInterrupt(): void {
    this.#fields.set32('softwarePending', this.#fields.get32('softwarePending') | (1 << INTERRUPT.SSI));
  }

  /** An interrupt that is enabled in mie waits. */
  get hasPendingInterrupt(): boolean {
    const lines = Atomics.load(this.#i32, (this.#area + offset32('lines')) >>> 2);
    return ((lines | this.#fields.get32('softwarePending')) & Number(this.#fields.get64('mie') & 0xffffn)) !== 0;
  }

  /** Supervisor timer (Sstc): the time in ticks of the next interrupt; Infinity if there is none. */
  get timer(): number {
    if ((this.#fields.get64('menvcfg') & MENVCFG.STCE) === 0n) return Number.POSITIVE_INFINITY;
    const value = BigInt.asUintN(64, this.#fields.get64('stimecmp'));
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value);
  }

  setTimer(ticks: bigint): void {
    this.#fields.set64('stimecmp', BigInt.asIntN(64, ticks));
    this.updateTimer();
  }

  /** Makes STIP say whether the supervisor timer's time has come. */
  updateTimer(): void {
    this.#engine.timer(this.#area);
  }

  /**
   * Empties the TLBs; the next instruction is fetched anew. In the middle of an instruction, where the hart has waited for
   * something, a remote fence.i may be what is served: then the block in execution may be stale, too.
   */
  flush(): void {
    this.#emptyTlbs();
    this.#dropStale();
  }

  /** Forgets frames that the nested page table does not lead to any more; none: all of them. */
  forgetFrames(frames?: ArrayLike<number>): void {
    const engine = this.#engine;
    const list = frames && Array.from(frames);
    const holdsCode = list === undefined || list.some((mfn) => this.#code.mayHold(mfn));
    if (holdsCode) engine.forgetFrames(this.#area);
    else if (list.length > MOST_FRAMES) engine.flushData(this.#area);
    else for (const mfn of list) engine.dropFrame(this.#area, mfn * PAGE_BYTES);
    this.#begunBefore();
    if (holdsCode) this.#dropStale();
  }

  /** Forgets all frames that hold no code. */
  forgetData(): void {
    this.#engine.flushData(this.#area);
    this.#begunBefore();
  }

  /** SFENCE.VMA of some pages (one address space's, or all), asked for by another hart; `gva` is that of the first one. */
  forgetPages(gva: bigint, pages: number, asid: number | undefined): void {
    for (let page = 0; page < pages; page++) {
      const address = BigInt.asIntN(64, gva + BigInt(page * PAGE_BYTES));
      this.#engine.fence(this.#area, address, 1, BigInt(asid ?? 0), asid === undefined ? 0 : 1);
    }
    this.#begunBefore();
  }

  /** SFENCE.VMA of an address space, asked for by another hart. */
  forgetSpace(asid: number): void {
    this.#engine.fence(this.#area, 0n, 0, BigInt(asid), 1);
    this.#begunBefore();
  }

  /** FENCE.I, asked for by another hart. */
  forgetCode(): void {
    const siblings = this.#siblings;
    if (siblings !== undefined) {
      const changes = Atomics.load(this.#i32, siblings.codeChanges >>> 2);
      if (changes === this.#fields.get32('codeChangesSeen')) return;
      this.#fields.set32('codeChangesSeen', changes);
    }
    this.#engine.flushFetch(this.#area);
    this.#engine.forgetJumps(this.#area);
    this.#begunBefore();
    this.#dropStale();
  }

  /** Some hart is about to decode code of a frame: stores to it have to be looked at from now on. */
  forgetWrites(mfn: number): void {
    this.#engine.dropWrites(this.#area, mfn * PAGE_BYTES);
    // Translated code may have the frame's address in hand.
    this.#fields.set32('refetch', 1);
  }

  /** To be called from time to time: only what is executed often between two calls is worth a translation. */
  cool(): void {
    this.#translations.cool();
  }

  /** Gives room for decoded code back, as the hart has become idle. Not inside of `run`. */
  shrink(): void {
    this.#code.shrink();
    forgetDecoded();
  }

  /** A translation that the translator had put off. */
  install(key: string, translation: Translation): void {
    this.#translations.install(key, translation);
  }

  /** Bytes of a frame with decoded code have been changed by a device. */
  codeWritten(mfn: number, offset: number, length: number): void {
    this.#counts.add('codeWrites');
    this.#code.written(mfn, offset, length);
  }

  #emptyTlbs(): void {
    this.#engine.flush(this.#area);
    this.#begunBefore();
  }

  /** What was fetched or translated up to now is looked at again. */
  #begunBefore(): void {
    this.#fields.set32('refetch', 1);
    this.#fields.set32('flushes', this.#fields.get32('flushes') + 1);
  }

  /** This hart or one of its devices has changed code, which it knows of itself. */
  #codeChanged({ codeChanges }: SiblingHarts): void {
    const before = Atomics.add(this.#i32, codeChanges >>> 2, 1);
    if (before === this.#fields.get32('codeChangesSeen')) this.#fields.set32('codeChangesSeen', (before + 1) | 0);
  }

  /** In the middle of an instruction the block in execution is not fetched anew. */
  #dropStale(): void {
    if (this.#running && this.#siblings !== undefined) this.#code.dropStale();
  }

  #pmpChanged(): void {
    const addresses = Array.from({ length: PMP_ENTRIES }, (_, i) =>
      BigInt.asUintN(64, this.#i64[(this.#area + PMPADDR_OFFSET) / 8 + i]!),
    );
    const configuration = [this.field('pmpcfg0'), this.field('pmpcfg2')];
    const ranges = pmpRanges(configuration, addresses);
    for (const [index, range] of ranges.entries()) {
      const at = (this.#area + PMP_RANGES_OFFSET + index * PMP_RANGE_BYTES) / 8;
      this.#i64[at] = BigInt.asIntN(64, range.first);
      this.#i64[at + 1] = BigInt.asIntN(64, range.last);
      this.#i64[at + 2] = BigInt(range.configuration);
    }
    // The walk counts the entry behind the last one, where nothing matched.
    this.#fields.set32('pmpChecks', ranges.length + 1);
  }
}
