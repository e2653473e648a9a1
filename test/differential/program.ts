/** A test program and how it stands in the batch. */
import { BATCH, CODE, CODE_SIZE, MAX_TRAPS } from './layout.ts';

export const CATEGORIES = [
  'integer',
  'muldiv',
  'bits',
  'compressed',
  'memory',
  'branches',
  'atomics',
  'csr',
  'float',
  'traps',
  'paging',
  'selfmod',
  'interrupts',
  'pmp',
  'loops',
  'streams',
  'floatloops',
  'systemloops',
] as const;

export type Category = (typeof CATEGORIES)[number];

/** Initial state and code of a program. Addresses and registers are 64-bit patterns. */
export interface Program {
  number: number;
  category: Category;
  /** address at which execution starts */
  entry: bigint;
  /** virtual address of the code; wherever the program sees it, it lies at CODE */
  codeAddress: bigint;
  code: Uint8Array;
  /** virtual address of the ebreak that ends the program */
  end: bigint;
  mstatus: bigint;
  satp: bigint;
  medeleg: bigint;
  mideleg: bigint;
  stvec: bigint;
  fcsr: bigint;
  mie: bigint;
  mcounteren: bigint;
  scounteren: bigint;
  menvcfg: bigint;
  /** the first four PMP addresses and pmpcfg0; entry 7 allows everything, so that what the others do not match is allowed */
  pmpaddr: [bigint, bigint, bigint, bigint];
  pmpcfg0: bigint;
  /** the four data pages are filled with random words from this, 0 leaves them zero */
  dataSeed: bigint;
  /** the program is ended by the trap after this many */
  trapLimit: number;
  /** where to go on after a trap whose pc is outside of the code, one after the other; at most 4 */
  resume: bigint[];
  /** x1..x31, index 0 unused */
  x: bigint[];
  f: bigint[];
  /** memory words set after the data pages were filled and the page tables cleared */
  pokes: [address: number, value: bigint][];
}

/** Word numbers of the header of a program in the batch. */
export const HEADER = {
  size: 0,
  number: 1,
  entry: 2,
  codeAddress: 3,
  codeLength: 4,
  end: 5,
  mstatus: 6,
  satp: 7,
  medeleg: 8,
  mideleg: 9,
  stvec: 10,
  fcsr: 11,
  mie: 12,
  mcounteren: 13,
  scounteren: 14,
  menvcfg: 15,
  dataSeed: 16,
  trapLimit: 17,
  resumeCount: 18,
  resume: 19,
  pokeCount: 23,
  verbose: 24,
  pmpaddr: 25,
  pmpcfg0: 29,
  x: 32,
  f: 64,
  body: 96,
} as const;

/** The batch's bytes, to stand at BATCH. With `verbose` the machine sends the data pages with every signature. */
export function serialize(programs: readonly Program[], verbose: boolean): Uint8Array {
  const parts = programs.map((program) => serializeOne(program, verbose));
  const total = parts.reduce((sum, part) => sum + part.length, 0) + 8;
  const bytes = new Uint8Array(total);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function serializeOne(program: Program, verbose: boolean): Uint8Array {
  const { code, pokes, resume } = program;
  if (code.length > CODE_SIZE)
    throw new Error(`program ${program.number}: ${code.length} bytes of code, ${CODE_SIZE} fit`);
  if (program.trapLimit >= MAX_TRAPS) throw new Error(`program ${program.number}: trap limit ${program.trapLimit}`);
  const codeWords = Math.ceil(code.length / 8);
  const words = new BigUint64Array(HEADER.body + pokes.length * 2 + codeWords);
  const set = (index: number, value: bigint | number): void => {
    words[index] = BigInt.asUintN(64, BigInt(value));
  };
  set(HEADER.size, words.length * 8);
  set(HEADER.number, program.number);
  set(HEADER.entry, program.entry);
  set(HEADER.codeAddress, program.codeAddress);
  set(HEADER.codeLength, codeWords * 8);
  set(HEADER.end, program.end);
  set(HEADER.mstatus, program.mstatus);
  set(HEADER.satp, program.satp);
  set(HEADER.medeleg, program.medeleg);
  set(HEADER.mideleg, program.mideleg);
  set(HEADER.stvec, program.stvec);
  set(HEADER.fcsr, program.fcsr);
  set(HEADER.mie, program.mie);
  set(HEADER.mcounteren, program.mcounteren);
  set(HEADER.scounteren, program.scounteren);
  set(HEADER.menvcfg, program.menvcfg);
  set(HEADER.dataSeed, program.dataSeed);
  set(HEADER.trapLimit, program.trapLimit);
  set(HEADER.resumeCount, resume.length);
  for (const [index, address] of resume.entries()) set(HEADER.resume + index, address);
  set(HEADER.pokeCount, pokes.length);
  for (const [index, address] of program.pmpaddr.entries()) set(HEADER.pmpaddr + index, address);
  set(HEADER.pmpcfg0, program.pmpcfg0);
  set(HEADER.verbose, verbose ? 1 : 0);
  for (let n = 1; n < 32; n++) set(HEADER.x + n, program.x[n] ?? 0n);
  for (let n = 0; n < 32; n++) set(HEADER.f + n, program.f[n] ?? 0n);
  let at: number = HEADER.body;
  for (const [address, value] of pokes) {
    set(at++, address);
    set(at++, value);
  }
  const bytes = new Uint8Array(words.buffer);
  bytes.set(code, at * 8);
  return bytes;
}

/** The flat image that is loaded at the start of RAM: monitor, gap, batch. */
export function buildImage(monitor: Uint8Array, batch: Uint8Array): Uint8Array {
  const offset = BATCH - 0x8000_0000;
  const image = new Uint8Array(offset + batch.length);
  image.set(monitor);
  image.set(batch, offset);
  return image;
}

/** Guest-physical address of the code as a BigInt, where programs without address translation run. */
export const CODE_ADDRESS = BigInt(CODE);

/** pmpcfg0 with entry 7 on: all of memory (NAPOT), read, write and execute. */
export const PMP_ALL = 0x1fn << 56n;
