import {
  call,
  type FunctionBuilder,
  type FunctionReference,
  type I64,
  i32,
  i64,
  type Label,
  type Local,
  ModuleBuilder,
  select,
} from '../../wasm/index.ts';
import { HartFields } from '../emit.ts';
import { REGION_TYPE } from '../jump-table.ts';
import { type Instruments, NO_INSTRUMENTS } from '../observer.ts';
import { F_OFFSET, RETURNS, RETURNS_OFFSET, X_OFFSET } from '../state.ts';
import { findChains } from './chains.ts';
import { analyseFlow, type Flow } from './flow.ts';
import { type GroupedBlock, groupBlocks } from './groups.ts';
import { importFunctions, type RegionImports } from './imports.ts';
import type { AccessPlan } from './memory-access.ts';
import { OUTSIDE, type Region, regionNumber } from './region.ts';
import { RegisterLocals } from './register-locals.ts';
import { analyseRegisters, type RegisterUse } from './registers.ts';
import { exitOffset, exitStatus, exitUnexecuted, REGION_STATUS } from './status.ts';
import { findStreams } from './streams.ts';
import { type RegionLocals, type Terminator, TranslatorContext } from './translator-context.ts';
import { findWords } from './word-flow.ts';

/** A call with this for pc does nothing. */
const NO_PC = 1;

/** Stands for each function that a module imports. */
const doNothing = (): bigint => 0n;

/**
 * Compiles translated regions. V8 compiles a function when it is first called: that is done here, so that it is done in
 * this thread.
 * @param memory of the harts that the regions are for
 */
export function compileRegions(bytes: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory): WebAssembly.Module {
  const module = new WebAssembly.Module(bytes);
  const env = new Proxy<WebAssembly.ModuleImports>({ memory }, { get: (own, name) => own[String(name)] ?? doNothing });
  const { exports } = new WebAssembly.Instance(module, { env });
  for (const region of Object.values(exports)) {
    (region as (hart: number, pc: bigint) => number)(0, BigInt(NO_PC));
  }
  return module;
}

/** Name of the function of the region at an index of the module. */
export const regionName = (index: number): string => `r${index}`;

/**
 * Writes regions as one WebAssembly module. It imports the machine memory and functions of the engine, and exports a function (hart, pc) -> REGION_STATUS for each region.
 * @param instruments what harts' observers are to be told
 */
export function translate(
  regions: readonly Region[],
  instruments: Instruments = NO_INSTRUMENTS,
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const imports = importFunctions(module, regions);
  for (const [index, region] of regions.entries()) {
    const reference = module.declare(REGION_TYPE.parameters, REGION_TYPE.result, regionName(index));
    module.define(reference, (code) => new RegionWriter(code, reference, region, imports, instruments).write());
  }
  return module.finish();
}

/** Writes one region's function. */
class RegionWriter {
  readonly #code: FunctionBuilder;
  readonly #self: FunctionReference;
  readonly #region: Region;
  readonly #imports: RegionImports;
  readonly #flow: Flow;
  readonly #use: RegisterUse;
  readonly #blocks: readonly GroupedBlock[];
  readonly #accesses: AccessPlan;
  readonly #h: HartFields;
  readonly #locals: RegionLocals;
  readonly #registers: RegisterLocals;
  readonly #target: Local<'i64'>;
  /** Offset of the block in execution, if there are to be samples. */
  readonly #executed: Local<'i32'> | undefined;
  readonly #merges = new Map<number, Label>();
  /** By loop. */
  readonly #loops: Label[] = [];
  /** By block that is a reentry: the loop around those that its dominator dominates, and its number there. */
  readonly #reentries = new Map<number, { readonly loop: Label; readonly number: number }>();
  /** In such a loop: the number of the reentry to go on at; 0 at first. */
  readonly #reentry: Local<'i32'>;
  #context!: TranslatorContext;
  #link!: Label;

  /** @param self the function that is written */
  constructor(
    code: FunctionBuilder,
    self: FunctionReference,
    region: Region,
    imports: RegionImports,
    { samples }: Instruments,
  ) {
    this.#code = code;
    this.#self = self;
    this.#region = region;
    this.#imports = imports;
    this.#flow = analyseFlow(region);
    this.#use = analyseRegisters(region, this.#flow, findWords(region));
    const streams = findStreams(region, this.#flow);
    this.#blocks = groupBlocks(region, this.#flow, streams);
    this.#accesses = {
      streams,
      chains: findChains(region, this.#flow, this.#blocks),
      firstPrediction: regionNumber(region),
      straddles: region.straddles,
    };
    this.#h = new HartFields(code, code.parameter(0, 'i32').get);
    this.#registers = new RegisterLocals(code, this.#h, this.#use.used, this.#use.retired);
    this.#locals = {
      entry: code.parameter(1, 'i64'),
      remaining: code.local('i32'),
      floatOn: code.local('i32'),
      floatDirty: code.local('i32'),
      floatLimit: code.local('i64'),
      exit: code.local('i64'),
      exitRegisters: code.local('i64'),
    };
    this.#target = code.local('i64');
    this.#reentry = code.local('i32');
    if (samples) this.#executed = code.local('i32');
  }

