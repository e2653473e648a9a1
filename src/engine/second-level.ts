/** Accesses and the second level of the TLB: what it grants, and what a walk tells it. */
import { MSTATUS } from '../isa/fields.ts';
import { call, type I32, type I64, i32, i64, type Label, type Local, select } from '../wasm/index.ts';
import type { Uses } from './access.ts';
import type { HartFields } from './emit.ts';
import { PTE } from './tlb-second.ts';
import { ACCESS } from './walk.ts';

/**
 * Whether a translation of the second level grants an access: it was granted before, and the page is of the right kind.
 */
function secondGrants(h: HartFields, word: I32, access: I32, privilege: I32): I32 {
  const right = i32.shl(i32.const(PTE.R), access);
  const isUser = i32.eqz(privilege);
  const anyPage = i32.and(i32.ne(access, i32.const(ACCESS.fetch)), h.has('mstatus', MSTATUS.SUM));
  const kind = select(i32.or(isUser, i32.eqz(anyPage)), i32.const(PTE.U), i32.const(0));
  const wanted = i32.or(right, select(isUser, i32.const(PTE.U), i32.const(0)));
  return i32.eq(i32.and(word, i32.or(right, kind)), wanted);
}

/**
 * Puts the translation of the last walk into the second level: with the access that was granted, and with those that
 * would be granted without any further work.
 */
export function remember(h: HartFields, u: Uses, gva: I64, gpa: I64, access: I32): void {
  const { code } = h;
  const { m, tlb } = u;
  const flags = h.get32('leafFlags');
  const isWrite = i32.eq(access, i32.const(ACCESS.write));
  const granted = i32.and(i32.shl(i32.const(PTE.R), access), flags);
  const rights = code.local('i32', select(isWrite, i32.const(PTE.R | PTE.W), granted));
  // Where there is a PMP, it was asked for this kind of access only.
  code.if(i32.eqz(h.get32('pmpChecks')), () => {
    const dirty = PTE.W | PTE.D;
    const isDirty = i32.eq(i32.and(flags, i32.const(dirty)), i32.const(dirty));
    const write = select(isDirty, i32.const(PTE.W), i32.const(0));
    code.set(rights, i32.or(rights.get, i32.or(i32.and(flags, i32.const(PTE.R | PTE.X)), write)));
  });
  const page = i32.and(flags, i32.const(PTE.U | PTE.G));
  const place = i32.wrap(i64.and(i64.sub(gpa, i64.const(m.ramBase)), i64.const(-4096)));
  const word = i32.or(place, i32.or(page, rights.get));
  code.callVoid(tlb.remember, h.hart, gva, word);
  code.callVoid(tlb.markLarge, h.hart, gva);
}

/**
 * Looks into the second level; if it grants the access, and the page is there, sets address and isGlobal and leaves by
 * `found`.
 */
export function trySecond(
  h: HartFields,
  u: Uses,
  gva: I64,
  access: I32,
  privilege: I32,
  found: { address: Local<'i32'>; isGlobal: Local<'i32'>; label: Label },
): void {
  const { code } = h;
  const word = code.local('i32', call('i32', u.tlb.second, h.hart, gva)).get;
  code.if(secondGrants(h, word, access, privilege), () => {
    const place = i32.or(i32.and(word, i32.const(-4096)), i32.and(i32.wrap(gva), i32.const(0xfff)));
    const isWrite = i32.eq(access, i32.const(ACCESS.write));
    code.set(found.address, call('i32', u.walk.resident, h.hart, place, isWrite));
    code.if(found.address.get, () => {
      h.count('secondHits');
      code.set(found.isGlobal, i32.and(word, i32.const(PTE.G)));
      code.br(found.label);
    });
  });
}
