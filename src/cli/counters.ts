/** What a guest's engine has counted, as the table of `--counters` and as docs/counters.md. */
import { COUNTER_DEFINITIONS, type CounterName, type EngineTotals, FIGURES, type Figure } from '../index.ts';
import { type Column, renderTable } from './table.ts';

const COLUMNS: readonly Column[] = [
  { heading: 'counter' },
  { heading: 'value', right: true },
  { heading: 'per million', right: true },
  { heading: 'unit' },
  { heading: 'meaning' },
];

/** A counter's name in words: `dataMisses` is "data misses". */
export const inWords = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

/** All counters of a guest with their values by instructions, and the figures that follow from them. */
export function counterLines(totals: EngineTotals): string[] {
  const { instructions, busyMs, counters } = totals;
  const counts = Object.entries(COUNTER_DEFINITIONS).map(([name, { unit, meaning }]) => {
    const count = counters[name as CounterName];
    const rate = instructions === 0 ? '' : ((count / instructions) * 1e6).toFixed(1);
    return [inWords(name), String(count), rate, unit, meaning];
  });
  const figures = Object.entries<Figure>(FIGURES).map(([name, { unit, meaning, of }]) => {
    const value = of(totals);
    const text = Number.isInteger(value) ? String(value) : value.toFixed(3);
    return [inWords(name), Number.isFinite(value) ? text : '', '', unit, meaning];
  });
  return renderTable(COLUMNS, [
    ['instructions', String(instructions), '', 'instructions', 'retired'],
    ['busy', busyMs.toFixed(0), '', 'ms', 'in which instructions were executed'],
    ...counts,
    ...figures,
  ]);
}

/** The contents of docs/counters.md. */
export function countersDocument(): string {
  const table = (definitions: object): string[] => [
    '| name | in the library | unit | meaning |',
    '| --- | --- | --- | --- |',
    ...Object.entries<{ unit: string; meaning: string }>({ ...definitions }).map(
      ([name, { unit, meaning }]) => `| ${inWords(name)} | \`${name}\` | ${unit} | ${meaning} |`,
    ),
  ];
  return [
    '# Counters',
    '',
    "What a guest's harts count, as `ballonet run --counters` prints it at the end of a run and",
    '`guest.statistics().engine.counters` has it at any time, summed over harts.',
    '`node_modules/.bin/node scripts/write-docs.ts` writes this page from `src/engine/counters.ts`.',
    '',
    ...table(COUNTER_DEFINITIONS),
    '',
    '## Figures that follow from them',
    '',
    ...table(FIGURES),
    '',
  ].join('\n');
}
