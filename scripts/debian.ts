// Debian packages that tests and benchmarks compare with (QEMU, a cross compiler, OpenSBI): installed when we may,
// asked for when we may not. Ballonet's own running needs none of them.

import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A program or file that a test needs, and the Debian package that has it. */
export interface DebianNeed {
  /** Name of the package. */
  readonly package: string;
  /** Program looked for in PATH, or absolute path of a file: what shows that the package is there. */
  readonly provides: string;
}

/** Packages by the short name that tests ask with. */
export const debianPackages = {
  qemu: { package: 'qemu-system-misc', provides: 'qemu-system-riscv64' },
  binutils: { package: 'binutils-riscv64-linux-gnu', provides: 'riscv64-linux-gnu-as' },
  gcc: { package: 'gcc-riscv64-linux-gnu', provides: 'riscv64-linux-gnu-gcc' },
  // Only recommended by the compiler.
  libc: { package: 'libc6-dev-riscv64-cross', provides: '/usr/riscv64-linux-gnu/lib/libc.a' },
  opensbi: { package: 'opensbi', provides: '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin' },
  dtc: { package: 'device-tree-compiler', provides: 'dtc' },
  cpio: { package: 'cpio', provides: 'cpio' },
  xz: { package: 'xz-utils', provides: 'xz' },
  tmux: { package: 'tmux', provides: 'tmux' },
} as const satisfies Record<string, DebianNeed>;

/** A Debian package is missing and could not be installed; the message has the command that installs it. */
export class DebianPackagesMissing extends Error {
  override readonly name = 'DebianPackagesMissing';
}

function isThere(need: DebianNeed): boolean {
  const places = need.provides.startsWith('/')
    ? [need.provides]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, need.provides));
  return places.some((place) => {
    try {
      accessSync(place, need.provides.startsWith('/') ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function aptGet(args: readonly string[]): { ok: boolean; output: string } {
  // Two test runs may want the same package: the second waits for dpkg's lock.
  const options = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=600'];
  const { status, stdout, stderr, error } = spawnSync('apt-get', [...options, ...args], {
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return { ok: status === 0, output: error ? error.message : `${stdout}${stderr}` };
}

/**
 * Sees to it that the named Debian packages are installed: with apt-get for root, otherwise by an error that says what
 * to run. Costs nothing when they are there.
 * @throws DebianPackagesMissing
 */
export function requireDebian(...names: (keyof typeof debianPackages)[]): void {
  const missing = names.map((name) => debianPackages[name]).filter((need) => !isThere(need));
  if (missing.length === 0) return;
  const packages = missing.map((need) => need.package);
  const command = `apt-get install ${packages.join(' ')}`;
  if (process.getuid?.() !== 0) {
    throw new DebianPackagesMissing(`the Debian packages ${packages.join(', ')} are needed; run: sudo ${command}`);
  }
  process.stderr.write(`installing the Debian packages ${packages.join(', ')}\n`);
  const install = ['install', '--no-install-recommends', ...packages];
  let result = aptGet(install);
  if (!result.ok) {
    // The lists may be missing (a fresh container) or old (a version that is gone from the mirror).
    const update = aptGet(['update']);
    result = update.ok ? aptGet(install) : update;
  }
  const still = missing.filter((need) => !isThere(need));
  if (still.length > 0) {
    const last = result.output.trim().split('\n').slice(-5).join('\n');
    throw new DebianPackagesMissing(`"${command}" did not bring ${still.map((n) => n.provides).join(', ')}:\n${last}`);
  }
}
