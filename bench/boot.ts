/** Time from the start of the command to the first line of the guest's init, beside QEMU's on the same files. */
import { spawn } from 'node:child_process';
import { requireDebian } from '../scripts/debian.ts';
import { type BootFiles, debianFiles } from '../src/cli/images.ts';
import { type MachineCommand, machineCommand } from './machines.ts';
import { type Bench, figures, format } from './report.ts';

/** What init prints first. */
export const MARK = 'init has been reached';
/** Longest time that a boot may take, milliseconds. */
const TIMEOUT_MS = 300_000;
/** Configured memory, MiB. */
export const MEMORY = 512;

/** Debian's kernel with an init that says that it is there, and ends. */
export async function bootFiles(): Promise<BootFiles> {
  return await debianFiles(`echo "${MARK}"\n`);
}

/**
 * Starts a command that boots {@link bootFiles} with its console on standard output.
 * @returns milliseconds from the start to init's line
 */
export async function timeToInit({ program, args }: MachineCommand): Promise<number> {
  const start = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  let output = '';
  let reached: number | undefined;
  const read = (chunk: Buffer): void => {
    output += chunk.toString('latin1');
    if (reached === undefined && output.includes(MARK)) reached = performance.now() - start;
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve());
  });
  clearTimeout(timer);
  if (reached === undefined)
    throw new Error(`${program} did not come to init; its output ends with ${output.slice(-400)}`);
  return reached;
}

export const boot: Bench = {
  description: "time from start to init, beside QEMU's on the same kernel and initial file system",
  async run({ runs, progress }) {
    requireDebian('qemu');
    const guest = { ...(await bootFiles()), memoryMiB: MEMORY };
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let i = 0; i < runs; i++) {
      progress(`run ${i + 1} of ${runs}`);
      // In turn, so that a slower spell of the machine meets both.
      ours.push((await timeToInit(machineCommand('ballonet', guest))) / 1000);
      theirs.push((await timeToInit(machineCommand('qemu', guest))) / 1000);
    }
    const [a, b] = [figures(ours), figures(theirs)];
    const ratio = figures(ours.map((seconds, i) => seconds / theirs[i]!));
    return {
      columns: [{ heading: '' }, { heading: 'seconds, median (smallest to largest)', right: true }],
      rows: [
        ['Ballonet', format(a, 2)],
        ['QEMU (TCG)', format(b, 2)],
        ['ratio', format(ratio, 2)],
      ],
      notes: [
        `Start of the process to the first line of init: Debian kernel, busybox, ${MEMORY} MiB, one hart; ${runs} runs in turn.`,
        'The ratio is Ballonet by QEMU of each pair of runs; below 1 Ballonet is faster.',
      ],
      data: { ballonetSeconds: a, qemuSeconds: b, ratio, memoryMiB: MEMORY },
    };
  },
};
