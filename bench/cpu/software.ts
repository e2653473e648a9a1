/** Programs as their authors ship them for riscv64, and what they work on. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CpioEntry, prepareDebianPackages } from '../../src/guest/index.ts';
import { FOLDER } from './guest-script.ts';
import { npmPackages } from './npm.ts';
import { treeEntries } from './tree.ts';

/** A program with its files in the guest. */
export interface Software {
  readonly entries: readonly CpioEntry[];
  /** Names and versions of what it was made from. */
  readonly packages: readonly string[];
}

/** Versions are fixed so that figures of different days are of the same work. */
const ESBUILD = '@esbuild/linux-riscv64@0.28.2';
const THREE = 'three@0.187.0';
/** Debian's interpreter with the modules of the standard library that need no other packages. */
const PYTHON = 'python3.13-minimal';

type Prepare = (onProgress: (line: string) => void) => Promise<Software>;

const prepare = {
  async esbuild(onProgress) {
    const packages = [ESBUILD, THREE];
    const modules = await npmPackages(packages, onProgress);
    const data = await readFile(join(modules, '@esbuild/linux-riscv64/bin/esbuild'));
    return {
      entries: [
        { kind: 'file', path: `${FOLDER}/esbuild`, mode: 0o755, data },
        ...(await treeEntries(join(modules, 'three/src'), `${FOLDER}/three/src`)),
        {
          kind: 'file',
          path: `${FOLDER}/three/package.json`,
          mode: 0o644,
          data: await readFile(join(modules, 'three/package.json')),
        },
      ],
      packages,
    };
  },
  async python(onProgress) {
    const { root, packages } = await prepareDebianPackages([PYTHON], { onProgress });
    const data = await readFile(fileURLToPath(new URL('programs/work.py', import.meta.url)));
    const loader = 'ld-linux-riscv64-lp64d.so.1';
    return {
      entries: [
        ...(await treeEntries(join(root, 'usr/bin'), 'usr/bin')),
        ...(await treeEntries(join(root, 'usr/lib'), 'usr/lib')),
        // Programs name their loader in /lib, which in Debian is /usr/lib, and in the initial file system is not.
        { kind: 'symlink', path: `lib/${loader}`, target: `/usr/lib/${loader}` },
        { kind: 'file', path: `${FOLDER}/work.py`, mode: 0o644, data },
      ],
      packages: packages.map(({ name, version }) => `${name} ${version}`),
    };
  },
} satisfies Record<string, Prepare>;

export type SoftwareName = keyof typeof prepare;

/** Fetches a program, unless it is in the cache. */
export async function prepareSoftware(name: SoftwareName, onProgress: (line: string) => void): Promise<Software> {
  return await prepare[name](onProgress);
}
