import { CAUSE } from '../isa/fields.ts';
import {
  call,
  callIndirect,
  type FunctionBuilder,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type ModuleBuilder,
  select,
  type TypeReference,
} from '../wasm/index.ts';
import type { AccessFunctions } from './access.ts';
import { HartFields, type Imports } from './emit.ts';
import { IN_CROSSING_SLOT } from './fetch.ts';
import type { FloatFunctions } from './float.ts';
import { InterpreterContext, type Labels, pcOf, type Registers } from './interpreter-context.ts';
import { findJump } from './jump-table.ts';
import { FIRST_INSTRUCTION, HANDLERS, type Handler, OPERATIONS, PAIRS, SLOT } from './slots.ts';
import {
  BLOCK_BYTES,
  COUNTERS,
  COUNTERS_OFFSET,
  CROSSING_OFFSET,
  DECODED_CODE_OFFSET,
  RETURNS_OFFSET,
  SLOT_BYTES,
} from './state.ts';
import type { TlbFunctions } from './tlb.ts';
import { blockOf, fetchTlbIndex } from './tlb-first.ts';
import { EFFECTS } from './translate/effects.ts';
import { REGION_STATUS } from './translate/status.ts';
import type { TrapFunctions } from './trap.ts';

/**
 * While the crossing slot is executed, `block` lies this far above `slot` and `blockAddress` a quarter of it above pc,
 * so that pc comes out right and no branch takes its target for a slot of the same block.
 */
const CROSSING_DISTANCE = 0x40000000;

export interface Runtime {
  readonly access: AccessFunctions;
  readonly tlb: TlbFunctions;
  readonly trap: TrapFunctions;
  readonly float: FloatFunctions;
  readonly csr: FunctionReference;
  /** The type of a translated region's function. */
  readonly region: TypeReference;
  readonly imports: Imports;
}

export const declareInterpreter = (module: ModuleBuilder): FunctionReference => module.declare(['i32'], 'i32', 'run');

/**
 * run(hart) -> EXIT. Executes from pc until there is a reason to return.
 *
 * Three nested loops: `fetch` starts again from the pc in memory (after a trap, a return from one, a change of address
 * space), `jump` goes to a target address, `next` executes one decoded slot after another. pc is not kept while
 * instructions follow each other: it is the block's address plus the slot's position.
 */
export function defineInterpreter(module: ModuleBuilder, reference: FunctionReference, runtime: Runtime): void {
  if (FIRST_INSTRUCTION + HANDLERS.length + PAIRS.length > OPERATIONS) {
    throw new Error('a slot names its operation by one byte');
  }
  module.define(reference, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const r: Registers = {
      slot: code.local('i32'),
      block: code.local('i32'),
      blockAddress: code.local('i64'),
      target: code.local('i64'),
      remaining: code.local('i32'),
      dataTlb: code.local('i32'),
      arrival: code.local('i32'),
    };
    const status = code.local('i32');
    code.set(r.remaining, h.get32('remaining'));
    code.loop((fetch) => {
      code.if(i64.ne(i64.and(i64.extend_i32_u(h.pending), h.get('mie')), i64.const(0)), () =>
        code.callVoid(runtime.trap.interrupt, h.hart),
      );
      h.set32('refetch', i32.const(0));
      code.set(r.dataTlb, h.get32('dataTlb'));
      code.set(r.target, h.get('pc'));
      // An address with bit 0 set is no block's address: the next look goes through the fetch TLB.
      code.set(r.blockAddress, i64.const(1));
      code.loop((jump) => {
        code.if(i32.lt_s(r.remaining.get, i32.const(0)), () => {
          h.set('pc', r.target.get);
          if (runtime.imports.sample !== undefined) {
            // Behind a trap, a return from one or a region there is no slot that it comes from.
            const hasSlot = i64.ne(r.blockAddress.get, i64.const(1));
            code.callVoid(runtime.imports.sample, select(hasSlot, pcOf(r), r.target.get));
          }
          code.set(status, call('i32', runtime.trap.poll, h.hart, r.remaining.get));
          code.if(status.get, () => code.return(status.get));
          code.set(r.remaining, h.get32('remaining'));
          code.br(fetch);
        });
        code.block((ready) => {
          const targetBlock = blockOf(r.target.get);
          code.if(i64.ne(targetBlock, r.blockAddress.get), () => {
            code.set(r.block, i32.add(h.get32('fetchTlb'), fetchTlbIndex(r.target.get)));
            code.if(
              i64.eq(i64.load(r.block.get), targetBlock),
              () => code.set(r.block, i32.load(r.block.get, 8)),
              () => {
                h.set('pc', r.target.get);
                code.set(r.block, call('i32', runtime.access.fetch, h.hart, r.target.get));
                code.if(i32.eqz(r.block.get), () => {
                  code.callVoid(runtime.trap.trap, h.hart);
                  code.set(r.remaining, i32.sub(r.remaining.get, i32.const(1)));
                  code.br(fetch);
                });
                code.if(i32.eq(r.block.get, i32.const(IN_CROSSING_SLOT)), () => {
                  enterCrossingSlot(h, r);
                  code.br(ready);
                });
              },
            );
            code.set(r.blockAddress, targetBlock);
          });
          const offset = i32.and(i32.wrap(r.target.get), i32.const(BLOCK_BYTES - 2));
          code.set(r.slot, i32.add(r.block.get, i32.shl(offset, i32.const(2))));
          code.unlikely(r.arrival.get, () => {
            code.if(
              i32.eq(r.arrival.get, i32.const(ARRIVAL.interpret)),
              () => {
                code.set(r.arrival, i32.const(ARRIVAL.jump));
                code.if(i32.eq(i32.load8_u(r.slot.get), i32.const(SLOT.translated)), () => {
                  code.callVoid(runtime.imports.stepSlot, r.slot.get);
                  enterCrossingSlot(h, r);
                  code.br(ready);
                });
              },
              () => {
                code.set(r.arrival, i32.const(ARRIVAL.jump));
                countMore(h, r.slot.get, EXIT_WEIGHT - 1);
              },
            );
          });
          countJump(h, r.slot.get, runtime.imports, () => r.target.get);
        });
        code.loop((next) => {
          code.block((exception) => {
            code.block((illegal) => {
              const labels = { fetch, jump, next, exception, illegal };
              writeHandlers(code, h, r, labels, runtime);
            });
            // A fault in between may have taken the frame away: what stands in its place is nobody's instruction.
            code.if(h.get32('refetch'), () => {
              h.set('pc', pcOf(r));
              code.br(fetch);
            });
            h.set('trapValue', instructionBits(h, r));
            h.set32('trapCause', i32.const(CAUSE.illegalInstruction));
          });
          h.set('pc', pcOf(r));
          code.callVoid(runtime.trap.trap, h.hart);
          code.br(fetch);
        });
      });
    });
    code.unreachable();
  });
}

