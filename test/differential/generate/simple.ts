/** Programs of straight computation: integer, multiplication and division, bit manipulation, compressed forms. */
import { COMPRESSED, type CompressedMnemonic } from '../compressed.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { Builder, COUNTER, DATA_BASE, SP } from './builder.ts';

function straight(b: Builder, step: () => void): Program {
  b.anyMode();
  b.repeat();
  const length = b.random.between(30, 90);
  for (let n = 0; n < length; n++) {
    if (b.random.chance(8)) b.constant();
    else step();
  }
  return b.build();
}

export function integer(random: Random, number: number): Program {
  const b = new Builder(random, number, 'integer');
  return straight(b, () => b.integer());
}

export function multiplyDivide(random: Random, number: number): Program {
  const b = new Builder(random, number, 'muldiv');
  return straight(b, () => (random.chance(4) ? b.integer() : b.multiply()));
}

export function bitManipulation(random: Random, number: number): Program {
  const b = new Builder(random, number, 'bits');
  return straight(b, () => (random.chance(4) ? b.integer() : b.bits()));
}

const THREE_BIT: readonly CompressedMnemonic[] = ['c.sub', 'c.xor', 'c.or', 'c.and', 'c.subw', 'c.addw'];
const SHIFTS: readonly CompressedMnemonic[] = ['c.srli', 'c.srai', 'c.slli'];
const SIX_BIT: readonly CompressedMnemonic[] = ['c.addi', 'c.addiw', 'c.li', 'c.lui', 'c.andi'];
const STACK: readonly CompressedMnemonic[] = ['c.fldsp', 'c.lwsp', 'c.ldsp', 'c.fsdsp', 'c.swsp', 'c.sdsp'];
const RELATIVE: readonly CompressedMnemonic[] = ['c.fld', 'c.lw', 'c.ld', 'c.fsd', 'c.sw', 'c.sd'];

const small = (b: Builder): number => b.random.between(8, 15);

/** A destination that is not x0, which would be another encoding. */
function full(b: Builder): number {
  const rd = b.rd();
  return rd === 0 ? 3 : rd;
}

const sixBits = (b: Builder): number => (b.random.chance(4) ? b.random.pick([1, 31, 32, 63]) : b.random.between(1, 63));

/** A compressed instruction that computes. */
export function emitCompressedArithmetic(b: Builder): void {
  const { random, a } = b;
  switch (random.below(6)) {
    case 0:
    case 1:
      a.compressed(random.pick(THREE_BIT), { rd: small(b), rs2: small(b) });
      break;
    case 2: {
      const name = random.pick(SHIFTS);
      a.compressed(name, { rd: name === 'c.slli' ? full(b) : small(b), imm: sixBits(b) });
      break;
    }
    case 3: {
      const name = random.pick(SIX_BIT);
      a.compressed(name, { rd: name === 'c.andi' ? small(b) : full(b), imm: sixBits(b) });
      break;
    }
    case 4:
      a.compressed(random.pick(['c.mv', 'c.add'] as const), { rd: full(b), rs2: random.between(1, 31) });
      break;
    default:
      a.compressed('c.addi4spn', { rd: small(b), imm: random.between(1, 255) * 4 });
  }
}

/** One compressed instruction or a short sequence around one. */
export function emitCompressed(b: Builder): void {
  const { random, a } = b;
  if (random.below(11) < 6) {
    emitCompressedArithmetic(b);
    return;
  }
  switch (random.between(6, 10)) {
    case 6: {
      const name = random.pick(STACK);
      const scale = name.includes('w') ? 4 : 8;
      const register = name.startsWith('c.f') ? b.rs() : full(b);
      a.compressed(name, {
        rd: register,
        rs2: name.startsWith('c.f') ? register : b.rs(),
        imm: random.below(64) * scale,
      });
      break;
    }
    case 7: {
      const name = random.pick(RELATIVE);
      const base = small(b);
      a.op('addi', { rd: base, rs1: DATA_BASE, imm: random.between(-256, 256) });
      a.compressed(name, { rd: base, rs2: small(b), imm: random.below(32) * (name.includes('w') ? 4 : 8) });
      break;
    }
    case 8: {
      const target = b.label();
      const kind = random.below(3);
      if (kind === 0) a.compressedTo('c.j', target);
      else a.compressedTo(kind === 1 ? 'c.beqz' : 'c.bnez', target, small(b));
      for (let n = random.below(3); n > 0; n--) a.compressed('c.addi', { rd: full(b), imm: sixBits(b) });
      a.label(target);
      break;
    }
    case 9: {
      // Moves the stack pointer there and back.
      const imm = random.between(1, 31) * 16;
      a.compressed('c.addi16sp', { imm });
      a.compressed('c.sdsp', { rs2: SP, imm: random.below(32) * 8 });
      a.compressed('c.addi16sp', { imm: -imm });
      break;
    }
    default: {
      // A call through a register to just behind the skipped instructions.
      const skipped = random.below(3);
      const link = random.chance(2);
      a.op('auipc', { rd: COUNTER, imm: 0 });
      a.compressed('c.addi', { rd: COUNTER, imm: 8 + skipped * 2 });
      a.compressed(link ? 'c.jalr' : 'c.jr', { rd: COUNTER });
      for (let n = 0; n < skipped; n++) a.compressed('c.addi', { rd: full(b), imm: sixBits(b) });
    }
  }
}

export function compressed(random: Random, number: number): Program {
  const b = new Builder(random, number, 'compressed');
  return straight(b, () => (random.chance(4) ? b.compute() : emitCompressed(b)));
}

/** Names of all compressed instructions, for who wants to know what is covered. */
export const COMPRESSED_NAMES = Object.keys(COMPRESSED) as CompressedMnemonic[];
