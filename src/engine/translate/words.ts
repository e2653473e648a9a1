import { type I32, type I64, i32 } from '../../wasm/index.ts';

/**
 * The 32-bit value that an expression is the sign extension of, if it is made as one: of what `lw`, `addw` and the like give, the
 * upper half of a register (`srai` by 32 or more), and what AND, OR and XOR make of that. Undefined for others, constants included.
 */
export function asWord(value: I64): I32 | undefined {
  const [a, b] = (value.operands ?? []) as [I64, I64];
  switch (value.operator) {
    case 'extend_i32_s':
      return a as unknown as I32;
    case 'shr_s':
      // What `srai` gives: a constant amount.
      return (b.constant ?? 0) >= 32 ? i32.wrap(value) : undefined;
    case 'load32_s':
      return i32.load(a as unknown as I32);
    case 'and':
    case 'or':
    case 'xor': {
      const [left, right] = [operandWord(a), operandWord(b)];
      return left && right && i32[value.operator](left, right);
    }
    case 'add': {
      const copied = withoutZero(value);
      return copied === value ? undefined : asWord(copied);
    }
    default:
      return undefined;
  }
}

/** What a copy copies: the other operand of an addition of 0. Any other value is given as it is. */
export function withoutZero(value: I64): I64 {
  if (value.operator !== 'add') return value;
  const [a, b] = value.operands as [I64, I64];
  return a.constant === 0 ? b : b.constant === 0 ? a : value;
}

/** A comparison of 64-bit values as one of 32-bit values, if both are sign extensions: that keeps either order. */
export function compareWords(condition: I32): I32 {
  const [a, b] = (condition.operands ?? []) as unknown as [I64, I64];
  const { operator } = condition;
  switch (operator) {
    case 'eq':
    case 'ne':
    case 'lt_s':
    case 'lt_u':
    case 'ge_s':
    case 'ge_u': {
      const [left, right] = [operandWord(a), operandWord(b)];
      return left !== undefined && right !== undefined ? i32[operator](left, right) : condition;
    }
    default:
      return condition;
  }
}

/** The same for an operand, which may be a constant. */
function operandWord(value: I64): I32 | undefined {
  const { constant } = value;
  if (constant === undefined) return asWord(value);
  return i32.const(constant);
}
