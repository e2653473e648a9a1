import { INTERRUPT, MENVCFG, MSTATUS, MSTATUS_MPP_SHIFT, MSTATUS_SPP_SHIFT, PRIVILEGE } from '../isa/fields.ts';
import {
  call,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type ModuleBuilder,
  select,
} from '../wasm/index.ts';
import { HartFields, type Imports } from './emit.ts';
import { chooseJumpSpace } from './jump-table.ts';
import {
  CHUNK,
  DATA_CONTEXT,
  DATA_CONTEXT_BYTES,
  EXIT,
  FETCH_TABLE_BYTES,
  FETCH_TLB_OFFSET,
  JUMP_TABLE_BYTES,
  JUMP_TABLE_OFFSET,
  offset32,
  POLL_TICKS,
  REQUEST_OFFSET,
  TLB_OFFSET,
} from './state.ts';

export interface TrapFunctions {
  /** (hart): chooses the TLB tables after a change of privilege, SUM or MPRV */
  readonly context: FunctionReference;
  /** (hart): takes the trap in trapCause and trapValue, pc being that of the instruction */
  readonly trap: FunctionReference;
  /** (hart): takes the most important interrupt that is pending and enabled, if any */
  readonly interrupt: FunctionReference;
  /** (hart) -> 0 if the instruction is illegal here */
  readonly mret: FunctionReference;
  readonly sret: FunctionReference;
  /** (hart): sets or clears STIP by stimecmp (Sstc) */
  readonly timer: FunctionReference;
  /** (hart, remaining) -> EXIT, or 0 to go on */
  readonly poll: FunctionReference;
}

export function declareTrap(module: ModuleBuilder): TrapFunctions {
  return {
    context: module.declare(['i32'], undefined, 'context'),
    trap: module.declare(['i32'], undefined, 'trap'),
    interrupt: module.declare(['i32']),
    mret: module.declare(['i32'], 'i32'),
    sret: module.declare(['i32'], 'i32'),
    timer: module.declare(['i32'], undefined, 'timer'),
    poll: module.declare(['i32', 'i32'], 'i32'),
  };
}

const { U, S, M } = PRIVILEGE;
const without = (value: I64, mask: bigint): I64 => i64.and(value, i64.const(~mask));
const only = (value: I64, mask: bigint): I64 => i64.and(value, i64.const(mask));
/** Moves one flag of a status word to the place of another. */
const moved = (value: I64, from: bigint, to: bigint): I64 =>
  select(i64.ne(only(value, from), i64.const(0)), i64.const(to), i64.const(0));

export function defineTrap(module: ModuleBuilder, f: TrapFunctions, imports: Imports): void {
  defineContext(module, f);
  defineTakeTrap(module, f);
  defineInterrupt(module, f);
  defineReturns(module, f);
  defineTimer(module, f, imports);
}

function defineContext(module: ModuleBuilder, f: TrapFunctions): void {
  module.define(f.context, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const status = code.local('i64', h.get('mstatus')).get;
    const privilege = code.local('i32', h.get32('privilege')).get;
    const mpp = i32.wrap(i64.and(i64.shr_u(status, i64.const(MSTATUS_MPP_SHIFT)), i64.const(3)));
    const modified = i32.and(i32.eq(privilege, i32.const(M)), h.has('mstatus', MSTATUS.MPRV));
    const data = code.local('i32', select(modified, mpp, privilege)).get;
    h.set32('dataPrivilege', data);
    // U 0, S 1, S with SUM 2, M 3.
    const supervisor = select(h.has('mstatus', MSTATUS.SUM), i32.const(DATA_CONTEXT.SUM), i32.const(DATA_CONTEXT.S));
    const context = select(i32.eq(data, i32.const(S)), supervisor, data);
    h.set32(
      'dataTlb',
      i32.add(i32.add(h.hart, i32.const(TLB_OFFSET)), i32.mul(context, i32.const(DATA_CONTEXT_BYTES))),
    );
    const table = i32.sub(privilege, i32.shr_u(privilege, i32.const(1)));
    h.set32(
      'fetchTlb',
      i32.add(i32.add(h.hart, i32.const(FETCH_TLB_OFFSET)), i32.mul(table, i32.const(FETCH_TABLE_BYTES))),
    );
    h.set32(
      'jumpTable',
      i32.add(i32.add(h.hart, i32.const(JUMP_TABLE_OFFSET)), i32.mul(table, i32.const(JUMP_TABLE_BYTES))),
    );
    chooseJumpSpace(h);
  });
}

