/** What the demonstration has to say at its end: a verdict, and where the pages went. */
import type { GuestExit, GuestMemoryStatistics, HostStatistics } from '../../index.ts';
import { formatSize } from '../../index.ts';
import { type Column, renderTable } from '../table.ts';

/** How one guest came out. */
export interface GuestOutcome {
  readonly name: string;
  readonly kind: string;
  readonly exit: GuestExit;
  /** Results that agree with the computation outside, and how many there should be. */
  readonly right: number;
  readonly expected: number;
  /** What is wrong, a sentence each; empty when all is right. */
  readonly problems: readonly string[];
  readonly results: Readonly<Record<string, string>>;
  /** From its start to its end, seconds. */
  readonly seconds: number;
  readonly instructions: number;
  readonly memory: GuestMemoryStatistics;
}

/** Extremes that were seen while the guests ran; bytes. */
export class Peaks {
  sharing = 0;
  balloon = 0;
  swap = 0;
  lowestFree = Number.POSITIVE_INFINITY;
  /** States that the host was in, with how often it was seen in each. */
  readonly states: Record<string, number> = {};

  observe({ memory }: HostStatistics): void {
    this.sharing = Math.max(this.sharing, memory.savings.sharing);
    this.balloon = Math.max(this.balloon, memory.savings.balloon);
    this.swap = Math.max(this.swap, memory.savings.swap);
    this.lowestFree = Math.min(this.lowestFree, memory.free);
    this.states[memory.state] = (this.states[memory.state] ?? 0) + 1;
  }
}

/** The whole outcome, as `--json` prints it. Amounts in bytes, pages as counts. */
export interface DemoAccount {
  readonly verdict: 'right' | 'wrong';
  readonly guests: readonly GuestOutcome[];
  readonly machineMemory: number;
  readonly configured: number;
  readonly overcommit: number;
  readonly seconds: number;
  /** Pages that each technique took back. */
  readonly reclaimed: {
    readonly sharing: number;
    readonly balloon: number;
    readonly reporting: number;
    readonly swap: number;
  };
  /** Pages that there would have been more without sharing, at most. */
  readonly savedBySharing: number;
  readonly peaks: Peaks;
  readonly faults: number;
  readonly copies: number;
  readonly swapOuts: number;
  readonly swapIns: number;
  readonly starvedMs: number;
}

const PAGE = 4096;

/** @param host what the host was given and configured for, at its fullest */
export function makeAccount(
  guests: readonly GuestOutcome[],
  host: { readonly machineMemory: number; readonly configured: number },
  peaks: Peaks,
  seconds: number,
): DemoAccount {
  const sum = (pick: (counts: GuestMemoryStatistics['counts']) => number): number =>
    guests.reduce((total, guest) => total + pick(guest.memory.counts), 0);
  return {
    verdict: guests.every((guest) => guest.problems.length === 0) ? 'right' : 'wrong',
    guests,
    machineMemory: host.machineMemory,
    configured: host.configured,
    overcommit: host.configured / host.machineMemory,
    seconds,
    reclaimed: {
      sharing: sum((counts) => counts.merged),
      balloon: sum((counts) => counts.ballooned),
      reporting: sum((counts) => counts.reported),
      swap: sum((counts) => counts.paged),
    },
    savedBySharing: peaks.sharing / PAGE,
    peaks,
    faults: sum((counts) => counts.faults),
    copies: sum((counts) => counts.copies),
    swapOuts: sum((counts) => counts.swapOuts),
    swapIns: sum((counts) => counts.swapIns),
    starvedMs: sum((counts) => counts.starvedMs),
  };
}

const GUEST_COLUMNS: readonly Column[] = [
  { heading: 'guest' },
  { heading: 'end' },
  { heading: 'results', right: true },
  { heading: 'seconds', right: true },
  { heading: 'MIPS', right: true },
  { heading: 'faults', right: true },
  { heading: 'merged', right: true },
  { heading: 'ballooned', right: true },
  { heading: 'reported', right: true },
  { heading: 'swapped out', right: true },
  { heading: 'swapped in', right: true },
];

/** The account for people. */
export function accountLines(account: DemoAccount): string[] {
  const rows = account.guests.map((guest) => {
    const { counts } = guest.memory;
    return [
      guest.name,
      guest.exit.reason,
      `${guest.right}/${guest.expected}`,
      guest.seconds.toFixed(1),
      (guest.instructions / guest.seconds / 1e6).toFixed(0),
      ...[counts.faults, counts.merged, counts.ballooned, counts.reported, counts.paged, counts.swapIns].map(String),
    ];
  });
  const pages = (count: number): string => `${count} pages (${formatSize(count * PAGE)})`;
  const { reclaimed, peaks } = account;
  const lines: [string, string][] = [
    [
      'machine memory',
      `${formatSize(account.machineMemory)} for ${formatSize(account.configured)} configured, overcommit ${account.overcommit.toFixed(2)}`,
    ],
    ['reclaimed by sharing', pages(reclaimed.sharing)],
    ['reclaimed by the balloon', `${pages(reclaimed.balloon)}, and ${pages(reclaimed.reporting)} reported free`],
    ['reclaimed by swapping', `${pages(reclaimed.swap)}, ${account.swapOuts} written`],
    ['saved by sharing', `${pages(account.savedBySharing)} at most`],
    [
      'balloons, swap',
      `${formatSize(peaks.balloon)} and ${formatSize(peaks.swap)} at most; free memory ${formatSize(peaks.lowestFree)} at least`,
    ],
    ['faults', `${account.faults}, of them ${account.swapIns} swap-ins and ${account.copies} copies on write`],
    [
      'states seen',
      Object.entries(peaks.states)
        .map(([state, times]) => `${state} ${times}`)
        .join(', '),
    ],
    ['time', `${account.seconds.toFixed(1)} s, waiting for memory ${(account.starvedMs / 1000).toFixed(1)} s`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  const problems = account.guests.flatMap((guest) =>
    guest.problems.map((problem) => `  guest ${guest.name}: ${problem}`),
  );
  const right = account.guests.reduce((total, guest) => total + guest.right, 0);
  const expected = account.guests.reduce((total, guest) => total + guest.expected, 0);
  return [
    '',
    ...renderTable(GUEST_COLUMNS, rows),
    '',
    ...lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    '',
    `verdict: ${account.verdict === 'right' ? 'all right' : 'WRONG'}, ${right} of ${expected} results of ${account.guests.length} guests agree with the computation outside`,
    ...problems,
  ];
}
