import { encode } from '../../src/isa/encode.ts';
import { type Assembler, assemble, R } from './assembler.ts';

/**
 * What the harts of the hammer execute: for ever, pick a page at random, look whether it holds what it must, and then
 * leave it, change a word, fill it again, or have a device discard it or write to it; and call functions on pages of
 * code that are patched from time to time. What pages must hold stands in tables on other pages.
 */

/** Data pages; each holds seed * (2i + 1) in double word i, but the last double word, which stands in a table. */
export const PAGES = 64;
/** Pages of code: a function `addi a0, a0, k` at FUNCTION, and one that begins on the last halfword. */
export const CODE_PAGES = 8;
export const FUNCTION = 0x100;
/** What the functions that cross pages add to a0. */
export const CROSSING_ADDEND = 77;
/** The seed of pages that the device writes. */
const DEVICE_SEED = 3;

/** What the device writes to a page. */
export function deviceContents(): Uint8Array {
  const words = BigInt64Array.from({ length: 512 }, (_, i) => BigInt(DEVICE_SEED * (2 * i + 1)));
  words[511] = BigInt(DEVICE_SEED);
  return new Uint8Array(words.buffer);
}

/** Offsets in the device: page number to discard, page number to write, sign of a mismatch (page address). */
export const DEVICE = { address: 0x1000_0000, discard: 0, write: 8, mismatch: 16 } as const;

export interface ProgramOptions {
  /** Three pages of tables: seeds, last double words, addends of the functions. */
  readonly tables: number;
  readonly data: number;
  readonly code: number;
  /** Start of the random numbers: not 0. */
  readonly seed: bigint;
  /** Makes the contents of some pages those of this guest alone. */
  readonly tag: bigint;
}

const { zero, ra, a0, a1, a2, a3, a4, a5, a6, a7, t0, t1, t2, t3, t4, t5, t6, s0 } = R;
const [random, tables, data, code, tag, device] = [18, 19, 20, 21, 22, 23];

/** Fills the page at t2 by the seed in a1; leaves a2 at the last double word. */
function fill(a: Assembler): void {
  a.i('addi', { rd: a2, rs1: t2 }).li(a4, 4088).i('add', { rd: a3, rs1: t2, rs2: a4 });
  a.i('addi', { rd: a5, rs1: a1 }).i('slli', { rd: a6, rs1: a1, imm: 1 });
  a.label('store').i('sd', { rs1: a2, rs2: a5 }).i('add', { rd: a5, rs1: a5, rs2: a6 });
  a.i('addi', { rd: a2, rs1: a2, imm: 8 }).to('bne', 'store', { rs1: a2, rs2: a3 });
}

/** The program; it starts at its first instruction and counts its rounds in s0. */
export function hammerProgram(options: ProgramOptions): Uint8Array {
  return assemble((a) => {
    a.li(s0, 0).li(random, options.seed).li(tables, options.tables).li(data, options.data);
    a.li(code, options.code).li(tag, options.tag).li(device, DEVICE.address);
    a.label('round');
    for (const [name, imm] of [
      ['slli', 13],
      ['srli', 7],
      ['slli', 17],
    ] as const) {
      a.i(name, { rd: t0, rs1: random, imm }).i('xor', { rd: random, rs1: random, rs2: t0 });
    }
    // t1 page, t2 its address, t3 its seed's address, t4 that of its last double word.
    a.i('andi', { rd: t1, rs1: random, imm: PAGES - 1 });
    a.i('slli', { rd: t2, rs1: t1, imm: 12 }).i('add', { rd: t2, rs1: t2, rs2: data });
    a.i('slli', { rd: t3, rs1: t1, imm: 3 }).i('add', { rd: t3, rs1: t3, rs2: tables });
    a.i('lui', { rd: t4, imm: 4096 }).i('add', { rd: t4, rs1: t4, rs2: t3 });
    verify(a);
    a.i('srli', { rd: t0, rs1: random, imm: 20 }).i('andi', { rd: t0, rs1: t0, imm: 31 });
    a.to('beq', 'discard', { rs1: t0 });
    a.i('addi', { rd: t6, imm: 1 }).to('beq', 'device', { rs1: t0, rs2: t6 });
    a.i('sltiu', { rd: t6, rs1: t0, imm: 8 }).to('bne', 'fill', { rs1: t6 });
    a.i('sltiu', { rd: t6, rs1: t0, imm: 16 }).to('bne', 'mark', { rs1: t6 });
    a.jump('code');

    a.label('discard').i('sw', { rs1: device, rs2: t1, imm: DEVICE.discard });
    a.i('sd', { rs1: t3 }).i('sd', { rs1: t4 }).jump('next');

    a.label('device').i('sw', { rs1: device, rs2: t1, imm: DEVICE.write }).li(a1, DEVICE_SEED);
    a.i('sd', { rs1: t3, rs2: a1 }).i('sd', { rs1: t4, rs2: a1 }).jump('next');

    // Half of the pages get contents that many pages of both guests have, zeros among them.
    a.label('fill').i('srli', { rd: t6, rs1: random, imm: 40 }).i('andi', { rd: t6, rs1: t6, imm: 1 });
    a.i('srli', { rd: a1, rs1: random, imm: 30 }).i('andi', { rd: a1, rs1: a1, imm: 3 });
    a.to('bne', 'common', { rs1: t6 }).i('xor', { rd: a1, rs1: random, rs2: tag }).label('common');
    fill(a);
    a.i('sd', { rs1: a2, rs2: a1 }).i('sd', { rs1: t3, rs2: a1 }).i('sd', { rs1: t4, rs2: a1 }).jump('next');

    a.label('mark').i('sd', { rs1: a2, rs2: random }).i('sd', { rs1: t4, rs2: random }).jump('next');

    callCode(a);
    a.label('next').i('addi', { rd: s0, rs1: s0, imm: 1 }).jump('round');
    a.label('mismatch').i('sd', { rs1: device, rs2: a2, imm: DEVICE.mismatch }).label('stop').jump('stop');
  });
}