/** Runs the translated region at `slot`, and goes on where it ends. */
function enterRegion(code: FunctionBuilder, h: HartFields, r: Registers, labels: Labels, runtime: Runtime): void {
  const { imports, region } = runtime;
  const index = code.local('i32', i32.const(0));
  const status = code.local('i32');
  code.set(r.target, pcOf(r));
  code.set(index, i32.const(0));
  findJump(h, r.target.get, (entry) => code.set(index, i32.load(entry, 8)));
  code.if(i32.eqz(index.get), () => {
    h.set('pc', r.target.get);
    code.set(index, call('i32', imports.enterRegion, r.slot.get));
    code.if(i32.eqz(index.get), () => code.br(labels.fetch));
  });
  h.set32('remaining', r.remaining.get);
  h.set32('returnTop', i32.add(h.hart, i32.const(RETURNS_OFFSET)));
  code.set(status, callIndirect('i32', region, index.get, h.hart, r.target.get));
  if (imports.regionLeft !== undefined) code.callVoid(imports.regionLeft, status.get);
  h.count('regionEntries');
  const executed = i32.sub(r.remaining.get, h.get32('remaining'));
  h.add('translatedInstructions', i64.extend_i32_s(executed));
  code.set(r.remaining, h.get32('remaining'));
  if (imports.sample !== undefined) {
    code.if(i32.ge_s(r.remaining.get, i32.const(0)), () => h.set('leftFrom', i64.const(0)));
  }
  code.set(r.dataTlb, h.get32('dataTlb'));
  code.set(r.target, h.get('pc'));
  // The region may have had decoded blocks replaced.
  code.set(r.blockAddress, i64.const(1));
  code.if(i32.eqz(status.get), () => {
    code.if(i32.lt_s(r.remaining.get, i32.const(0)), () => h.count('pollExits'));
    code.set(r.arrival, i32.const(ARRIVAL.exit));
    code.br(labels.jump);
  });
  code.if(i32.eq(status.get, i32.const(REGION_STATUS.interpret)), () => {
    h.count('interpretExits');
    code.if(h.get32('straddled'), () => code.callVoid(imports.straddled));
    code.set(r.arrival, i32.const(ARRIVAL.interpret));
    code.br(labels.jump);
  });
  h.count('fetchExits');
  code.br(labels.fetch);
}

/** Jumps that a way out of a region counts for: it costs as much as some of them. */
const EXIT_WEIGHT = 4;

/** How a jump comes about. */
const ARRIVAL = {
  jump: 0,
  /** By a way out of a region. */
  exit: 1,
  /** A region leaves one instruction to the interpreter, which executes it though a region may be entered there. */
  interpret: 2,
} as const;

/** Address of a slot's counter, less COUNTERS_OFFSET. */
const counterOf = (h: HartFields, slot: I32): I32 =>
  i32.add(h.hart, i32.and(i32.shr_u(slot, i32.const(2)), i32.const(COUNTERS * 2 - 2)));

