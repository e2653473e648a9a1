/** Reports of where a guest's time went. */
import type { SampleCount } from '../index.ts';
import { hex, type SymbolTable } from './symbols.ts';
import { type Column, renderTable } from './table.ts';

/** Letters of privilege modes by their numbers. */
const MODES: Readonly<Record<number, string>> = { 0: 'U', 1: 'S', 3: 'M' };
const PAGE = 4096n;

/** Samples of one symbol, or of one page where there is none, in one mode. */
export interface ProfileRow {
  readonly mode: string;
  readonly name: string;
  readonly ms: number;
  readonly count: number;
  /** Samples in translated regions. */
  readonly translated: number;
}

/** Sums up samples by symbol, the longest time first. */
export function profile(samples: readonly SampleCount[], symbols: SymbolTable): ProfileRow[] {
  const rows = new Map<string, { -readonly [K in keyof ProfileRow]: ProfileRow[K] }>();
  for (const { pc, privilege, translated, count, ms } of samples) {
    const mode = MODES[privilege] ?? String(privilege);
    const name = symbols.find(pc)?.name ?? `page ${hex(pc - (pc % PAGE))}`;
    const key = `${mode} ${name}`;
    const row = rows.get(key) ?? { mode, name, ms: 0, count: 0, translated: 0 };
    rows.set(key, row);
    row.ms += ms;
    row.count += count;
    if (translated) row.translated += count;
  }
  return [...rows.values()].sort((a, b) => b.ms - a.ms || b.count - a.count || (a.name < b.name ? -1 : 1));
}

const COLUMNS: readonly Column[] = [
  { heading: 'time', right: true },
  { heading: 'ms', right: true },
  { heading: 'samples', right: true },
  { heading: 'translated', right: true },
  { heading: 'mode' },
  { heading: 'symbol' },
];

/** The table of `--profile`. */
export function profileLines(rows: readonly ProfileRow[]): string[] {
  const sum = (some: readonly ProfileRow[], pick: (row: ProfileRow) => number): number =>
    some.reduce((total, row) => total + pick(row), 0);
  const all = sum(rows, ({ ms }) => ms);
  const share = (part: number, whole: number): string => `${whole === 0 ? 0 : ((part / whole) * 100).toFixed(1)}%`;
  const cells = (row: Omit<ProfileRow, 'mode' | 'name'>): string[] => [
    share(row.ms, all),
    row.ms.toFixed(1),
    String(row.count),
    share(row.translated, row.count),
  ];
  const modes = [...new Set(rows.map(({ mode }) => mode))].sort().map((mode) => {
    const some = rows.filter((row) => row.mode === mode);
    const [ms, count, translated] = [
      sum(some, (row) => row.ms),
      sum(some, (row) => row.count),
      sum(some, (row) => row.translated),
    ] as const;
    return [...cells({ ms, count, translated }), mode, 'all of the mode'];
  });
  return [
    'Processor time of execution by symbol. A sample is taken every 20,000 instructions and behind stores to devices, and',
    'stands for the time since the one before; what belongs to no symbol is summed up by pages.',
    '',
    ...renderTable(COLUMNS, [...modes, ...rows.map((row) => [...cells(row), row.mode, row.name])]),
  ];
}

/** Stacks of one frame below the mode, with microseconds, as flame graph programs read them. */
export const foldedLines = (rows: readonly ProfileRow[]): string[] =>
  rows.map(({ mode, name, ms }) => `${mode};${name.replaceAll(';', ':')} ${Math.round(ms * 1000)}`);
