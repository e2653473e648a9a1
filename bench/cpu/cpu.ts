/** `npm run bench -- cpu`: the same guest doing the same work here and on QEMU, in turn. */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { Option } from 'commander';
import { requireDebian } from '../../scripts/debian.ts';
import { type Column, renderTable } from '../../src/cli/table.ts';
import { prepareGuestImage, prepareInitramfs } from '../../src/guest/index.ts';
import { type MachineName, machineTitles } from '../machines.ts';
import { type Bench, type BenchOptions, format, type Report } from '../report.ts';
import { makeDisk } from './disk.ts';
import { initScript } from './guest-script.ts';
import { KnownResults } from './known-results.ts';
import { chooseLines } from './lines.ts';
import { type GuestRun, runGuest } from './run-guest.ts';
import { disagreements, type GroupSummary, type LineSummary, summarize } from './summary.ts';

/** Configured memory, MiB. */
const MEMORY = 512;

interface CpuOptions extends BenchOptions {
  readonly lines?: string;
  readonly only?: MachineName;
  readonly limit: number;
}

const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--limit: ${JSON.stringify(text)} is not a number of seconds above 0`);
  return value;
};

const options: readonly Option[] = [
  new Option('--lines <names>', 'lines or groups of lines, with commas between them; default: all'),
  new Option('--only <machine>', 'measures only this one').choices(Object.keys(machineTitles)),
  new Option('--limit <seconds>', 'longest time that a line, or booting, may take').default(300).argParser(positive),
];

export const cpu: Bench<CpuOptions> = {
  description: "boots, kernels of programs and whole programs, beside QEMU's on the same files",
  runs: 5,
  options,
  async run({ runs, lines: words, only, limit, progress }) {
    const chosen = chooseLines(words?.split(',').map((word) => word.trim()) ?? []);
    const machines: MachineName[] = only === undefined ? ['ballonet', 'qemu'] : [only];
    if (machines.includes('qemu')) requireDebian('qemu');
    const image = await prepareGuestImage({ onProgress: progress });
    const initramfs = await prepareInitramfs(image, { script: initScript });
    progress(`preparing ${chosen.lines.length} lines`);
    const disk = await makeDisk(chosen.lines, progress);
    const known = new KnownResults(chosen.lines, disk.digests, image.digest);
    const guest = { kernel: image.kernelPath, initrd: initramfs.path, memoryMiB: MEMORY, disks: [disk.path] };
    const done = Object.fromEntries(machines.map((machine): [MachineName, GuestRun[]] => [machine, []]));
    for (let i = 0; i < runs; i++) {
      // In turn, so that a slower spell of the machine meets both.
      for (const machine of machines) {
        progress(`run ${i + 1} of ${runs}: ${machineTitles[machine]}`);
        const run = await runGuest(machine, guest, chosen.lines, limit);
        done[machine]!.push(run);
        if (machine === 'qemu') await known.keep(run.lines);
      }
      const wrong = disagreements(done, await known.read());
      if (wrong.length > 0) throw new Error(wrong.join('\n'));
    }
    const summary = summarize(done, chosen.lines, chosen.boot);
    return {
      ...tables(summary.lines, summary.groups, machines, runs),
      data: {
        machine: cpus()[0]?.model ?? 'unknown',
        cores: cpus().length,
        versions: {
          node: process.version,
          ...(machines.includes('qemu') ? { qemu: qemuVersion() } : {}),
          kernel: image.kernelVersion,
          packages: [...image.packages.map(({ name, version }) => `${name} ${version}`), ...disk.packages],
        },
        memoryMiB: MEMORY,
        runs,
        ...summary,
      },
    };
  },
};

function qemuVersion(): string {
  const { stdout } = spawnSync('qemu-system-riscv64', ['--version'], { encoding: 'utf8' });
  return /version (\S+)/.exec(stdout ?? '')?.[1] ?? 'unknown';
}

/** The tables for people: the lines, and below them the groups beside their goals. */
function tables(
  lines: readonly LineSummary[],
  groups: readonly GroupSummary[],
  machines: readonly MachineName[],
  runs: number,
): Omit<Report, 'data'> {
  const both = machines.length === 2;
  const columns: Column[] = [
    { heading: 'line' },
    ...machines.map((machine) => ({ heading: `${machineTitles[machine]}, s`, right: true })),
    ...(both
      ? [
          { heading: 'ratio', right: true },
          { heading: 'of CPU time', right: true },
        ]
      : []),
  ];
  const rows = lines.map(({ name, seconds, ratio, cpuRatio }) => [
    name,
    ...machines.map((machine) => seconds[machine]!.median.toFixed(2)),
    ...(ratio === undefined ? [] : [format(ratio, 2), cpuRatio?.median.toFixed(2) ?? '']),
  ]);
  const goal = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(2));
  const groupTable = renderTable(
    [
      { heading: 'group' },
      { heading: 'geometric mean', right: true },
      { heading: 'goal', right: true },
      { heading: 'largest', right: true },
      { heading: 'goal', right: true },
      { heading: '' },
    ],
    groups.map(({ title, ratio, mean, worst, each, reached }) => [
      title,
      format(ratio, 2),
      goal(mean),
      `${worst.name} ${worst.ratio.toFixed(2)}`,
      goal(each),
      reached === undefined ? '' : reached ? 'reached' : 'missed',
    ]),
  );
  const notes = [
    `Medians (smallest to largest) of ${runs} runs${both ? ' in turn' : ''}: Debian kernel, ${MEMORY} MiB, one hart; times by the guest's clock,`,
    'booting from the start of the process to the first line of init.',
  ];
  if (both)
    notes.push('The ratio is Ballonet by QEMU of each pair of runs; below 1 Ballonet is faster. All results agree.');
  return { columns, rows, notes: groupTable.length > 1 ? [...groupTable, '', ...notes] : notes };
}