/** Counts a jump to a slot; when there have been enough of them the code there is hot. */
export function countJump(h: HartFields, slot: I32, imports: Imports, pc: () => I64): void {
  const { code } = h;
  const counter = code.local('i32');
  const left = code.local('i32');
  code.set(counter, counterOf(h, slot));
  code.set(left, i32.sub(i32.load16_u(counter.get, COUNTERS_OFFSET), i32.const(1)));
  code.store(2, counter.get, left.get, COUNTERS_OFFSET);
  code.unlikely(i32.le_s(left.get, i32.const(0)), () => {
    h.set('pc', pc());
    code.callVoid(imports.hot, slot);
  });
}

/** Counts some jumps more; it is for the next one to find the code hot. */
function countMore(h: HartFields, slot: I32, jumps: number): void {
  const { code } = h;
  const counter = code.local('i32', counterOf(h, slot));
  const left = code.local('i32', i32.load16_u(counter.get, COUNTERS_OFFSET));
  code.if(i32.gt_u(left.get, i32.const(jumps)), () =>
    code.store(2, counter.get, i32.sub(left.get, i32.const(jumps)), COUNTERS_OFFSET),
  );
}

/** Goes on in the crossing slot, which holds the instruction at `target`. */
function enterCrossingSlot(h: HartFields, r: Registers): void {
  h.code.set(r.slot, i32.add(h.hart, i32.const(CROSSING_OFFSET)));
  h.code.set(r.block, i32.add(r.slot.get, i32.const(CROSSING_DISTANCE)));
  h.code.set(r.blockAddress, i64.add(r.target.get, i64.const(CROSSING_DISTANCE / 4)));
}

/** The instruction's bits, for xtval: from the guest's page, or as the crossing slot has them. */
function instructionBits(h: HartFields, r: Registers): I64 {
  const { code } = h;
  const address = code.local('i32');
  const bits = code.local('i32', h.get32('crossingBits'));
  const distance = i32.sub(r.slot.get, r.block.get);
  code.if(i32.ne(distance, i32.const(-CROSSING_DISTANCE)), () => {
    code.set(address, i32.add(i32.load(r.block.get, DECODED_CODE_OFFSET), i32.shr_u(distance, i32.const(2))));
    code.set(bits, i32.load16_u(address.get));
    code.if(i32.eq(i32.and(bits.get, i32.const(3)), i32.const(3)), () => code.set(bits, i32.load(address.get)));
  });
  return i64.extend_i32_u(bits.get);
}

const accessesMemory = ({ number }: Handler): boolean => EFFECTS[number]!.access !== undefined;

function writeHandlers(code: FunctionBuilder, h: HartFields, r: Registers, labels: Labels, runtime: Runtime): void {
  const context = new InterpreterContext(code, h, r, labels, runtime);
  // Each handler counts for itself: what is no instruction doesn't, and V8 would keep the count before for those.
  const count = (): void => code.set(r.remaining, i32.sub(r.remaining.get, i32.const(1)));
  const execute = ({ instruction, length }: Handler): void => {
    count();
    context.begin(instruction, length);
    instruction.semantics(context);
  };
  const skip = (bytes: 2 | 4): void => {
    count();
    code.set(r.slot, i32.add(r.slot.get, i32.const((bytes / 2) * SLOT_BYTES)));
    code.br(labels.next);
  };
  const special: Record<keyof typeof SLOT, () => void> = {
    undecoded: () => {
      code.brIf(labels.next, call('i32', runtime.imports.decodeSlot, r.slot.get));
      h.set('pc', pcOf(r));
      code.br(labels.fetch);
    },
    blockEnd: () => {
      code.set(r.target, pcOf(r));
      code.br(labels.jump);
    },
    crossing: () => {
      code.set(r.target, pcOf(r));
      code.if(i32.eqz(call('i32', runtime.access.crossing, h.hart, r.target.get)), () => {
        count();
        code.br(labels.exception);
      });
      enterCrossingSlot(h, r);
      code.br(labels.next);
    },
    illegal: () => {
      count();
      code.br(labels.illegal);
    },
    translated: () => enterRegion(code, h, r, labels, runtime),
    nop2: () => skip(2),
    nop4: () => skip(4),
  };
  const specials = Object.entries(SLOT).sort((a, b) => a[1] - b[1]);
  const bodies = [
    ...specials.map(([name]) => special[name as keyof typeof SLOT]),
    ...HANDLERS.map((handler) => () => {
      execute(handler);
      context.goOn();
    }),
    ...PAIRS.map(({ first, second }) => () => {
      execute(first);
      context.advance();
      // Code may have changed meanwhile: by the store itself, or by another hart while an access waited for its page.
      if (accessesMemory(first)) code.brIf(labels.next, i32.eq(i32.load8_u(r.slot.get), i32.const(SLOT.undecoded)));
      execute(second);
      context.goOn();
    }),
  ];
  code.switch(i32.load8_u(r.slot.get), bodies);
}
