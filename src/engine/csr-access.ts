import { CSRS, type CsrContext, csrIsReadOnly, csrPrivilege } from '../isa/csr.ts';
import { MSTATUS, type StateField32, type StateField64 } from '../isa/fields.ts';
import {
  call,
  type FunctionBuilder,
  type FunctionReference,
  type I32,
  type I64,
  i32,
  i64,
  type Local,
  type ModuleBuilder,
  select,
} from '../wasm/index.ts';
import { HartFields, type Imports } from './emit.ts';
import { PMPADDR_OFFSET } from './state.ts';
import type { TlbFunctions } from './tlb.ts';
import type { TrapFunctions } from './trap.ts';

/** Results of a CSR access. */
export const CSR_STATUS = {
  illegal: 0,
  done: 1,
  /** An interrupt may have to be taken, or the next instruction comes from elsewhere. */
  resynchronize: 2,
} as const;

export const CSR_OPERATION = { write: 0, set: 1, clear: 2 } as const;

/** (hart, index into CSRS, operand, operation, writes) -> CSR_STATUS; the old value is in `value` */
export const declareCsrAccess = (module: ModuleBuilder): FunctionReference =>
  module.declare(['i32', 'i32', 'i64', 'i32', 'i32'], 'i32', 'csr');

interface Uses {
  readonly tlb: TlbFunctions;
  readonly trap: TrapFunctions;
  readonly imports: Imports;
}

export function defineCsrAccess(module: ModuleBuilder, reference: FunctionReference, uses: Uses): void {
  module.define(reference, (code) => {
    const hart = code.parameter(0, 'i32').get;
    const operand = code.parameter(2, 'i64').get;
    const operation = code.parameter(3, 'i32').get;
    const writes = code.parameter(4, 'i32').get;
    const h = new HartFields(code, hart);
    const status = code.local('i32', i32.const(CSR_STATUS.done));
    const next = code.local('i64');
    const temporaries = [code.local('i64'), code.local('i64'), code.local('i64'), code.local('i64')];
    const context = new Access(h, uses, status, temporaries);
    const illegal = (): void => code.return(i32.const(CSR_STATUS.illegal));
    code.switch(
      code.parameter(1, 'i32').get,
      CSRS.map((csr) => () => {
        context.reset();
        const minimum = csrPrivilege(csr.number);
        if (minimum > 0) code.if(i32.lt_u(h.get32('privilege'), i32.const(minimum)), illegal);
        if (csrIsReadOnly(csr.number)) code.if(writes, illegal);
        if (csr.legal !== undefined) code.if(i32.eqz(csr.legal(context)), illegal);
        h.set('value', csr.read(context));
        const { write } = csr;
        if (write !== undefined) {
          code.if(writes, () => {
            const old = csr.modified?.(context) ?? h.get('value');
            code.set(next, operand);
            code.if(operation, () =>
              code.set(
                next,
                select(
                  i32.eq(operation, i32.const(CSR_OPERATION.set)),
                  i64.or(old, operand),
                  i64.and(old, i64.xor(operand, i64.const(-1))),
                ),
              ),
            );
            context.reset();
            write(context, next.get);
          });
        }
        code.return(status.get);
      }),
    );
  });
}

class Access implements CsrContext {
  readonly code: FunctionBuilder;
  readonly #h: HartFields;
  readonly #uses: Uses;
  readonly #status: Local<'i32'>;
  readonly #temporaries: Local<'i64'>[];
  #used = 0;

  constructor(h: HartFields, uses: Uses, status: Local<'i32'>, temporaries: Local<'i64'>[]) {
    this.code = h.code;
    this.#h = h;
    this.#uses = uses;
    this.#status = status;
    this.#temporaries = temporaries;
  }

  reset(): void {
    this.#used = 0;
  }

  get(field: StateField64): I64 {
    return this.#h.get(field);
  }

  set(field: StateField64, value: I64): void {
    this.#h.set(field, value);
  }

  get32(field: StateField32): I32 {
    return this.#h.get32(field);
  }

  set32(field: StateField32, value: I32): void {
    this.#h.set32(field, value);
  }

  pmpaddr(index: number): I64 {
    return i64.load(this.#h.hart, PMPADDR_OFFSET + index * 8);
  }

  setPmpaddr(index: number, value: I64): void {
    this.code.store(8, this.#h.hart, value, PMPADDR_OFFSET + index * 8);
  }

  temporary(value: I64): Local<'i64'> {
    const local = this.#temporaries[this.#used++];
    if (local === undefined) throw new Error('a CSR needs more temporaries than there are');
    this.code.set(local, value);
    return local;
  }

  get pending(): I64 {
    return i64.extend_i32_u(this.#h.pending);
  }

  get time(): I64 {
    return i64.trunc_sat_f64_u(call('f64', this.#uses.imports.now));
  }

  get retired(): I64 {
    const executed = i32.sub(this.#h.get32('chunk'), this.#h.get32('remaining'));
    return i64.add(this.#h.get('retired'), i64.extend_i32_s(executed));
  }

  /** MXR is not part of a TLB context, and only the first level knows what it has made readable. */
  statusChanged(): void {
    this.code.callVoid(this.#uses.trap.context, this.#h.hart);
    const changed = i64.xor(this.#h.get('value'), this.#h.get('mstatus'));
    this.code.if(i64.ne(i64.and(changed, i64.const(MSTATUS.MXR)), i64.const(0)), () =>
      this.code.callVoid(this.#uses.tlb.flushFirst, this.#h.hart),
    );
    this.interruptsChanged();
  }

  interruptsChanged(): void {
    const wanted = i64.and(this.pending, this.#h.get('mie'));
    this.code.if(i64.ne(wanted, i64.const(0)), () => this.code.set(this.#status, i32.const(CSR_STATUS.resynchronize)));
  }

  translationChanged(): void {
    this.code.callVoid(this.#uses.tlb.flush, this.#h.hart);
    this.code.set(this.#status, i32.const(CSR_STATUS.resynchronize));
  }

  addressSpaceChanged(): void {
    const changed = i64.xor(this.#h.get('value'), this.#h.get('satp'));
    this.code.if(
      i64.eqz(i64.shr_u(changed, i64.const(60))),
      () => this.code.callVoid(this.#uses.tlb.switchSpace, this.#h.hart),
      // Another mode: addresses mean something else, those of global pages, too.
      () => this.code.callVoid(this.#uses.tlb.flush, this.#h.hart),
    );
    this.code.set(this.#status, i32.const(CSR_STATUS.resynchronize));
  }

  pmpChanged(): void {
    this.code.callVoid(this.#uses.imports.pmpChanged);
    this.translationChanged();
  }

  timerChanged(): void {
    this.code.callVoid(this.#uses.trap.timer, this.#h.hart);
    this.interruptsChanged();
  }
}
