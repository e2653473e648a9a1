/** Resident memory of this process, from Linux's /proc. */
import { readFileSync } from 'node:fs';

/** A mapping of the process's addresses. Sizes in bytes. */
interface Mapping {
  readonly size: number;
  readonly resident: number;
  /** Machine code that the process has made: what WebAssembly and JavaScript are compiled to. */
  readonly isCode: boolean;
}

export interface Resident {
  /** Bytes of all but the machine's memory: how much of that has ever been touched is the guests' business. */
  readonly all: number;
  /** Bytes of machine code that the process has made. */
  readonly code: number;
}

function mappings(): Mapping[] {
  const found: Mapping[] = [];
  let head: Omit<Mapping, 'resident'> | undefined;
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)/.exec(line);
    if (range !== null) {
      const size = Number.parseInt(range[2]!, 16) - Number.parseInt(range[1]!, 16);
      head = { size, isCode: range[3]!.includes('x') && range[4] === '0' };
    }
    const resident = /^Rss:\s+(\d+) kB/.exec(line);
    if (resident !== null && head !== undefined) found.push({ ...head, resident: Number(resident[1]) * 1024 });
  }
  return found;
}

/**
 * @param machineMemory size of the machine's memory in bytes; undefined: there is none
 * @throws Error if there is no mapping of that size
 */
export function residentMemory(machineMemory?: number): Resident {
  const all = mappings();
  const own = all.filter(({ size }) => size !== machineMemory);
  if (machineMemory !== undefined && own.length === all.length) {
    throw new Error(`/proc/self/smaps has no mapping of ${machineMemory} bytes: where is the machine's memory?`);
  }
  const sum = (some: readonly Mapping[]): number => some.reduce((total, { resident }) => total + resident, 0);
  return { all: sum(own), code: sum(own.filter(({ isCode }) => isCode)) };
}
