/** Bare-metal programs for benchmarks and tests, assembled with Debian's binutils for riscv64. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireDebian } from '../scripts/debian.ts';

const folders: string[] = [];

/** A folder that goes with the process. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-bench-'));
  if (folders.length === 0) {
    process.once('exit', () => {
      for (const each of folders) rmSync(each, { recursive: true, force: true });
    });
  }
  folders.push(folder);
  return folder;
}

/**
 * Assembles a program.
 * @param base address at which it is going to run
 * @returns the paths of the ELF file and of the flat image
 */
export function assemble(name: string, source: string, base: number): { elf: string; flat: string } {
  requireDebian('binutils');
  const folder = temporaryFolder();
  const path = (ending: string): string => join(folder, `${name}.${ending}`);
  writeFileSync(path('s'), source);
  const tools: [string, ...string[]][] = [
    ['as', '-march=rv64gc_zicsr_zifencei', '-o', path('o'), path('s')],
    // Without the ELF header in a segment of its own below the base.
    [
      'ld',
      '--omagic',
      '--no-relax',
      `-Ttext=0x${base.toString(16)}`,
      '-e',
      `0x${base.toString(16)}`,
      '-o',
      path('elf'),
      path('o'),
    ],
    ['objcopy', '-O', 'binary', path('elf'), path('bin')],
  ];
  for (const [tool, ...args] of tools) {
    const { status, stderr } = spawnSync(`riscv64-linux-gnu-${tool}`, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`riscv64-linux-gnu-${tool} failed on ${name}: ${stderr}`);
  }
  return { elf: path('elf'), flat: path('bin') };
}
