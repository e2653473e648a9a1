/** Work in guests that wait at their shells. */
import type { Guest } from '../../src/host/guest.ts';

/** Processor time of the whole process since a moment (`process.cpuUsage()`), milliseconds: what others do on the machine is not in it. */
export function processorMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

/** Longest time that a command line may take, milliseconds. */
const WORK_MS = 200_000;

let lines = 0;

/**
 * Has a guest's shell execute a command line.
 * @returns what it printed, and the milliseconds from the typed line to its end
 */
export async function execute(guest: Guest, command: string): Promise<{ output: string; ms: number }> {
  const number = ++lines;
  const start = performance.now();
  // What is echoed of the typed line does not match what it prints.
  guest.console.write(`echo begin-$((${number})); ${command}; echo end-$((${number}))\n`);
  const match = await guest.console.until(
    new RegExp(`begin-${number}\\r?\\n([\\s\\S]*?)end-${number}\\r?\\n`),
    WORK_MS,
  );
  return { output: match[1]!.replaceAll('\r', ''), ms: performance.now() - start };
}
