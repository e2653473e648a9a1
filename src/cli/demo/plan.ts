/** Who does what in the demonstration, and with which disks. */
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DiskOptions, GuestOptions } from '../../index.ts';
import type { BootFiles } from '../images.ts';
import { WORK_KINDS, type Work, workArguments, writtenText } from './expected.ts';
import { DISK_LABEL, FILE_BYTES } from './guest-script.ts';

/** One guest of the demonstration. */
export interface PlannedGuest {
  readonly name: string;
  readonly work: Work;
  /** Disk for file work and what was put on it, for the kind that has one. */
  readonly disk: { readonly path: string; readonly contents: Uint8Array } | undefined;
  readonly options: GuestOptions;
}

/** What the demonstration is asked for. */
export interface PlanOptions {
  readonly guests: number;
  /** Configured memory of each guest, bytes. */
  readonly memory: number;
  readonly rounds: number;
  readonly lines: number;
}

const MIB = 2 ** 20;
/** Part of the configured memory that the in-memory table takes at its largest: most of what a kernel leaves free. */
const HOLD = 0.62;
/** Idle time after growing and after shrinking, seconds. */
const PAUSE = 12;
/** Time by which each guest starts its work after the one before, seconds. */
const STAGGER = 2;
/** Size of the disk for file work, bytes; the host fills the first half. */
const DISK_BYTES = 4 * MIB;

/**
 * Plans the guests and makes their disks.
 * @param folder for the disks
 */
export function planGuests(options: PlanOptions, files: BootFiles, folder: string): PlannedGuest[] {
  return Array.from({ length: options.guests }, (_, i) => {
    const kind = WORK_KINDS[i % WORK_KINDS.length]!;
    const name = `${i + 1}-${kind}`;
    const hold = Math.max(FILE_BYTES / MIB, Math.floor((options.memory * HOLD) / MIB));
    const work: Work = {
      kind,
      seed: 1000 + 97 * i,
      lines: options.lines,
      rounds: options.rounds,
      hold,
      keep: Math.max(1, Math.floor((hold * MIB) / FILE_BYTES / 10)),
      pause: PAUSE,
      delay: STAGGER * i,
    };
    const disks: DiskOptions[] = [{ path: makeSwapDisk(join(folder, `swap-${i + 1}`), options.memory) }];
    let disk: PlannedGuest['disk'];
    if (kind === 'files') {
      const path = join(folder, `files-${i + 1}`);
      const contents = diskContents(work.seed);
      writeFileSync(path, contents);
      disk = { path, contents };
      disks.push({ path });
    }
    return {
      name,
      work,
      disk,
      options: {
        name,
        memory: options.memory,
        kernel: files.kernel,
        initrd: files.initrd,
        append: `console=ttyS0 quiet panic=-1 ${workArguments(work)}`,
        disks,
      },
    };
  });
}

/** What else is wrong with what a guest left behind, a sentence each. */
export function diskProblems(guest: PlannedGuest): string[] {
  if (guest.disk === undefined) return [];
  const now = readFileSync(guest.disk.path);
  const half = DISK_BYTES / 2;
  const problems: string[] = [];
  if (!now.subarray(0, half).equals(guest.disk.contents.subarray(0, half))) {
    problems.push('the first half of its disk, which it only reads, has changed');
  }
  const written = writtenText(guest.work);
  if (!now.subarray(half, half + written.length).equals(written)) {
    problems.push('what it wrote is not on its disk');
  }
  return problems;
}

function makeSwapDisk(path: string, size: number): string {
  const descriptor = openSync(path, 'wx', 0o600);
  writeSync(descriptor, 'for swap');
  closeSync(descriptor);
  truncateSync(path, size);
  return path;
}

/** A disk with the label and a pattern that depends on the seed in its first half. */
function diskContents(seed: number): Uint8Array {
  const contents = Buffer.alloc(DISK_BYTES);
  contents.write(DISK_LABEL, 0, 'latin1');
  let x = seed;
  for (let offset = 64; offset < DISK_BYTES / 2; offset += 4) {
    x = (x * 16807) % 2147483647;
    contents.writeUInt32LE(x, offset);
  }
  return contents;
}