  write(): void {
    const { remaining } = this.#locals;
    const code = this.#code;
    code.unlikely(i32.and(i32.wrap(this.#locals.entry.get), i32.const(NO_PC)), () =>
      code.return(i32.const(REGION_STATUS.continue)),
    );
    code.set(remaining, this.#h.get32('remaining'));
    this.#registers.load(this.#use.wanted[0]!);
    code.block((link) => {
      this.#link = link;
      code.block((leave) => {
        this.#context = new TranslatorContext(
          code,
          this.#h,
          this.#locals,
          this.#imports,
          leave,
          this.#registers,
          this.#accesses,
        );
        if (this.#registers.f.size > 0) this.#context.readFloatState();
        this.#tree(0);
        code.unreachable();
      });
      this.#left();
    });
    this.#goOn();
    code.unreachable();
  }

  /** Goes on at `target`: in another region if one is known there. */
  #goOn(): void {
    const code = this.#code;
    this.#h.set32('remaining', this.#locals.remaining.get);
    this.#noteBlock();
    code.returnCall(this.#imports.link, this.#h.hart, this.#target.get);
  }

  #noteBlock(): void {
    if (this.#executed === undefined) return;
    const offset = i64.extend_i32_s(this.#executed.get);
    this.#h.set('leftFrom', i64.add(this.#locals.entry.get, offset));
  }

  /** The end of what `leave` began. */
  #left(): void {
    const code = this.#code;
    const { exit, exitRegisters, entry, remaining } = this.#locals;
    const { x, f } = this.#registers;
    const hart = this.#h.hart;
    // What has been loaded, and is nowhere stored on the way, is as it should be whether it has been written or not.
    const { written, known } = this.#use;
    // Without branches: of others, what has not been written is stored as it was.
    const put = (isKnown: boolean, bit: number, value: I64, offset: number): void => {
      const isWritten = i32.wrap(i64.and(i64.shr_u(exitRegisters.get, i64.const(bit)), i64.const(1)));
      code.store(8, hart, isKnown ? value : select(isWritten, value, i64.load(hart, offset)), offset);
    };
    const has = (set: number, n: number): boolean => (set & (1 << n)) !== 0;
    for (const [n, local] of x) {
      if (has(written.x, n)) put(has(known.x, n), n, local.get, X_OFFSET + n * 8);
    }
    for (const [n, local] of f) {
      if (has(written.f, n)) put(has(known.f, n), 32 + n, i64.reinterpret(local.get), F_OFFSET + n * 8);
    }
    code.set(this.#target, i64.add(entry.get, exitOffset(exit.get)));
    code.set(remaining, i32.add(remaining.get, exitUnexecuted(exit.get)));
    const status = exitStatus(exit.get);
    code.if(i32.ne(status, i32.const(REGION_STATUS.continue)), () => {
      this.#h.set('pc', this.#target.get);
      this.#h.set('regionEntry', entry.get);
      this.#h.set32('remaining', remaining.get);
      this.#noteBlock();
      code.return(status);
    });
  }

  /** A block and those that it dominates. */
  #tree(block: number): void {
    if (!this.#flow.isLoopHeader[block]) {
      this.#subtree(block);
      return;
    }
    const loops = [...this.#flow.loops.keys()].filter((loop) => this.#flow.loops[loop]!.header === block);
    const within = ([outer, ...others]: readonly number[]): void => {
      if (outer === undefined) this.#subtree(block);
      else {
        this.#code.loop((start) => {
          this.#loops[outer] = start;
          within(others);
        });
      }
    };
    within(loops);
  }

  /** The same within the loops that the block begins. */
  #subtree(block: number): void {
    const code = this.#code;
    const goOn = this.#block(block);
    const merges = this.#flow.merges[block]!;
    const reentries = this.#flow.reentries[block]!;
    if (reentries.length === 0) {
      this.#within(merges, goOn);
      return;
    }
    code.set(this.#reentry, i32.const(0));
    code.loop((loop) => {
      for (const [index, to] of reentries.entries()) this.#reentries.set(to, { loop, number: index + 1 });
      this.#within(merges, () => {
        code.block((first) => {
          const labels = reentries.map((to) => this.#merges.get(to)!);
          code.brTable(this.#reentry.get, [first, ...labels], first);
        });
        goOn();
      });
    });
  }

  #within([last, ...others]: readonly number[], write: () => void): void {
    if (last === undefined) write();
    else {
      this.#code.block((end) => {
        this.#merges.set(last, end);
        this.#within(others, write);
      });
      this.#tree(last);
    }
  }

  /** A block without what it leads to, which the function that it gives writes. */
  #block(number: number): () => void {
    const code = this.#code;
    const { remaining } = this.#locals;
    const block = this.#region.blocks[number]!;
    const count = block.code.length;
    code.set(remaining, i32.sub(remaining.get, i32.const(count)));
    if (this.#executed !== undefined) code.set(this.#executed, i32.const(block.offset));
    this.#registers.beginBlock(this.#use.changed[number]!, this.#use.words[number]!);
    const { instructions, groups, goesOn } = this.#blocks[number]!;
    this.#context.beginBlock(this.#accesses.streams[number]!, goesOn);
    let offset = block.offset;
    let last = offset;
    let terminator: Terminator | undefined;
    for (const [index, decoded] of instructions.entries()) {
      last = offset;
      terminator = this.#context.write(decoded, offset, count - index - 1, groups[index]);
      offset += decoded.length;
    }
    const target = last + instructions.at(-1)!.operands.imm;
    return () => this.#end(number, terminator, target, offset);
  }

  /**
   * Goes on from the end of a block.
   * @param target offset that its last instruction jumps to, if its operands say that
   * @param behind offset of what follows it
   */
  #end(number: number, terminator: Terminator | undefined, target: number, behind: number): void {
    const code = this.#code;
    const block = this.#region.blocks[number]!;
    const { state } = this.#context;
    switch (terminator?.kind) {
      case undefined:
        this.#edge(number, block.next, behind, false);
        break;
      case 'relative':
        if (block.returns !== OUTSIDE) this.#recurse(number, behind);
        else this.#edge(number, block.taken, target, false);
        break;
      case 'branch': {
        code.if(
          terminator.condition,
          () => this.#edge(number, block.taken, target, true),
          () => {
            this.#context.state = state;
            this.#edge(number, block.next, behind, true);
          },
        );
        break;
      }
      case 'indirect': {
        code.set(this.#target, terminator.target);
        for (const likely of block.likely) {
          const to = this.#region.blocks[likely]!.offset;
          code.if(i64.eq(this.#target.get, this.#context.address(to)), () => this.#edge(number, likely, to, false));
          this.#context.state = state;
        }
        this.#registers.spill();
        code.br(this.#link);
        break;
      }
    }
  }

  /**
   * Calls the region itself; goes on in the block behind the call when that returns to there. If it does not, it is the
   * interpreter's turn, and whoever called this region is told the same.
   * @param behind offset of the instruction behind the call
   */
  #recurse(number: number, behind: number): void {
    const code = this.#code;
    const h = this.#h;
    const { returns } = this.#region.blocks[number]!;
    const { remaining, entry } = this.#locals;
    this.#registers.spill();
    const top = this.#context.temporary('i32', h.get32('returnTop')).get;
    const last = i32.add(h.hart, i32.const(RETURNS_OFFSET + (RETURNS - 1) * 8));
    code.set(this.#target, entry.get);
    code.unlikely(i32.or(i32.eq(top, last), i32.lt_s(remaining.get, i32.const(0))), () => code.br(this.#link));
    code.store(8, top, this.#context.address(behind), 8);
    h.set32('returnTop', i32.add(top, i32.const(8)));
    h.set32('remaining', remaining.get);
    const status = this.#context.temporary('i32', call('i32', this.#self, h.hart, entry.get)).get;
    code.unlikely(i32.ne(status, i32.const(REGION_STATUS.returned)), () => code.return(status));
    h.set32('returnTop', top);
    code.set(remaining, h.get32('remaining'));
    this.#registers.load(this.#use.wanted[returns]!);
    this.#registers.beginBlock({ x: 0, f: 0 }, 0);
    this.#context.returned();
    this.#edge(number, returns, behind, false);
  }

  /** Goes from the end of a block to another one, or to an offset out of the region. */
  #edge(from: number, to: number, offset: number, conditional: boolean): void {
    const code = this.#code;
    if (to === OUTSIDE && conditional) {
      // Never taken so far.
      this.#context.leave(REGION_STATUS.continue, offset, 0);
    } else if (to === OUTSIDE) {
      this.#exit(offset);
    } else if (this.#flow.isBackEdge(from, to)) {
      this.#poll(offset);
      this.#handOn(to);
      code.br(this.#loops[this.#flow.loopOf(from, to)]!);
    } else if (this.#flow.isIrreducible(from, to)) {
      const { loop, number } = this.#reentries.get(to)!;
      this.#poll(offset);
      this.#handOn(to);
      code.set(this.#reentry, i32.const(number));
      code.br(loop);
    } else if (this.#flow.isMerge[to]) {
      this.#handOn(to);
      code.br(this.#merges.get(to)!);
    } else {
      this.#handOn(to);
      this.#tree(to);
    }
  }

  #poll(offset: number): void {
    this.#code.unlikely(i32.lt_s(this.#locals.remaining.get, i32.const(0)), () => this.#exit(offset));
  }

  #handOn(to: number): void {
    if (this.#flow.isLoopHeader[to]) this.#registers.retire(this.#use.carried[to]!);
    this.#registers.handOn(this.#use.words[to]!, this.#use.wanted[to]!);
  }

  #exit(offset: number): void {
    this.#registers.spill();
    this.#code.set(this.#target, this.#context.address(offset));
    this.#code.br(this.#link);
  }
}
