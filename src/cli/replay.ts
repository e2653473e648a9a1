/** `ballonet replay`: what another policy would have done on a host that was recorded. */
import { readWhole } from '../host/files.ts';
import { formatSize } from '../index.ts';
import { createPolicy } from '../policy/policy.ts';
import { type ReplayResult, replay } from '../policy/replay.ts';
import { readTrace } from '../policy/trace.ts';
import { type PolicyOptions, policyOf } from './policy-options.ts';
import { type Column, renderTable } from './table.ts';

/** Options of the command, as commander gives them. */
export interface ReplayOptions extends PolicyOptions {
  readonly machineMemory?: number;
  readonly json?: boolean;
}

const PAGE = 4096;

const COLUMNS: readonly Column[] = [
  { heading: 'guest' },
  { heading: 'configured', right: true },
  { heading: 'memory', right: true },
  { heading: 'target', right: true },
  { heading: 'uses', right: true },
  { heading: 'first', right: true },
  { heading: 'misses', right: true },
  { heading: 'of uses', right: true },
  { heading: 'swapped in then', right: true },
];

/**
 * Prints what became of the guests, and returns the exit status of the command.
 * @throws FileError, TraceError
 */
export function replayTrace(path: string, options: ReplayOptions): number {
  const result = replay(readTrace(readWhole('trace', path)), {
    policy: createPolicy(policyOf(options)),
    ...(options.machineMemory === undefined ? {} : { machine: Math.floor(options.machineMemory / PAGE) }),
  });
  const text = options.json === true ? JSON.stringify(result) : replayLines(result).join('\n');
  process.stdout.write(`${text}\n`);
  return 0;
}

/** The result for people. */
export function replayLines(result: ReplayResult): string[] {
  const size = (pages: number): string => formatSize(Math.round(pages) * PAGE);
  const count = (pages: number): string => Math.round(pages).toString();
  const rows = result.guests.map((guest) => [
    guest.name,
    size(guest.configured),
    size(guest.memory),
    size(guest.target),
    count(guest.uses),
    count(guest.firstUses),
    count(guest.misses),
    guest.uses === 0 ? '' : `${((100 * guest.misses) / guest.uses).toFixed(2)}%`,
    count(guest.recordedSwapIns),
  ]);
  return [
    ...renderTable(COLUMNS, rows),
    '',
    `${count(result.misses)} misses in ${result.seconds.toFixed(0)} s on ${size(result.frames)} for guests; targets changed by ` +
      `${size(result.targetChanges)} in all.`,
    'Uses are of pages, once in each look; memory and target are means. Pages that are taken go at once, the one not used for',
    'longest first, and none are shared: compare with other policies on this trace, not with the recorded host.',
  ];
}
