/** Floating point: every operation, static and dynamic rounding modes, flags, operands at the edges, broken boxes. */
import { CSR_NUMBER } from '../csr.ts';
import { FLOATS } from '../encode.ts';
import { DATA, DATA_SIZE } from '../layout.ts';
import type { Program } from '../program.ts';
import type { Random } from '../random.ts';
import { Builder, DATA_BASE, randomFloat, SCRATCH } from './builder.ts';

const NAMES = Object.keys(FLOATS);

/** A rounding mode field: mostly dynamic or a legal static one, rarely a reserved one, which is an illegal instruction. */
function roundingMode(random: Random): number {
  if (random.chance(100)) return random.pick([5, 6]);
  return random.chance(2) ? 7 : random.below(5);
}

export function emitFloat(b: Builder): void {
  const { random, a } = b;
  const name = random.pick(NAMES);
  const { encode, toInteger, rounds } = FLOATS[name]!;
  a.word(
    encode({
      rd: toInteger ? b.rd() : b.rs(),
      rs1: b.rs(),
      rs2: b.rs(),
      rs3: b.rs(),
      ...(rounds ? { rm: roundingMode(random) } : {}),
    }),
  );
}

export function emitFloatCsr(b: Builder): void {
  const { random, a } = b;
  switch (random.below(4)) {
    case 0:
      // A legal dynamic rounding mode, or now and then one that makes dynamic instructions illegal until the next.
      a.op('csrrwi', {
        rd: b.rd(),
        rs1: random.chance(30) ? random.between(5, 7) : random.below(5),
        imm: CSR_NUMBER.frm,
      });
      break;
    case 1:
      a.op('csrrwi', { rd: b.rd(), rs1: random.chance(2) ? 0 : random.below(32), imm: CSR_NUMBER.fflags });
      break;
    case 2:
      a.op('csrrs', { rd: b.rd(), rs1: 0, imm: random.pick([CSR_NUMBER.fflags, CSR_NUMBER.fcsr, CSR_NUMBER.frm]) });
      break;
    default:
      a.li(SCRATCH, (random.below(5) << 5) | (random.below(32) & random.below(32)));
      a.op('csrrw', { rd: b.rd(), rs1: SCRATCH, imm: CSR_NUMBER.fcsr });
  }
}

export function float(random: Random, number: number): Program {
  const b = new Builder(random, number, 'float');
  b.anyMode();
  // Fresh operands lie in the second half of the data.
  for (let at = DATA + DATA_SIZE / 2; at < DATA + DATA_SIZE / 2 + 1024; at += 8)
    b.program.pokes.push([at, randomFloat(random)]);
  b.repeat();
  for (let n = random.between(40, 90); n > 0; n--) {
    const draw = random.below(16);
    if (draw < 9) emitFloat(b);
    else if (draw < 13) b.a.op('fld', { rd: b.rs(), rs1: DATA_BASE, imm: random.below(128) * 8 });
    else if (draw === 13) emitFloatCsr(b);
    else if (draw === 14) b.compute();
    else
      b.a.op(random.pick(['fsw', 'fsd', 'flw'] as const), {
        rd: b.rs(),
        rs2: b.rs(),
        rs1: DATA_BASE,
        imm: -random.between(1, 255) * 8,
      });
  }
  return b.build();
}