/** Leaves a2 at the last double word. */
function verify(a: Assembler): void {
  a.i('ld', { rd: a1, rs1: t3 });
  a.i('addi', { rd: a2, rs1: t2 }).li(a4, 4088).i('add', { rd: a3, rs1: t2, rs2: a4 });
  a.i('addi', { rd: a5, rs1: a1 }).i('slli', { rd: a6, rs1: a1, imm: 1 });
  a.label('verify').i('ld', { rd: a7, rs1: a2 }).to('bne', 'mismatch', { rs1: a7, rs2: a5 });
  a.i('add', { rd: a5, rs1: a5, rs2: a6 }).i('addi', { rd: a2, rs1: a2, imm: 8 });
  a.to('bne', 'verify', { rs1: a2, rs2: a3 });
  a.i('ld', { rd: a7, rs1: a2 }).i('ld', { rd: t5, rs1: t4 }).to('bne', 'mismatch', { rs1: a7, rs2: t5 });
}

/** Patches a function, or not, and calls it and the one behind it. */
function callCode(a: Assembler): void {
  a.label('code')
    .i('srli', { rd: t1, rs1: random, imm: 8 })
    .i('andi', { rd: t1, rs1: t1, imm: CODE_PAGES - 1 });
  a.i('slli', { rd: t2, rs1: t1, imm: 12 }).i('add', { rd: t2, rs1: t2, rs2: code });
  a.i('slli', { rd: t3, rs1: t1, imm: 3 }).i('add', { rd: t3, rs1: t3, rs2: tables });
  a.i('lui', { rd: t4, imm: 8192 }).i('add', { rd: t4, rs1: t4, rs2: t3 });
  a.i('srli', { rd: t6, rs1: random, imm: 50 }).i('andi', { rd: t6, rs1: t6, imm: 3 });
  a.to('bne', 'patched', { rs1: t6 });
  a.i('srli', { rd: t6, rs1: random, imm: 54 }).i('sd', { rs1: t4, rs2: t6 });
  a.i('slli', { rd: t6, rs1: t6, imm: 20 }).li(a1, encode('addi', { rd: a0, rs1: a0 }));
  a.i('or', { rd: a1, rs1: a1, rs2: t6 }).i('sw', { rs1: t2, rs2: a1, imm: FUNCTION });
  a.label('patched').li(a0, 0).i('jalr', { rd: ra, rs1: t2, imm: FUNCTION });
  a.i('addi', { rd: a2, rs1: t2 }).i('ld', { rd: a1, rs1: t4 }).to('bne', 'mismatch', { rs1: a0, rs2: a1 });
  a.i('addi', { rd: t6, imm: CODE_PAGES - 1 }).to('beq', 'next', { rs1: t1, rs2: t6 });
  a.li(a0, 0).li(t6, 0xffe).i('add', { rd: t6, rs1: t6, rs2: t2 }).i('jalr', { rd: ra, rs1: t6 });
  a.li(a1, CROSSING_ADDEND).to('bne', 'mismatch', { rs1: a0, rs2: a1 });
}

/** The pages of code as they are at the start, when all addends are 0. */
export function codePages(): Uint8Array {
  const bytes = new Uint8Array(CODE_PAGES * 4096);
  const back = (a: Assembler): unknown => a.i('jalr', { rs1: ra });
  const plain = assemble((a) => back(a.i('addi', { rd: a0, rs1: a0 })));
  const crossing = assemble((a) =>
    back(a.i('addi', { rd: a0, rs1: a0, imm: CROSSING_ADDEND }).i('addi', { rd: zero })),
  );
  for (let page = 0; page < CODE_PAGES; page++) {
    bytes.set(plain, page * 4096 + FUNCTION);
    if (page < CODE_PAGES - 1) bytes.set(crossing, page * 4096 + 0xffe);
  }
  return bytes;
}
