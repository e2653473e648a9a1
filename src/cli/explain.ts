/** `ballonet explain`: why guests of the running hosts have the memory that they have. */
import { formatSize, type GuestExplanation } from '../index.ts';
import { PAGING } from '../policy/explain.ts';
import { askHosts } from './control.ts';
import { type Column, renderTable } from './table.ts';

/** Options of the command, as commander gives them. */
export interface ExplainOptions {
  readonly host?: number;
  readonly json?: boolean;
}

const COLUMNS: readonly Column[] = [{ heading: '' }, { heading: '', right: true }];

/**
 * Prints the explanation of one guest, or of all, and returns the exit status of the command.
 * @throws OptionError when there is no such guest, or more than one
 */
export async function explain(guest: string | undefined, options: ExplainOptions): Promise<number> {
  const answers = await askHosts(guest, options.host);
  for (const { pid, explanation } of answers) {
    if (options.json === true) process.stdout.write(`${JSON.stringify({ host: pid, ...explanation })}\n`);
    else process.stdout.write(`${explanationLines(explanation).join('\n')}\n`);
  }
  return 0;
}

/** An explanation for people: the sentence, and what was taken so far. */
export function explanationLines(explanation: GuestExplanation): string[] {
  const { taken } = explanation;
  const rows: [string, number][] = [
    ['by its balloon', taken.balloon],
    ['reported as free', taken.reported],
    ['by sharing', taken.shared],
    ...Object.entries(PAGING).map(([reason, words]): [string, number] => [
      `by paging, as ${words}`,
      taken.paging[reason as keyof typeof PAGING],
    ]),
  ];
  const lines = rows.filter(([, bytes]) => bytes > 0).map(([name, bytes]) => [name, formatSize(bytes)]);
  const table = lines.length === 0 ? [] : ['taken so far:', ...renderTable(COLUMNS, lines).slice(1)];
  return [explanation.text, ...table];
}
