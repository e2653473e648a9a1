/** What the demonstration shows while it runs. */
import type { GuestMemoryStatistics, HostStatistics } from '../../index.ts';
import { formatSize } from '../../index.ts';
import { type Column, LiveBlock, renderTable } from '../table.ts';
import type { GuestPhase } from './guest-report.ts';

/** A guest's line. */
export interface LiveGuest {
  readonly name: string;
  readonly state: string;
  readonly phase: GuestPhase;
  readonly memory: GuestMemoryStatistics | undefined;
}

const COLUMNS: readonly Column[] = [
  { heading: 'guest' },
  { heading: 'state' },
  { heading: 'does' },
  ...['configured', 'resident', 'target', 'balloon', 'shared', 'swapped', 'working set'].map(
    (heading): Column => ({ heading, right: true }),
  ),
];

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)}M`;

function doing({ phase, state }: LiveGuest): string {
  if (state === 'ended') return '';
  return phase.round === 0 ? phase.name : `${phase.name} ${phase.round}`;
}

/** The table of guests and the line of the host. */
export function liveLines(guests: readonly LiveGuest[], host: HostStatistics, seconds: number): string[] {
  const rows = guests.map((guest) => {
    const { memory } = guest;
    const running = memory !== undefined && guest.state !== 'ended';
    const { configured, resident, target, balloon, shared, swapped, workingSet } = memory ?? ({} as never);
    const sizes = running ? [configured, resident, target, balloon, shared, swapped, workingSet].map(mib) : [];
    return [guest.name, guest.state, doing(guest), ...sizes];
  });
  return [...renderTable(COLUMNS, rows), hostLine(host, seconds)];
}

/** The host in one line. */
export function hostLine({ memory }: HostStatistics, seconds: number): string {
  const { sharing, balloon, swap } = memory.savings;
  return (
    `host ${seconds.toFixed(0).padStart(3)} s: ${formatSize(memory.machineMemory)}, free ${mib(memory.free)}, state ${memory.state}, ` +
    `overcommit ${memory.overcommit.toFixed(2)}, saved: sharing ${mib(sharing)}, balloon ${mib(balloon)}, swap ${mib(swap)}`
  );
}

/** Time between two drawings on a terminal, and between two groups of plain lines; milliseconds. */
const TERMINAL_MS = 500;
const PLAIN_MS = 5000;

/** Shows what `lines` returns from time to time: in place on a terminal, one under the other elsewhere. */
export class LiveView {
  readonly #timer: NodeJS.Timeout;
  readonly #show: () => void;

  constructor(out: NodeJS.WriteStream, lines: () => string[]) {
    const block = out.isTTY ? new LiveBlock(out) : undefined;
    this.#show = () => {
      if (block === undefined) out.write(`${lines().join('\n')}\n`);
      else block.draw(lines());
    };
    this.#timer = setInterval(this.#show, block === undefined ? PLAIN_MS : TERMINAL_MS);
  }

  /** Shows the last state and ends. */
  end(): void {
    clearInterval(this.#timer);
    this.#show();
  }
}
