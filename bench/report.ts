/** What all benchmarks have in common: figures from repeated runs, and how they are printed. */
import type { Option } from 'commander';
import { type Column, renderTable } from '../src/cli/table.ts';

/** Options of every benchmark. */
export interface BenchOptions {
  /** Times that each thing is measured. */
  readonly runs: number;
  /** Is told what is going on, in a line each. */
  readonly progress: (line: string) => void;
}

/** A benchmark's outcome. */
export interface Report {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
  /** A sentence or two below the table. */
  readonly notes: readonly string[];
  /** The same and more for programs; units in the names. */
  readonly data: Record<string, unknown>;
}

/** A benchmark of `npm run bench`. */
export interface Bench<Options extends BenchOptions = BenchOptions> {
  readonly description: string;
  /** Times that each thing is measured unless another number is asked for; default 3. */
  readonly runs?: number;
  /** Options that only this benchmark has, beside {@link BenchOptions}. */
  readonly options?: readonly Option[];
  run(options: Options): Promise<Report>;
}

/** The middle of some figures, and how far apart they are. */
export interface Figures {
  readonly median: number;
  readonly smallest: number;
  readonly largest: number;
  readonly all: readonly number[];
}

/** @param values at least one */
export function figures(values: readonly number[]): Figures {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, smallest: sorted[0]!, largest: sorted.at(-1)!, all: values };
}

/** Median and spread for people. */
export function format({ median, smallest, largest }: Figures, digits: number): string {
  return `${median.toFixed(digits)} (${smallest.toFixed(digits)} to ${largest.toFixed(digits)})`;
}

/** Prints a report: tables for people, or one JSON object. */
export function print(name: string, report: Report, json: boolean): void {
  if (json) process.stdout.write(`${JSON.stringify({ bench: name, ...report.data })}\n`);
  else process.stdout.write(`${[...renderTable(report.columns, report.rows), '', ...report.notes].join('\n')}\n`);
}
