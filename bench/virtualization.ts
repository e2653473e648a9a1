/** The same work paravirtualized and fully virtualized: what a guest gains by knowing that it is one. */
import { requireDebian } from '../scripts/debian.ts';
import { Host } from '../src/index.ts';
import { assemble } from './assemble.ts';
import { bootFiles, MEMORY, timeToInit } from './boot.ts';
import { machineCommand } from './machines.ts';
import { type Bench, type Figures, figures, format } from './report.ts';
import { KERNEL_ADDRESS, kernelSource, TIMES } from './work-kernel.ts';

/** Debian's OpenSBI. */
const FIRMWARE = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin';
const MIB = 2 ** 20;
/** Kinds of work of the bare kernel, and how often it does each. */
const WORK = {
  timers: TIMES.timers,
  'self-IPIs': TIMES.selfIpis,
  'console characters': TIMES.characters,
} as const;

/** Microseconds that each piece of work took, by kind. */
async function measure(paravirtual: boolean, kernel: string): Promise<Record<keyof typeof WORK, number>> {
  await using host = await Host.create({ machineMemory: 64 * MIB, swapSize: 0 });
  const guest = await host.start({
    name: paravirtual ? 'paravirtual' : 'full',
    memory: 16 * MIB,
    kernel,
    devices: false,
    ...(paravirtual ? {} : { firmware: FIRMWARE }),
  });
  // The text is longer than what the console keeps.
  let output = '';
  const decoder = new TextDecoder('latin1');
  guest.console.onOutput((bytes) => {
    output += decoder.decode(bytes);
  });
  const exit = await guest.wait();
  const ticks = (name: string): number => {
    const match = new RegExp(`ticks ${name} *([0-9a-f]{16})`).exec(output);
    if (match === null) {
      throw new Error(
        `guest ${guest.name} (${exit.reason} ${exit.message ?? ''}) did not report ${name}: ${output.slice(-400)}`,
      );
    }
    return Number(BigInt(`0x${match[1]}`));
  };
  return {
    timers: ticks('timers') / 10 / WORK.timers,
    'self-IPIs': ticks('self-IPIs') / 10 / WORK['self-IPIs'],
    'console characters': ticks('console') / 10 / WORK['console characters'],
  };
}

export const virtualization: Bench = {
  description: 'the same work paravirtualized and with firmware of its own',
  async run({ runs, progress }) {
    requireDebian('opensbi');
    const kernels = [true, false].map(
      (paravirtual) =>
        assemble(`kernel-${paravirtual ? 'para' : 'full'}`, kernelSource(paravirtual), KERNEL_ADDRESS).flat,
    );
    const { program, args } = machineCommand('ballonet', { ...(await bootFiles()), memoryMiB: MEMORY });
    const kinds = ['boot', ...Object.keys(WORK)];
    const values = { paravirtual: new Map<string, number[]>(), full: new Map<string, number[]>() };
    const add = (kind: 'paravirtual' | 'full', name: string, value: number): void => {
      values[kind].set(name, [...(values[kind].get(name) ?? []), value]);
    };
    for (let i = 0; i < runs; i++) {
      progress(`run ${i + 1} of ${runs}`);
      for (const kind of ['paravirtual', 'full'] as const) {
        const more = kind === 'full' ? ['--firmware', FIRMWARE] : [];
        add(kind, 'boot', (await timeToInit({ program, args: [...args, ...more] })) / 1000);
        const measured = await measure(kind === 'paravirtual', kernels[kind === 'paravirtual' ? 0 : 1]!);
        for (const [name, value] of Object.entries(measured)) add(kind, name, value);
      }
    }
    const rows: string[][] = [];
    const data: Record<string, { unit: string; paravirtual: Figures; full: Figures; ratio: Figures }> = {};
    for (const name of kinds) {
      const [para, full] = [values.paravirtual.get(name)!, values.full.get(name)!];
      const [a, b] = [figures(para), figures(full)];
      const ratio = figures(full.map((value, i) => value / para[i]!));
      const unit = name === 'boot' ? 's' : 'us each';
      rows.push([`${name}, ${unit}`, format(a, 2), format(b, 2), format(ratio, 2)]);
      data[name] = { unit, paravirtual: a, full: b, ratio };
    }
    return {
      columns: [
        { heading: 'work' },
        { heading: 'paravirtualized', right: true },
        { heading: 'full virtualization', right: true },
        { heading: 'ratio', right: true },
      ],
      rows,
      notes: [
        `Medians (smallest to largest) of ${runs} runs in turn. Paravirtualized: S-mode start, hypercalls, Sstc timers.`,
        'Full: OpenSBI in M-mode, timers and IPIs through it and the ACLINT, the 16550 as console.',
      ],
      data,
    };
  },
};
