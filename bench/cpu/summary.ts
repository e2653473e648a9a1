/** From single runs to figures: medians, ratios of pairs, and geometric means of groups of lines. */
import type { MachineName } from '../machines.ts';
import { type Figures, figures } from '../report.ts';
import { BOOT, type Group, type GroupName, groups, type Line } from './lines.ts';
import type { GuestRun } from './run-guest.ts';
import type { Spent } from './run-reader.ts';

/** Runs of each machine; the ones of one place in the lists were done in turn. */
export type Runs = Readonly<Partial<Record<MachineName, readonly GuestRun[]>>>;

type FiguresOfMachines = Readonly<Partial<Record<MachineName, Figures>>>;

/** Figures of one line. */
export interface LineSummary {
  readonly name: string;
  readonly group: GroupName;
  readonly seconds: FiguresOfMachines;
  /** Our time by QEMU's, of each pair of runs; undefined if only one machine was measured. */
  readonly ratio?: Figures | undefined;
  /** The same of the processors' time, which other work on the machine changes less. */
  readonly cpuSeconds: FiguresOfMachines;
  readonly cpuRatio?: Figures | undefined;
  /** What the work came to, in all runs. */
  readonly result: string | undefined;
}

/** Figures of a group of lines. */
export interface GroupSummary extends Group {
  readonly name: GroupName;
  /** Of each pair of runs: the geometric mean of the lines' ratios. */
  readonly ratio: Figures;
  /** The line with the largest median ratio, and this ratio. */
  readonly worst: { readonly name: string; readonly ratio: number };
  /** Whether the group's goals are reached; undefined if it has none. */
  readonly reached: boolean | undefined;
}

export interface Summary {
  readonly lines: readonly LineSummary[];
  /** Of the groups that have a ratio. */
  readonly groups: readonly GroupSummary[];
}

/** @param values more than 0, at least one */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/**
 * Results of the same line that differ.
 * @param known results of QEMU's from before, by the names of lines
 * @returns a sentence for each such line
 */
export function disagreements(runs: Runs, known: ReadonlyMap<string, string> = new Map()): string[] {
  const results = new Map([...known].map(([name, result]) => [name, new Map([[result, ['qemu before']]])]));
  for (const [machine, all] of Object.entries(runs)) {
    all.forEach((run, i) => {
      for (const { name, result } of run.lines) {
        const line = results.get(name) ?? new Map<string, string[]>();
        results.set(name, line.set(result, [...(line.get(result) ?? []), `${machine} in run ${i + 1}`]));
      }
    });
  }
  return [...results]
    .filter(([, line]) => line.size > 1)
    .map(([name, line]) => {
      const each = [...line].map(([result, where]) => `${JSON.stringify(result)} (${where.join(', ')})`);
      return `line ${name} has different results: ${each.join(' and ')}`;
    });
}

/** @param boot whether booting is one of the lines */
export function summarize(runs: Runs, lines: readonly Line[], boot: boolean): Summary {
  const summaries: LineSummary[] = [];
  const add = (name: string, group: GroupName, spent: (run: GuestRun) => Spent, result: string | undefined): void => {
    const wall = compare(runs, (run) => spent(run).seconds);
    const cpu = compare(runs, (run) => spent(run).cpuSeconds);
    summaries.push({
      name,
      group,
      seconds: wall.figures,
      ratio: wall.ratio,
      cpuSeconds: cpu.figures,
      cpuRatio: cpu.ratio,
      result,
    });
  };
  if (boot) add(BOOT, 'boot', (run) => run.boot, undefined);
  lines.forEach(({ name, group }, i) => {
    const first = (runs.ballonet ?? runs.qemu)?.[0];
    add(name, group, (run) => run.lines[i]!, first?.lines[i]?.result);
  });
  return { lines: summaries, groups: summarizeGroups(summaries) };
}

/** Figures of each machine, and of the ratios of the pairs. */
function compare(runs: Runs, value: (run: GuestRun) => number): { figures: FiguresOfMachines; ratio?: Figures } {
  const ours = runs.ballonet?.map(value) ?? [];
  const theirs = runs.qemu?.map(value) ?? [];
  const ratios = ours.slice(0, theirs.length).map((each, i) => each / theirs[i]!);
  return {
    figures: {
      ...(ours.length > 0 ? { ballonet: figures(ours) } : {}),
      ...(theirs.length > 0 ? { qemu: figures(theirs) } : {}),
    },
    ...(ratios.length > 0 ? { ratio: figures(ratios) } : {}),
  };
}

function summarizeGroups(lines: readonly LineSummary[]): GroupSummary[] {
  return (Object.keys(groups) as GroupName[]).flatMap((name) => {
    const group: Group = groups[name];
    const members = lines.flatMap((line) =>
      line.group === name && line.ratio !== undefined ? [{ name: line.name, ratio: line.ratio }] : [],
    );
    if (members.length === 0) return [];
    const ratio = figures(
      members[0]!.ratio.all.map((_, i) => geometricMean(members.map((line) => line.ratio.all[i]!))),
    );
    const worst = members.reduce((a, b) => (b.ratio.median > a.ratio.median ? b : a));
    const { mean, each } = group;
    const reached =
      mean === undefined && each === undefined
        ? undefined
        : ratio.median <= (mean ?? Number.POSITIVE_INFINITY) &&
          worst.ratio.median <= (each ?? Number.POSITIVE_INFINITY);
    return [{ ...group, name, ratio, worst: { name: worst.name, ratio: worst.ratio.median }, reached }];
  });
}
