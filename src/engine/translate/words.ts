import { type I32, type I64, i32 } from '../../wasm/index.ts';

/**
 * The 32-bit value that an expression is the sign extension of, if it is made as one: of results of `addw` and the like, and
 * what AND, OR and XOR make of them. Undefined for others, constants included.
 */
export function asWord(value: I64): I32 | undefined {
  const [a, b] = (value.operands ?? []) as [I64, I64];
  switch (value.operator) {
    case 'extend_i32_s':
      return a as unknown as I32;
    case 'and':
    case 'or':
    case 'xor': {
      const [left, right] = [asWord(a) ?? constantWord(a), asWord(b) ?? constantWord(b)];
      return left && right && i32[value.operator](left, right);
    }
    case 'add':
      return b.constant === 0n ? asWord(a) : undefined;
    default:
      return undefined;
  }
}

function constantWord({ constant }: I64): I32 | undefined {
  return constant !== undefined && BigInt.asIntN(32, constant) === constant ? i32.const(Number(constant)) : undefined;
}
