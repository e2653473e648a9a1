/** What the benchmark of the processor measures: its lines, and the groups of lines that have a goal together. */

import type { SoftwareName } from './software.ts';

/** What a line needs in the guest beside busybox. */
export type Need =
  /** A program of bench/cpu/programs, by its name. */
  | { readonly program: string }
  /** A program as its authors ship it. */
  | { readonly software: SoftwareName };

/** A piece of work whose time is measured. */
export interface Line {
  readonly name: string;
  readonly group: GroupName;
  /** Command of the guest's shell, run in the folder with the programs. What it prints is its result. */
  readonly command: string;
  /** Command, not measured, that is run before. */
  readonly prepare?: string;
  /** Command, not measured, that prints the result instead. */
  readonly result?: string;
  readonly needs: readonly Need[];
}

/** Lines that are judged together, by ratios of time: ours by QEMU's. */
export interface Group {
  readonly title: string;
  /** The largest geometric mean of the lines' ratios that is good enough. */
  readonly mean?: number;
  /** The largest ratio of a single line that is good enough. */
  readonly each?: number;
}

export const groups = {
  boot: { title: 'boot to init', mean: 0.75 },
  integer: { title: 'integer kernels', mean: 0.6, each: 1 },
  floating: { title: 'floating point', mean: 0.5 },
  memory: { title: 'memory of 64 MB' },
  system: { title: 'busybox, processes, pipes', mean: 0.65, each: 0.9 },
  software: { title: 'esbuild, Python', each: 0.8 },
} as const satisfies Record<string, Group>;

export type GroupName = keyof typeof groups;

/** The line that is no work of the guest's: from the start of the process to the first line of init. */
export const BOOT = 'boot';

/** Loads the modules that programs/work.py uses. */
const PYTHON_IMPORTS = 'import collections, dataclasses, hashlib, heapq, json, re';

const program = (name: string, group: GroupName): Line => ({
  name,
  group,
  command: `exec ./${name}`,
  needs: [{ program: name }],
});
const busybox = (name: string, command: string): Line => ({ name, group: 'system', command, needs: [] });

/**
 * All lines in the order in which a guest does them. Each takes QEMU between half a second and some seconds on a server
 * of the 2020s.
 */
export const lines: readonly Line[] = [
  ...['mix', 'matrix', 'list', 'crc', 'state', 'sieve', 'sha256', 'xxhash', 'recursion', 'calls', 'sort'].map((name) =>
    program(name, 'integer'),
  ),
  ...['linpack', 'nbody'].map((name) => program(name, 'floating')),
  ...['copy', 'random'].map((name) => program(name, 'memory')),
  busybox('shell', 'i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done; echo $i'),
  busybox('sha256sum', 'dd if=/dev/zero bs=64k count=320 2>/dev/null | sha256sum'),
  busybox('awk', "seq 50000 | awk '{ n += $1 * 3 % 7; s[$1 % 100] += length($0) } END { print n, s[42] }'"),
  busybox('gzip', 'seq 180000 | gzip -9 | gunzip | md5sum'),
  {
    name: 'processes',
    group: 'system',
    command: 'exec ./spawn 200 /bin/busybox true',
    needs: [{ program: 'spawn' }],
  },
  program('pipes', 'system'),
  {
    name: 'esbuild',
    group: 'software',
    command: 'exec ./esbuild three/src/Three.js --bundle --minify --format=esm --outfile=bundle.js',
    result: 'sha256sum <bundle.js',
    needs: [{ software: 'esbuild' }],
  },
  {
    // A first start: Python compiles the modules that it loads. -B: the next one has to, too.
    name: 'imports',
    group: 'software',
    command: `exec python3.13 -B -c '${PYTHON_IMPORTS}; import sys; print(len(sys.modules))'`,
    needs: [{ software: 'python' }],
  },
  {
    name: 'python',
    group: 'software',
    // Where a package is installed its modules are compiled. Here its scripts have not run.
    prepare: `exec python3.13 -c '${PYTHON_IMPORTS}'`,
    command: 'exec python3.13 work.py',
    needs: [{ software: 'python' }],
  },
];

/**
 * Chooses lines by their own names and by those of their groups.
 * @param words names; all lines if there are none
 * @throws Error that says which names there are
 */
export function chooseLines(words: readonly string[]): { readonly boot: boolean; readonly lines: readonly Line[] } {
  if (words.length === 0) return { boot: true, lines };
  const names = new Set([BOOT, ...lines.map(({ name }) => name), ...Object.keys(groups)]);
  const unknown = words.find((word) => !names.has(word));
  if (unknown !== undefined) {
    throw new Error(
      `--lines: there is no line or group ${JSON.stringify(unknown)}; there are ${[...names].join(', ')}`,
    );
  }
  return {
    boot: words.includes(BOOT),
    lines: lines.filter(({ name, group }) => words.includes(name) || words.includes(group)),
  };
}
