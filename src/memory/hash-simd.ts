/**
 * The contents of pages as WebAssembly with vectors looks at them: several times as fast as JavaScript (hash.ts), which remains
 * for memory that is no WebAssembly.Memory, and as what tests compare with. It writes its result into the header of the
 * machine memory, which only the memory manager's thread does.
 */

import { type I32, i32, i64, ModuleBuilder } from '../wasm/index.ts';
import { i32x4, i64x2, v128 } from '../wasm/v128.ts';
import type { PageContents } from './hash.ts';
import { HEADER_HASH, PAGE_SHIFT, PAGE_SIZE } from './layout.ts';

/** Bytes hashed or compared in a turn of the loop. */
const STEP = 64;

/** Fractional bits of square roots of primes, as nothing up the sleeve. */
const KEYS = [
  [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a],
  [0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19],
  [0xcbbb9d5d, 0x629a292a, 0x9159015a, 0x152fecd8],
  [0x67332667, 0x8eb44a87, 0xdb0c2e0d, 0x47b5481d],
] as const;
/** What the keys change by from one turn to the next, so that the place of a word counts. */
const STRIDE = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const;
const MIX = [0x9fb21c651e98df25n, 0x165667919e3779f9n] as const;

interface Exports {
  hash(address: number, salt: number): void;
  same(a: number, b: number): number;
}

/** @param memory the machine memory */
export function vectorContents(memory: WebAssembly.Memory): PageContents {
  const module = new WebAssembly.Module(build());
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const { hash, same } = exports as unknown as Exports;
  const i32 = new Int32Array(memory.buffer);
  return {
    low: 0,
    high: 0,
    zero: false,
    hash(mfn, salt) {
      hash(mfn << PAGE_SHIFT, salt);
      this.low = i32[HEADER_HASH]!;
      this.high = i32[HEADER_HASH + 1]!;
      this.zero = i32[HEADER_HASH + 2] === 0;
    },
    same: (a, b) => same(a << PAGE_SHIFT, b << PAGE_SHIFT) !== 0,
  };
}

function build(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const hash = module.declare(['i32', 'i32'], undefined, 'hash');
  module.define(hash, (code) => {
    const address = code.parameter(0, 'i32');
    const salt = code.parameter(1, 'i32');
    const end = code.local('i32', i32.add(address.get, i32.const(PAGE_SIZE)));
    const keys = KEYS.map((lanes) => code.local('v128', v128.const(lanes)));
    // Four sums of 128 bits, as each addition waits for the one before.
    const sums = KEYS.map((lanes) => code.local('v128', v128.const(lanes)));
    const any = code.local('v128', v128.const([0, 0, 0, 0]));
    const data = KEYS.map(() => code.local('v128'));
    code.loop((again) => {
      for (const [i, part] of data.entries()) code.set(part, v128.load(address.get, 16 * i));
      code.set(
        any,
        v128.or(any.get, v128.or(v128.or(data[0]!.get, data[1]!.get), v128.or(data[2]!.get, data[3]!.get))),
      );
      for (const pair of [0, 2]) {
        const [a, b] = [data[pair]!, data[pair + 1]!];
        const [x, y] = [v128.xor(a.get, keys[pair]!.get), v128.xor(b.get, keys[pair + 1]!.get)];
        // The words themselves are added too: of a product with 0 nothing would be left of the other factor.
        const [low, high] = [sums[pair]!, sums[pair + 1]!];
        code.set(low, i64x2.add(low.get, i64x2.add(i64x2.extmul_low_i32x4_u(x, y), a.get)));
        code.set(high, i64x2.add(high.get, i64x2.add(i64x2.extmul_high_i32x4_u(x, y), b.get)));
      }
      for (const key of keys) code.set(key, i32x4.add(key.get, v128.const(STRIDE)));
      code.set(address, i32.add(address.get, i32.const(STEP)));
      code.brIf(again, i32.ne(address.get, end.get));
    });
    const result = code.local('i64', i64.mul(i64.extend_i32_u(salt.get), i64.const(MIX[1])));
    for (const sum of sums) {
      for (const lane of [0, 1] as const) {
        const mixed = i64.mul(i64.xor(result.get, i64x2.extract_lane(sum.get, lane)), i64.const(MIX[0]));
        code.set(result, mixed);
        code.set(result, i64.xor(result.get, i64.shr_u(result.get, i64.const(29))));
      }
    }
    code.set(result, i64.mul(result.get, i64.const(MIX[1])));
    code.store(8, i32.const(HEADER_HASH * 4), i64.xor(result.get, i64.shr_u(result.get, i64.const(32))));
    code.store(4, i32.const(HEADER_HASH * 4), v128.any_true(any.get), 8);
  });
  const same = module.declare(['i32', 'i32'], 'i32', 'same');
  module.define(same, (code) => {
    const [a, b] = [code.parameter(0, 'i32'), code.parameter(1, 'i32')];
    const end = code.local('i32', i32.add(a.get, i32.const(PAGE_SIZE)));
    const differ = (offset: number) => v128.xor(v128.load(a.get, offset), v128.load(b.get, offset));
    code.loop((again) => {
      const all: I32 = v128.any_true(v128.or(v128.or(differ(0), differ(16)), v128.or(differ(32), differ(48))));
      code.if(all, () => code.return(i32.const(0)));
      code.set(a, i32.add(a.get, i32.const(STEP)));
      code.set(b, i32.add(b.get, i32.const(STEP)));
      code.brIf(again, i32.ne(a.get, end.get));
    });
    code.return(i32.const(1));
  });
  return module.finish();
}
