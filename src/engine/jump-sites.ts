/** Where indirect jumps have led to lately: what a region compares the targets of its own with. */
import { type Expr, type I32, type I64, i32, type Local, select } from '../wasm/index.ts';
import type { HartFields } from './emit.ts';
import { JUMP_SITE_BYTES, JUMP_SITE_TARGETS, JUMP_SITES, JUMP_SITES_OFFSET } from './state.ts';

/** Offset in the hart area of the entry for an indirect jump, by its slot (machine address). */
const jumpSiteOffset = (slot: number): number =>
  JUMP_SITES_OFFSET + ((slot >>> 3) & (JUMP_SITES - 1)) * JUMP_SITE_BYTES;

/**
 * Where a slot's jump has led to, the most frequent first.
 * @param i32s the memory, and so `i64s`
 * @param area byte address of the hart area
 */
export function targetsOf(i32s: Int32Array, i64s: BigInt64Array, area: number, slot: number): bigint[] {
  const site = area + jumpSiteOffset(slot);
  if (i32s[site >>> 2]! >>> 0 !== slot) return [];
  const first = site / 8 + 1;
  const times = new Map<bigint, number>();
  for (const target of i64s.subarray(first, first + Math.min(i32s[(site + 4) >>> 2]! >>> 0, JUMP_SITE_TARGETS))) {
    times.set(target, (times.get(target) ?? 0) + 1);
  }
  return [...times.keys()].sort((a, b) => times.get(b)! - times.get(a)!);
}

/** Writes that a slot's jump leads to a target. */
export function noteTarget(
  { code, hart }: HartFields,
  slot: I32,
  target: I64,
  temporary: <T extends 'i32' | 'i64'>(type: T, value: Expr<T>) => Local<T>,
): void {
  const number = i32.and(i32.shr_u(slot, i32.const(3)), i32.const(JUMP_SITES - 1));
  const site = temporary('i32', i32.add(hart, i32.mul(number, i32.const(JUMP_SITE_BYTES)))).get;
  const isSame = i32.eq(i32.load(site, JUMP_SITES_OFFSET), slot);
  const count = temporary('i32', select(isSame, i32.load(site, JUMP_SITES_OFFSET + 4), i32.const(0))).get;
  code.store(4, site, slot, JUMP_SITES_OFFSET);
  code.store(4, site, i32.add(count, i32.const(1)), JUMP_SITES_OFFSET + 4);
  const place = i32.shl(i32.and(count, i32.const(JUMP_SITE_TARGETS - 1)), i32.const(3));
  code.store(8, i32.add(site, place), target, JUMP_SITES_OFFSET + 8);
}