/** What a trap into S or M uses, and what the return from it restores. */
const LEVELS = {
  S: {
    privilege: S,
    cause: 'scause',
    epc: 'sepc',
    value: 'stval',
    vector: 'stvec',
    previous: MSTATUS.SPP,
    previousShift: MSTATUS_SPP_SHIFT,
    previousEnable: MSTATUS.SPIE,
    enable: MSTATUS.SIE,
  },
  M: {
    privilege: M,
    cause: 'mcause',
    epc: 'mepc',
    value: 'mtval',
    vector: 'mtvec',
    previous: MSTATUS.MPP,
    previousShift: MSTATUS_MPP_SHIFT,
    previousEnable: MSTATUS.MPIE,
    enable: MSTATUS.MIE,
  },
} as const;
type Level = (typeof LEVELS)[keyof typeof LEVELS];

const previousPrivilege = (level: Level, status: I64): I32 =>
  i32.wrap(i64.shr_u(only(status, level.previous), i64.const(level.previousShift)));

/** Privileged specification, 3.1.6.1, 3.1.8 and 10.1.2. */
function defineTakeTrap(module: ModuleBuilder, f: TrapFunctions): void {
  module.define(f.trap, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const cause = code.local('i32', h.get32('trapCause')).get;
    const isInterrupt = code.local('i32', i32.shr_u(cause, i32.const(31))).get;
    const number = code.local('i64', i64.extend_i32_u(i32.and(cause, i32.const(63)))).get;
    const value = select(isInterrupt, i64.const(0), h.get('trapValue'));
    const fullCause = i64.or(i64.shl(i64.extend_i32_u(isInterrupt), i64.const(63)), number);
    const delegation = select(isInterrupt, h.get('mideleg'), h.get('medeleg'));
    const delegated = i32.wrap(only(i64.shr_u(delegation, number), 1n));
    const privilege = code.local('i32', h.get32('privilege')).get;
    const status = code.local('i64', h.get('mstatus')).get;
    code.if(
      isInterrupt,
      () => h.count('interrupts'),
      () => h.count('exceptions'),
    );
    const enter = (level: Level): void => {
      h.set(level.cause, fullCause);
      h.set(level.epc, h.get('pc'));
      h.set(level.value, value);
      const kept = without(status, level.previous | level.previousEnable | level.enable);
      const previous = i64.shl(i64.extend_i32_u(privilege), i64.const(level.previousShift));
      h.set('mstatus', i64.or(kept, i64.or(previous, moved(status, level.enable, level.previousEnable))));
      h.set32('privilege', i32.const(level.privilege));
      const vector = h.get(level.vector);
      const vectored = i32.and(i32.wrap(vector), isInterrupt);
      const distance = select(vectored, i64.shl(number, i64.const(2)), i64.const(0));
      h.set('pc', i64.add(i64.and(vector, i64.const(-4)), distance));
    };
    code.if(
      i32.and(i32.ne(privilege, i32.const(M)), delegated),
      () => enter(LEVELS.S),
      () => enter(LEVELS.M),
    );
    code.callVoid(f.context, h.hart);
  });
}

/** Priority: MEI, MSI, MTI, SEI, SSI, STI (privileged specification, 3.1.9). */
function defineInterrupt(module: ModuleBuilder, f: TrapFunctions): void {
  module.define(f.interrupt, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const pending = code.local('i64', i64.and(i64.extend_i32_u(h.pending), h.get('mie'))).get;
    code.if(i64.eqz(pending), () => code.return());
    const privilege = h.get32('privilege');
    const machineEnabled = i32.or(i32.ne(privilege, i32.const(M)), h.has('mstatus', MSTATUS.MIE));
    const supervisorEnabled = i32.or(
      i32.eq(privilege, i32.const(U)),
      i32.and(i32.eq(privilege, i32.const(S)), h.has('mstatus', MSTATUS.SIE)),
    );
    const machine = code.local('i64', i64.and(pending, i64.xor(h.get('mideleg'), i64.const(-1)))).get;
    const enabled = code.local(
      'i64',
      select(i32.and(machineEnabled, i64.ne(machine, i64.const(0))), machine, i64.const(0)),
    );
    code.if(i32.and(i64.eqz(enabled.get), supervisorEnabled), () =>
      code.set(enabled, i64.and(pending, h.get('mideleg'))),
    );
    code.if(i64.eqz(enabled.get), () => code.return());
    for (const number of [INTERRUPT.MEI, INTERRUPT.MSI, INTERRUPT.MTI, INTERRUPT.SEI, INTERRUPT.SSI, INTERRUPT.STI]) {
      code.if(i64.ne(only(enabled.get, 1n << BigInt(number)), i64.const(0)), () => {
        h.set32('trapCause', i32.const(number | (1 << 31)));
        code.callVoid(f.trap, h.hart);
        code.return();
      });
    }
  });
}

