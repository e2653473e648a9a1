/** All kinds of programs. */
import { CATEGORIES, type Category, type Program } from '../program.ts';
import { Random } from '../random.ts';
import { float } from './float.ts';
import { floatLoops, systemLoops } from './loop-work.ts';
import { loops } from './loops.ts';
import { atomics, branches, memory, selfModifying } from './memory.ts';
import { paging } from './paging.ts';
import { pmp } from './pmp.ts';
import { csr, interrupts, traps } from './privileged.ts';
import { bitManipulation, compressed, integer, multiplyDivide } from './simple.ts';
import { streams } from './streams.ts';

const GENERATORS: Record<Category, (random: Random, number: number) => Program> = {
  integer,
  muldiv: multiplyDivide,
  bits: bitManipulation,
  compressed,
  memory,
  branches,
  atomics,
  csr,
  float,
  traps,
  paging,
  selfmod: selfModifying,
  interrupts,
  pmp,
  loops,
  streams,
  floatloops: floatLoops,
  systemloops: systemLoops,
};

/** The program of a seed and a number; the number alone says its category. */
export function generateProgram(seed: number, number: number): Program {
  const category = CATEGORIES[number % CATEGORIES.length]!;
  return GENERATORS[category](new Random(seed, number), number);
}
