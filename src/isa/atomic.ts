import { i32, i64, select } from '../wasm/index.ts';
import { bool, low, sext32 } from './base.ts';
import type { Context, I32, I64 } from './context.ts';
import { does, type Instruction, word } from './instruction.ts';

/**
 * A (chapter 13). All atomics are sequentially consistent, which is stronger than any aq/rl asks for.
 * The store conditional compares the word with what the load reserved brought and exchanges in one step, so that it
 * stays right when another hart writes in between.
 */

const OPCODE = 0x2f;
/** funct5 and funct3; the aq and rl bits are free. */
const MASK_AMO = 0xf800707f;
const MASK_LR = 0xf9f0707f;

type Width = 4 | 8;
const funct3 = (width: Width): number => (width === 4 ? 2 : 3);
const suffix = (width: Width): string => (width === 4 ? '.w' : '.d');
const match = (width: Width, funct5: number): number => word(OPCODE, funct3(width), funct5 << 2);

type Update = (address: I32, value: I64) => I64;

function amo(name: string, width: Width, funct5: number, update: (c: Context, address: I32, operand: I64) => I64) {
  return does(
    'A',
    {
      name: `${name}${suffix(width)}`,
      mask: MASK_AMO,
      match: match(width, funct5),
      format: 'R',
      syntax: 'rd, rs2, (rs1)',
    },
    (c) => {
      const address = c.atomic(width, c.rs1);
      c.setRd(update(c, address, c.rs2));
    },
  );
}

const native = (width: Width, wide: Update, narrow: (address: I32, value: I32) => I32) =>
  width === 8
    ? (_c: Context, address: I32, operand: I64): I64 => wide(address, operand)
    : (_c: Context, address: I32, operand: I64): I64 => sext32(narrow(address, low(operand)));

/** Wasm has no atomic minimum and maximum: compare and exchange until nobody came between. */
const picking =
  (width: Width, compare: (a: I64, b: I64) => I32, signed: boolean) =>
  (c: Context, address: I32, operand: I64): I64 => {
    const extend = signed ? i64.extend_i32_s : i64.extend_i32_u;
    const value = c.temporary('i64', width === 8 ? operand : extend(low(operand))).get;
    const old = c.temporary('i64', i64.const(0));
    const stored = c.temporary('i64', i64.const(0));
    c.code.loop((again) => {
      c.code.set(old, width === 8 ? i64.atomicLoad(address) : extend(i32.atomicLoad(address)));
      c.code.set(stored, select(compare(old.get, value), old.get, value));
      const seen =
        width === 8
          ? i64.atomicCompareExchange(address, old.get, stored.get)
          : extend(i32.atomicCompareExchange(address, low(old.get), low(stored.get)));
      c.code.brIf(again, i64.ne(seen, old.get));
    });
    return width === 8 ? old.get : sext32(low(old.get));
  };

function loadReserved(width: Width): Instruction {
  return does(
    'A',
    { name: `lr${suffix(width)}`, mask: MASK_LR, match: match(width, 0x02), format: 'R', syntax: 'rd, (rs1)' },
    (c) => {
      const address = c.reservable(width, c.rs1);
      const loaded: I64 = width === 8 ? i64.atomicLoad(address) : sext32(i32.atomicLoad(address));
      const value = c.temporary('i64', loaded).get;
      c.reserve(address, value);
      c.setRd(value);
    },
  );
}

function storeConditional(width: Width): Instruction {
  return does(
    'A',
    { name: `sc${suffix(width)}`, mask: MASK_AMO, match: match(width, 0x03), format: 'R', syntax: 'rd, rs2, (rs1)' },
    (c) => {
      const address = c.atomic(width, c.rs1);
      const failed = c.temporary('i64', i64.const(1));
      c.code.if(i32.eq(address, c.reservationAddress), () => {
        const expected = c.reservationValue;
        const seen: I32 =
          width === 8
            ? i64.ne(i64.atomicCompareExchange(address, expected, c.rs2), expected)
            : i32.ne(i32.atomicCompareExchange(address, low(expected), low(c.rs2)), low(expected));
        c.code.set(failed, bool(seen));
      });
      c.reserve(i32.const(0), i64.const(0));
      c.setRd(failed.get);
    },
  );
}

export const ATOMIC: readonly Instruction[] = ([4, 8] as const).flatMap((width) => [
  loadReserved(width),
  storeConditional(width),
  amo('amoswap', width, 0x01, native(width, i64.atomicExchange, i32.atomicExchange)),
  amo('amoadd', width, 0x00, native(width, i64.atomicAdd, i32.atomicAdd)),
  amo('amoxor', width, 0x04, native(width, i64.atomicXor, i32.atomicXor)),
  amo('amoand', width, 0x0c, native(width, i64.atomicAnd, i32.atomicAnd)),
  amo('amoor', width, 0x08, native(width, i64.atomicOr, i32.atomicOr)),
  amo('amomin', width, 0x10, picking(width, i64.lt_s, true)),
  amo('amomax', width, 0x14, picking(width, i64.gt_s, true)),
  amo('amominu', width, 0x18, picking(width, i64.lt_u, false)),
  amo('amomaxu', width, 0x1c, picking(width, i64.gt_u, false)),
]);
