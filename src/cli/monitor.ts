/** The monitor of `ballonet run`: commands about the running guest. */

import { messageOf } from '../host/errors.ts';
import type { Guest } from '../host/guest.ts';
import type { Host } from '../host/host.ts';
import { formatSize } from '../host/size.ts';
import type { HostMemoryStatistics } from '../host/statistics.ts';
import { explanationLines } from './explain.ts';

interface Command {
  readonly usage: string;
  readonly help: string;
  run(monitor: Monitor, argument: string): string | Promise<string>;
}

const COMMANDS: Record<string, Command> = {
  'info memory': {
    usage: 'info memory',
    help: 'where the memory of the guest and of the host is',
    run: (monitor) => memoryReport(monitor.host, monitor.guest),
  },
  'info policy': {
    usage: 'info policy',
    help: 'why the guest has the memory that it has',
    run: async (monitor) => explanationLines(await monitor.host.explain(monitor.guest)).join('\n'),
  },
  balloon: {
    usage: 'balloon SIZE|auto',
    help: 'sets the size of the balloon (MiB without a unit), or leaves it to the policy',
    run(monitor, argument) {
      const size = /^\d+$/.test(argument) ? `${argument}M` : argument;
      monitor.guest.setBalloon(size === 'auto' ? 'auto' : size);
      return size === 'auto' ? 'the policy sets the balloon' : `the balloon is to have ${size}`;
    },
  },
  help: {
    usage: 'help',
    help: 'this list',
    run: () =>
      [...Object.values(COMMANDS), { usage: 'Ctrl-A c', help: 'back to the guest' }]
        .map(({ usage, help }) => `${usage.padEnd(20)}${help}`)
        .join('\n'),
  },
  quit: {
    usage: 'quit',
    help: 'ends the guest',
    run(monitor) {
      monitor.quit();
      return 'the guest is being ended';
    },
  },
};

/** Reads lines of commands and answers them. */
export class Monitor {
  readonly host: Host;
  readonly guest: Guest;
  /** Ends the guest. */
  readonly quit: () => void;
  #line = '';
  #answers = Promise.resolve();

  constructor(host: Host, guest: Guest, quit: () => void) {
    this.host = host;
    this.guest = guest;
    this.quit = quit;
  }

  /**
   * Takes typed bytes, in raw mode: echoes them by `print`, and runs a line when it is complete.
   * @param answered is called behind each answer
   */
  feed(bytes: Uint8Array, print: (text: string) => void, answered: () => void): void {
    for (const character of new TextDecoder().decode(bytes)) {
      if (character === '\r' || character === '\n') {
        print('\n');
        const line = this.#line;
        this.#line = '';
        // One after the other, though more may be typed meanwhile.
        this.#answers = this.#answers.then(async () => {
          const answer = await this.execute(line);
          if (answer !== '') print(`${answer}\n`);
          answered();
        });
      } else if (character === '\x7f' || character === '\b') {
        if (this.#line !== '') print('\b \b');
        this.#line = this.#line.slice(0, -1);
      } else if (character >= ' ') {
        this.#line += character;
        print(character);
      }
    }
  }

  /** The answer to one command line. */
  async execute(line: string): Promise<string> {
    const words = line.trim().split(/\s+/).join(' ');
    if (words === '') return '';
    for (const [name, command] of Object.entries(COMMANDS)) {
      if (words !== name && !words.startsWith(`${name} `)) continue;
      try {
        return await command.run(this, words.slice(name.length).trim());
      } catch (error) {
        return messageOf(error);
      }
    }
    return `"${words}" is no command; "help" lists them`;
  }
}

/** Amounts of memory by their names. */
function memoryReport(host: Host, guest: Guest): string {
  const { memory } = guest.statistics();
  const machine = host.statistics().memory;
  const lines: [string, string][] = [
    ['configured', formatSize(memory.configured)],
    ['resident', formatSize(memory.resident)],
    ['target', formatSize(memory.target)],
    [
      'balloon',
      `${formatSize(memory.balloon)} of ${formatSize(memory.balloonTarget)} (${memory.balloonManual ? 'by hand' : 'auto'}${memory.balloonDriver ? '' : ', no driver yet'})`,
    ],
    ['shared', formatSize(memory.shared)],
    ['swapped', formatSize(memory.swapped)],
    ['working set', formatSize(memory.workingSet)],
    [
      'faults',
      `${memory.counts.faults}, of them ${memory.counts.swapIns} from swap, ${memory.counts.decompressed} from compressed memory`,
    ],
    ['host', `${formatSize(machine.machineMemory)}, ${formatSize(machine.free)} free, state ${machine.state}`],
    [
      'compressed',
      `${formatSize(machine.compressed.pages)} in ${formatSize(machine.compressed.used)}, of at most ${formatSize(machine.compressed.limit)}`,
    ],
    ['swap file', swapReport(machine)],
  ];
  return lines.map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n');
}

function swapReport({ swapSize, swapFree, swapIo }: HostMemoryStatistics): string {
  const { reads, pagesRead, writes, pagesWritten } = swapIo;
  return swapSize === 0
    ? 'none'
    : `${formatSize(swapSize)}, ${formatSize(swapFree)} free; ${pagesWritten} pages written in ${writes} turns, ${pagesRead} read in ${reads}`;
}
