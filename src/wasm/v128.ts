/** WebAssembly's vectors of 128 bits: the operators that are used, named as in the core specification. */
import { Expr, type I32, type I64, memoryOperand } from './operators.ts';

export type V128 = Expr<'v128'>;

const PREFIX = 0xfd;
const ALIGN = 4;

const binary =
  (opcode: number) =>
  (a: V128, b: V128): V128 =>
    new Expr('v128', (sink) => {
      a.emit(sink);
      b.emit(sink);
      sink.byte(PREFIX);
      sink.unsigned(opcode);
    });

export const v128 = {
  load: (address: I32, offset = 0): V128 =>
    new Expr('v128', (sink) => {
      address.emit(sink);
      sink.byte(PREFIX);
      sink.unsigned(0x00);
      memoryOperand(sink, ALIGN, offset);
    }),
  /** @param lanes four 32-bit lanes, the lowest first */
  const: (lanes: readonly [number, number, number, number]): V128 =>
    new Expr('v128', (sink) => {
      sink.byte(PREFIX);
      sink.unsigned(0x0c);
      const bytes = new DataView(new ArrayBuffer(16));
      for (const [lane, value] of lanes.entries()) bytes.setInt32(4 * lane, value, true);
      sink.append(new Uint8Array(bytes.buffer));
    }),
  or: binary(0x50),
  xor: binary(0x51),
  any_true: (a: V128): I32 =>
    new Expr('i32', (sink) => {
      a.emit(sink);
      sink.byte(PREFIX);
      sink.unsigned(0x53);
    }),
};

export const i32x4 = {
  add: binary(0xae),
};

export const i64x2 = {
  add: binary(0xce),
  extmul_low_i32x4_u: binary(0xde),
  extmul_high_i32x4_u: binary(0xdf),
  extract_lane: (a: V128, lane: 0 | 1): I64 =>
    new Expr('i64', (sink) => {
      a.emit(sink);
      sink.byte(PREFIX);
      sink.unsigned(0x1d);
      sink.byte(lane);
    }),
};
