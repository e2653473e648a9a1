/** `ballonet run`: one guest whose console is the terminal. */
import { MAX_MACHINE_MEMORY } from '../host/options.ts';
import {
  type ClaimOptions,
  type DiskOptions,
  type Guest,
  type GuestExit,
  type GuestOptions,
  Host,
  OptionError,
} from '../index.ts';
import { openControl } from './control.ts';
import { Monitor } from './monitor.ts';
import type { Observation, ObserveOptions } from './observe.ts';
import { type PolicyOptions, policyOptions } from './policy-options.ts';
import { EscapeKeys, takeTerminal } from './terminal.ts';

/** Options of the command, as commander gives them. */
export interface RunOptions extends ObserveOptions, ClaimOptions, PolicyOptions {
  readonly record?: string;
  readonly memory: number;
  readonly name?: string;
  readonly harts: number;
  readonly shareDomain?: string;
  readonly machineMemory?: number;
  readonly swapFile?: string;
  readonly swapSize?: number;
  readonly compressed?: number;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly disk?: readonly string[];
  readonly overlay?: readonly string[];
  readonly firmware?: string;
  readonly devices: boolean;
  readonly interpret?: boolean;
  readonly counters?: boolean;
  readonly json?: boolean;
}

const PROMPT = '(ballonet) ';

/** What the VMM needs beside one guest's memory: tables, heap, and some frames to be at ease. */
const ROOM = 96 * 2 ** 20;

/** A guest's only hart is what its user waits for: where processors are short, the translator gets half of what that gets. */
const TRANSLATOR_NICENESS = 3;

/** Runs the guest to its end and returns the exit status of the command. */
export async function run(options: RunOptions): Promise<number> {
  const guestOptions = await guestOptionsOf(options);
  const observation = await observationOf(options, guestOptions.kernel);
  const machineMemory =
    options.machineMemory ?? Math.min(MAX_MACHINE_MEMORY, options.memory + (options.memory >> 3) + ROOM);
  await using host = await Host.create({
    machineMemory,
    ...(observation === undefined ? {} : { observe: observation.observe }),
    ...(options.swapFile === undefined ? {} : { swapFile: options.swapFile }),
    ...(options.swapSize === undefined ? {} : { swapSize: options.swapSize }),
    ...(options.compressed === undefined ? {} : { compressed: options.compressed }),
    ...policyOptions(options),
    translation: options.interpret !== true,
    translatorNiceness: options.harts > 1 ? 0 : TRANSLATOR_NICENESS,
  });
  const log = (message: string): void => void process.stderr.write(`ballonet: ${message}\r\n`);
  host.onLog = log;
  using _control = await openControl(host, log);
  const guest = await host.start(guestOptions);
  guest.onLog = log;
  observation?.attach(guest);
  const exit = await attend(host, guest, options.json === true);
  if (options.json === true) {
    const { memory, engine } = guest.statistics();
    process.stdout.write(`${JSON.stringify({ exit, memory, engine, console: guest.console.tail })}\n`);
  } else if (exit.reason === 'error' || exit.reason === 'panic') {
    log(`guest ${guest.name}: ${exit.reason}: ${exit.message ?? ''}`);
  }
  observation?.finish(guest);
  if (options.counters === true) {
    const { counterLines } = await import('./counters.ts');
    for (const line of counterLines(guest.statistics().engine)) process.stderr.write(`${line}\n`);
  }
  return processStatus(exit.status);
}

/** @throws OptionError, FileError, ImageError */
async function observationOf(options: RunOptions, kernel: string | undefined): Promise<Observation | undefined> {
  const { trace, traceFile, profile, symbols } = options;
  if (trace === undefined && traceFile === undefined && profile === undefined && symbols === undefined)
    return undefined;
  const { Observation } = await import('./observe.ts');
  return new Observation(options, kernel);
}

/** A process has 8 bits for its status: a failure must not look like a success. */
function processStatus(status: number): number {
  return status === 0 ? 0 : status & 0xff || 1;
}

/** @throws OptionError */
async function guestOptionsOf(options: RunOptions): Promise<GuestOptions> {
  const { kernel, initrd, append, firmware, disk = [], overlay = [] } = options;
  if (overlay.length > disk.length) {
    throw new OptionError(
      'overlay',
      `there are ${overlay.length} of them and ${disk.length} disks; give a disk for each`,
    );
  }
  const disks = disk.map(
    (path, i): DiskOptions => (overlay[i] === undefined ? { path } : { path, overlay: overlay[i] }),
  );
  // An ELF file as firmware is a program of its own; a flat one looks for a kernel.
  const program = firmware !== undefined && kernel === undefined && !options.devices;
  const files = program
    ? {}
    : kernel === undefined
      ? await defaultFiles(initrd)
      : { kernel, ...(initrd === undefined ? {} : { initrd }) };
  return {
    name: options.name ?? 'guest',
    memory: options.memory,
    harts: options.harts,
    ...claimOf(options),
    ...(options.shareDomain === undefined ? {} : { shareDomain: options.shareDomain }),
    ...files,
    ...(append === undefined ? {} : { append }),
    ...(firmware === undefined ? {} : { firmware }),
    devices: options.devices,
    disks,
  };
}

/** The options of the command that say what the guest claims of the memory. */
function claimOf({ shares, minimum, maximum, stallLimit }: RunOptions): ClaimOptions {
  return {
    ...(shares === undefined ? {} : { shares }),
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
    ...(stallLimit === undefined ? {} : { stallLimit }),
  };
}

async function defaultFiles(initrd: string | undefined): Promise<{ kernel: string; initrd: string }> {
  const { debianFiles } = await import('./images.ts');
  const files = await debianFiles();
  return { kernel: files.kernel, initrd: initrd ?? files.initrd };
}

/** Joins terminal and guest until the guest's end. */
async function attend(host: Host, guest: Guest, quiet: boolean): Promise<GuestExit> {
  const { stdout } = process;
  const print = (text: string): void => void stdout.write(text.replaceAll('\n', '\r\n'));
  const quit = (): void => void guest.kill();
  const monitor = new Monitor(host, guest, quit);
  // What the guest prints while the monitor has the screen comes after it.
  let held: Uint8Array[] = [];
  const keys = new EscapeKeys({
    input: (bytes) => guest.console.write(bytes),
    quit,
    openMonitor: () => print(`\n${PROMPT}`),
    closeMonitor() {
      print('\n');
      for (const output of held) stdout.write(output);
      held = [];
    },
    monitorInput(bytes) {
      monitor.feed(bytes, print, () => print(PROMPT));
    },
  });
  guest.console.onOutput((bytes) => {
    if (quiet) return;
    if (keys.monitor) held.push(bytes);
    else stdout.write(bytes);
  });
  const resize = (): void => {
    if (stdout.isTTY) guest.console.resize(stdout.columns, stdout.rows);
  };
  resize();
  stdout.on('resize', resize);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) process.once(signal, quit);
  const restore = takeTerminal(
    (bytes) => keys.feed(bytes),
    // The end of a piped input is not the end of the guest, which may have more to do.
    () => {},
  );
  try {
    return await guest.wait();
  } finally {
    restore();
    stdout.off('resize', resize);
    for (const output of held) stdout.write(output);
  }
}