/** MRET and SRET (privileged specification, 3.1.6.1). */
function defineReturns(module: ModuleBuilder, f: TrapFunctions): void {
  const define = (reference: FunctionReference, level: Level, isIllegal: (h: HartFields) => I32): void =>
    module.define(reference, (code) => {
      const h = new HartFields(code, code.parameter(0, 'i32').get);
      code.if(isIllegal(h), () => code.return(i32.const(0)));
      const status = code.local('i64', h.get('mstatus')).get;
      const kept = without(status, level.previous | level.previousEnable | level.enable);
      const restored = i64.or(i64.const(level.previousEnable), moved(status, level.previousEnable, level.enable));
      const next = code.local('i64', i64.or(kept, restored)).get;
      const privilege = code.local('i32', previousPrivilege(level, status)).get;
      h.set32('privilege', privilege);
      // MPRV does not survive a return to a less privileged mode than M.
      h.set('mstatus', select(i32.eq(privilege, i32.const(M)), next, without(next, MSTATUS.MPRV)));
      h.set('pc', h.get(level.epc));
      code.callVoid(f.context, h.hart);
      code.return(i32.const(1));
      code.unreachable();
    });
  define(f.mret, LEVELS.M, (h) => i32.ne(h.get32('privilege'), i32.const(M)));
  define(f.sret, LEVELS.S, (h) => {
    const trapped = i32.and(i32.eq(h.get32('privilege'), i32.const(S)), h.has('mstatus', MSTATUS.TSR));
    return i32.or(i32.eqz(h.get32('privilege')), trapped);
  });
}

/**
 * Fits the pace to how fast the hart is: translated code executes up to ten times the instructions of interpreted code in the same time,
 * and a poll costs as much as some two thousand of them.
 * @param elapsed ticks since the last poll; 0: the clock stands still, or is too coarse to tell
 */
function choosePace(h: HartFields, elapsed: I64): void {
  const { code } = h;
  const pace = h.get32('pace');
  const isShort = i64.lt_u(i64.sub(elapsed, i64.const(1)), i64.const(POLL_TICKS.least - 1));
  code.if(i32.and(isShort, i32.lt_u(pace, h.get32('longestPace'))), () => h.set32('pace', i32.shl(pace, i32.const(1))));
  const isLong = i64.gt_u(elapsed, i64.const(POLL_TICKS.most));
  code.if(i32.and(isLong, i32.gt_u(pace, i32.const(CHUNK))), () => h.set32('pace', i32.shr_u(pace, i32.const(1))));
}

function defineTimer(module: ModuleBuilder, f: TrapFunctions, imports: Imports): void {
  const now = (): I64 => i64.trunc_sat_f64_u(call('f64', imports.now));
  const line = (h: HartFields): I32 => i32.add(h.hart, i32.const(offset32('lines')));
  const update = (h: HartFields, time: I64): void => {
    const bit = 1 << INTERRUPT.STI;
    h.code.if(h.has('menvcfg', MENVCFG.STCE), () =>
      h.code.if(
        i64.ge_u(time, h.get('stimecmp')),
        () => h.code.drop(i32.atomicOr(line(h), i32.const(bit))),
        () => h.code.drop(i32.atomicAnd(line(h), i32.const(~bit))),
      ),
    );
  };
  module.define(f.timer, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    update(h, code.local('i64', now()).get);
  });
  module.define(f.poll, (code) => {
    const h = new HartFields(code, code.parameter(0, 'i32').get);
    const executed = code.local('i64', i64.extend_i32_s(i32.sub(h.get32('chunk'), code.parameter(1, 'i32').get))).get;
    h.count('polls');
    h.set('retired', i64.add(h.get('retired'), executed));
    h.set('budget', i64.sub(h.get('budget'), executed));
    const begin = (instructions: I32): void => {
      h.set32('chunk', instructions);
      h.set32('remaining', instructions);
    };
    begin(h.get32('pace'));
    h.set32('pauses', i32.const(0));
    code.if(i32.atomicLoad(h.hart, REQUEST_OFFSET), () => code.return(i32.const(EXIT.request)));
    code.if(i64.le_s(h.get('budget'), i64.const(0)), () => code.return(i32.const(EXIT.budget)));
    const time = code.local('i64', now()).get;
    choosePace(h, i64.sub(time, h.get('polled')));
    h.set('polled', time);
    const budget = h.get('budget');
    const pace = i64.extend_i32_u(h.get32('pace'));
    begin(i32.wrap(select(i64.lt_s(budget, pace), budget, pace)));
    update(h, time);
    code.if(i64.ge_u(time, h.get('deadline')), () => code.return(i32.const(EXIT.deadline)));
    code.return(i32.const(0));
  });
}
