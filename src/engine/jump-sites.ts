/** Where indirect jumps have led to: what a region compares the targets of its own with. */
import { type Expr, type I32, type I64, i32, i64, type Local, select } from '../wasm/index.ts';
import type { HartFields } from './emit.ts';
import { JUMP_SITE_BYTES, JUMP_SITE_TARGETS, JUMP_SITES, JUMP_SITES_OFFSET } from './state.ts';

/** Offsets in an entry: of the numbers of jumps, and of the targets. */
const TIMES = 8;
const TARGETS = TIMES + JUMP_SITE_TARGETS * 4;
/** A target's place is what this leaves of a product. */
const PLACE_SHIFT = 32 - Math.log2(JUMP_SITE_TARGETS);

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
  const [times, targets] = [(site + TIMES) >>> 2, (site + TARGETS) / 8];
  return Array.from({ length: JUMP_SITE_TARGETS }, (_, place) => place)
    .filter((place) => i32s[times + place] !== 0)
    .sort((a, b) => (i32s[times + b]! >>> 0) - (i32s[times + a]! >>> 0))
    .map((place) => i64s[targets + place]!);
}

/** Bytes 1 and 2 of a slot, and what they are for a jump to ra that writes nothing: x0 and x1, each times 8. */
const RD_RS1 = 1;
const RETURN = 0x0800;

/**
 * Writes that a slot's jump leads to a target. Returns are most of all jumps and would take the entries of others, and nobody asks
 * where they lead.
 */
export function noteTarget(
  { code, hart }: HartFields,
  slot: I32,
  target: I64,
  temporary: <T extends 'i32' | 'i64'>(type: T, value: Expr<T>) => Local<T>,
): void {
  code.if(i32.ne(i32.load16_u(slot, RD_RS1), i32.const(RETURN)), () => {
    const number = i32.and(i32.shr_u(slot, i32.const(3)), i32.const(JUMP_SITES - 1));
    const site = temporary('i32', i32.add(hart, i32.mul(number, i32.const(JUMP_SITE_BYTES)))).get;
    code.unlikely(i32.ne(i32.load(site, JUMP_SITES_OFFSET), slot), () => {
      code.store(4, site, slot, JUMP_SITES_OFFSET);
      for (let place = 0; place < JUMP_SITE_TARGETS; place += 2) {
        code.store(8, site, i64.const(0), JUMP_SITES_OFFSET + TIMES + place * 4);
      }
    });
    const hash = i32.shr_u(i32.mul(i32.wrap(target), i32.const(0x9e37_79b1)), i32.const(PLACE_SHIFT));
    const place = temporary('i32', hash).get;
    const its = temporary('i32', i32.add(site, i32.shl(place, i32.const(2)))).get;
    const whole = temporary('i32', i32.add(site, i32.shl(place, i32.const(3)))).get;
    const isSame = i64.eq(i64.load(whole, JUMP_SITES_OFFSET + TARGETS), target);
    const times = select(isSame, i32.load(its, JUMP_SITES_OFFSET + TIMES), i32.const(0));
    code.store(4, its, i32.add(times, i32.const(1)), JUMP_SITES_OFFSET + TIMES);
    code.store(8, whole, target, JUMP_SITES_OFFSET + TARGETS);
  });
}
