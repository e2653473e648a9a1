/** One run of the benchmark's guest: boots it, watches that it gets on, and takes what it measured. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type GuestDescription, type MachineName, machineCommand, machineTitles } from '../machines.ts';
import type { Line } from './lines.ts';
import { GuestRunError, type Measured, type Moment, RunReader, type Spent, type Stage } from './run-reader.ts';

/** What a run came to. */
export interface GuestRun {
  readonly boot: Spent;
  readonly lines: readonly Measured[];
}

/** How often it is looked whether a guest gets on, milliseconds. */
const LOOK_MS = 250;

const stageName = (stage: Stage): string => (typeof stage === 'object' ? `line ${stage.line}` : `the ${stage}`);

/**
 * A guest's clock may differ from the clock outside by what it takes to start a process and to read the result; a
 * guest whose clock runs slow would look fast.
 * @throws GuestRunError
 */
export function checkClock({ name, seconds, outsideSeconds }: Measured): void {
  const [least, most] = [outsideSeconds * 0.8 - 1, outsideSeconds * 1.05 + 0.25];
  if (seconds >= least && seconds <= most) return;
  throw new GuestRunError(
    `line ${name} took ${seconds.toFixed(2)} s by the guest's clock and ${outsideSeconds.toFixed(2)} s by the clock outside`,
  );
}

/** Clock ticks in a second of /proc/PID/stat. */
const TICKS = 100;

/** What a process has spent of processors, all its threads together (proc_pid_stat(5)); undefined when it is gone. */
function cpuSeconds(pid: number | undefined): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is a name in parentheses, with whatever characters. utime and stime are fields 14 and 15.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return undefined;
  }
}

/**
 * Runs the lines in a guest.
 * @param guest its first disk holds the programs and the work
 * @param limitSeconds longest time that booting, or a single line, may take
 * @throws Error that names the machine and the line
 */
export async function runGuest(
  machine: MachineName,
  guest: GuestDescription,
  lines: readonly Line[],
  limitSeconds: number,
): Promise<GuestRun> {
  const { program, args } = machineCommand(machine, guest);
  const start = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const reader = new RunReader({ wall: start, cpu: 0 });
  const now = (): Moment => ({ wall: performance.now(), cpu: cpuSeconds(child.pid) ?? reader.since.cpu });
  let problem: string | undefined;
  const stop = (what: string): void => {
    problem ??= what;
    child.kill('SIGKILL');
  };
  const decoder = new TextDecoder('latin1');
  const read = (chunk: Buffer): void => {
    try {
      reader.feed(decoder.decode(chunk), now());
    } catch (error) {
      if (!(error instanceof GuestRunError)) throw error;
      stop(error.message);
    }
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const watch = setInterval(() => {
    if (performance.now() - reader.since.wall < limitSeconds * 1000) return;
    stop(`${stageName(reader.stage)} has not ended after ${limitSeconds} s`);
  }, LOOK_MS);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    problem ??= reader.failed;
    if (reader.stage !== 'end') problem ??= `the guest ended (status ${status}) in ${stageName(reader.stage)}`;
    else if (status !== 0) problem ??= `the guest ended with status ${status} after its work`;
    const missing = lines.find(({ name }, i) => reader.measured[i]?.name !== name);
    if (missing !== undefined) problem ??= `line ${missing.name} was not measured`;
    if (problem === undefined) for (const each of reader.measured) checkClock(each);
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  } finally {
    clearInterval(watch);
  }
  if (problem !== undefined) {
    throw new Error(`${machineTitles[machine]}: ${problem}; the output ends with\n${reader.tail.trimEnd()}`);
  }
  return { boot: reader.boot!, lines: reader.measured };
}
