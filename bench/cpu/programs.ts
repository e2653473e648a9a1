/** The benchmark's own programs, compiled with Debian's cross compiler. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requireDebian } from '../../scripts/debian.ts';
import { temporaryFolder } from '../assemble.ts';

const COMPILER = 'riscv64-linux-gnu-gcc';

/** Static, as Debian's packages are optimized, without symbols. */
export const COMPILER_OPTIONS: readonly string[] = ['-O2', '-Wall', '-Wextra', '-Werror', '-static', '-s'];

/**
 * Compiles programs of bench/cpu/programs, or of another folder.
 * @returns ELF files by name
 * @throws Error with the compiler's message
 */
export async function compilePrograms(
  names: Iterable<string>,
  from: string = fileURLToPath(new URL('programs/', import.meta.url)),
): Promise<ReadonlyMap<string, Uint8Array>> {
  requireDebian('gcc', 'libc');
  const folder = temporaryFolder();
  const compiled = new Map<string, Uint8Array>();
  for (const name of names) {
    const source = join(from, `${name}.c`);
    const target = join(folder, name);
    await compile([...COMPILER_OPTIONS, '-o', target, source, '-lm']);
    compiled.set(name, await readFile(target));
  }
  return compiled;
}

function compile(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(COMPILER, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let messages = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      messages += text;
    });
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new Error(`${COMPILER} ${args.join(' ')}: ${messages.trim() || `status ${status}`}`));
    });
  });
}
