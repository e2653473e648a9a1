/** QEMU with KSM: the kernel's own page sharing, on guests that boot the same files. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BootFiles } from '../../src/cli/images.ts';
import { machineCommand } from '../machines.ts';
import { PROMPT } from './guests.ts';

const KSM = '/sys/kernel/mm/ksm';
/** `run`: look at nothing and keep what is merged, merge, and undo it all. */
const [STOP, MERGE, UNDO] = ['0', '1', '2'];
/** Settings while it works: fast, and pages of zeros need no frame as they don't with us. */
const SETTINGS: Readonly<Record<string, string>> = {
  pages_to_scan: '20000',
  sleep_millisecs: '20',
  use_zero_pages: '1',
  max_page_sharing: '1024',
};
/** Time that a guest may take to come to its shell, milliseconds. */
const BOOT_MS = 120_000;
/** Times that every page is looked at before a measurement: KSM wants to see a page twice before it merges it. */
const ROUNDS = 4;
const ROUNDS_MS = 60_000;
const LOOK_MS = 250;

/** Why it can't be compared with, undefined if it can. */
export function ksmMissing(): string | undefined {
  try {
    accessSync(`${KSM}/run`, constants.W_OK);
    return undefined;
  } catch {
    return `${KSM}/run is not there or not to be written: the comparison wants Linux with KSM, and root`;
  }
}

const read = (name: string): string => readFileSync(`${KSM}/${name}`, 'utf8').trim();

/** Host memory that processes take, with shared pages divided among those that share them (proc(5), smaps_rollup), bytes. */
function proportionalSet(processes: readonly ChildProcess[]): number {
  return processes.reduce((sum, { pid }) => {
    const match = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return sum + Number(match![1]) * 1024;
  }, 0);
}

/** Waits until KSM has looked at every page some times. */
async function rounds(): Promise<void> {
  const until = Number(read('full_scans')) + ROUNDS;
  const start = performance.now();
  while (Number(read('full_scans')) < until) {
    if (performance.now() - start > ROUNDS_MS) throw new Error(`KSM has not come round ${ROUNDS} times`);
    await sleep(LOOK_MS);
  }
}

/** Starts a guest of QEMU's; resolves when it is at its shell. */
function startQemu(files: BootFiles, memoryMiB: number, children: ChildProcess[]): Promise<void> {
  const { program, args } = machineCommand('qemu', { ...files, memoryMiB });
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  children.push(child);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`a guest of QEMU's is not at its shell after ${BOOT_MS} ms`)),
      BOOT_MS,
    );
    let tail = '';
    child.stdout!.setEncoding('latin1').on('data', (chunk: string) => {
      tail = (tail + chunk).slice(-4096);
      if (!PROMPT.test(tail)) return;
      clearTimeout(timer);
      resolve();
    });
    child.on('error', reject);
    child.on('exit', () => reject(new Error("a guest of QEMU's has ended")));
  });
}

/** Host memory of QEMU's guests, bytes, by their number. */
export interface KsmMemory {
  readonly guests: number;
  /** Before and after KSM has merged their pages. */
  readonly bytes: number;
  readonly shared: number;
}

/**
 * Measures guests of QEMU's with KSM. KSM's settings are put back afterwards.
 * @param steps numbers of guests, rising
 */
export async function measureKsm(
  files: BootFiles,
  steps: readonly number[],
  memoryMiB: number,
  settleMs: number,
): Promise<KsmMemory[]> {
  const before = ['run', ...Object.keys(SETTINGS)].map((name) => [name, read(name)] as const);
  const children: ChildProcess[] = [];
  const measured: KsmMemory[] = [];
  try {
    set('run', STOP);
    for (const [name, value] of Object.entries(SETTINGS)) set(name, value);
    for (const guests of steps) {
      const boots: Promise<void>[] = [];
      while (children.length < guests) boots.push(startQemu(files, memoryMiB, children));
      await Promise.all(boots);
      await sleep(settleMs);
      const bytes = proportionalSet(children);
      set('run', MERGE);
      await rounds();
      measured.push({ guests, bytes, shared: proportionalSet(children) });
      set('run', UNDO);
    }
  } finally {
    for (const child of children) child.removeAllListeners('exit').kill('SIGKILL');
    for (const [name, value] of before.toReversed()) set(name, value);
  }
  return measured;
}

/** Some settings can be changed only while KSM has merged nothing, or are not there on older kernels. */
function set(name: string, value: string): void {
  try {
    writeFileSync(`${KSM}/${name}`, value);
  } catch {
    // Then it is as it was.
  }
}
