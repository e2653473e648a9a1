import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireDebian } from '../../scripts/debian.ts';
import { isCompressed } from '../../src/isa/decode.ts';

const ARCHITECTURE = 'rv64imafdc_zicsr_zifencei_zihintpause_zba_zbb_zbs_sstc';

/** What binutils' objdump says of instructions that stand behind each other from address 0 on: one line each. */
export function objdump(instructions: readonly number[]): string[] {
  requireDebian('binutils');
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-objdump-'));
  try {
    const source = join(folder, 'all.s');
    const object = join(folder, 'all.o');
    const lines = instructions.map((bits) => `.insn 0x${(isCompressed(bits) ? bits & 0xffff : bits).toString(16)}`);
    writeFileSync(source, `.option norelax\n${lines.join('\n')}\n`);
    execFileSync('riscv64-linux-gnu-as', [`-march=${ARCHITECTURE}`, '-o', object, source]);
    const options = ['-d', '-z', '-M', 'no-aliases,priv-spec=1.12', object];
    const text = execFileSync('riscv64-linux-gnu-objdump', options, { encoding: 'utf8', maxBuffer: 1 << 28 });
    return [...text.matchAll(/^ *[0-9a-f]+:\t[0-9a-f ]+\t(.*)$/gm)].map((match) => match[1]!);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Brings a line of either disassembler into one form: no comment, no symbol behind an address, all numbers in decimal.
 */
export function normalized(line: string): string {
  const [name = '', ...rest] = line
    .replace(/#.*$/, '')
    .replace(/([0-9a-f]+) <[^>]*>/, '0x$1')
    .trim()
    .split(/\s+/);
  const operands = rest
    .join('')
    .replace(/(?<![\w.])-?(0x[0-9a-f]+|\d+)(?![\w.])/g, (number) =>
      String(number.startsWith('-') ? -BigInt(number.slice(1)) : BigInt(number)),
    );
  return `${name} ${operands}`.trim();
}
