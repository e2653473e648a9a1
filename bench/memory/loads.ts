/** Guests whose use of memory is known: they run `programs/load.c`, and take orders at the console. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BootFiles } from '../../src/cli/images.ts';
import { prepareGuestImage, prepareInitramfs } from '../../src/guest/index.ts';
import type { Guest } from '../../src/host/guest.ts';
import type { Host } from '../../src/host/host.ts';
import { DEFAULT_APPEND, type GuestOptions, type HostOptions } from '../../src/host/options.ts';
import { temporaryFolder } from '../assemble.ts';
import { compilePrograms } from '../cpu/programs.ts';
import { MIB, type Surroundings } from './experiment.ts';

/** Longest time until a guest has filled its memory, milliseconds. */
const READY_MS = 240_000;
const ORDER_MS = 60_000;

/** Memory of a load, MiB. */
export interface LoadSize {
  /** Configured memory of the guest. */
  readonly memory: number;
  /** Memory of the program's own. */
  readonly anonymous: number;
  /** Part of a disk that the program maps; a balloon can press it out of the guest's page cache. */
  readonly file: number;
}

/** Kernel and initial file system of guests that run a load. */
export async function loadFiles({ anonymous, file }: LoadSize): Promise<BootFiles> {
  const programs = fileURLToPath(new URL('programs/', import.meta.url));
  const load = (await compilePrograms(['load'], programs)).get('load')!;
  const image = await prepareGuestImage();
  const disk = file > 0 ? ` /dev/vda ${file}` : '';
  const initramfs = await prepareInitramfs(image, {
    script: `stty -echo\nexec /bin/load ${anonymous}${disk}\n`,
    files: [{ path: 'bin/load', data: load, mode: 0o755 }],
  });
  return { kernel: image.kernelPath, initrd: initramfs.path };
}

/** A disk of contents that do not compress and that no other one has. @returns its path; it goes with the process */
export function randomDisk(sizeMiB: number): string {
  const path = join(temporaryFolder(), 'disk');
  const descriptor = openSync(path, 'wx', 0o600);
  const piece = new Uint8Array(65536);
  for (let i = 0; i < sizeMiB * 16; i++) {
    crypto.getRandomValues(piece);
    writeSync(descriptor, piece);
  }
  closeSync(descriptor);
  return path;
}

/** A guest with a load. */
export class LoadGuest {
  readonly guest: Guest;
  /** Pages used so far, and when the guest said so. */
  readonly #told: { readonly at: number; readonly used: number }[] = [];
  #rest = '';

  private constructor(guest: Guest) {
    this.guest = guest;
    const decoder = new TextDecoder();
    guest.console.onOutput((bytes) => {
      const lines = (this.#rest + decoder.decode(bytes, { stream: true })).split('\n');
      this.#rest = lines.pop()!;
      for (const line of lines) {
        const match = /used (\d+) /.exec(line);
        if (match !== null) this.#told.push({ at: performance.now(), used: Number(match[1]) });
      }
    });
  }

  /** Starts a guest; resolves when its memory is filled. */
  static async start(
    host: Host,
    name: string,
    size: LoadSize,
    files: BootFiles,
    options: Partial<GuestOptions> = {},
  ): Promise<LoadGuest> {
    const guest = await host.start({
      name,
      memory: size.memory * MIB,
      ...files,
      append: `${DEFAULT_APPEND} quiet`,
      disks: size.file > 0 ? [{ path: randomDisk(size.file), readOnly: true }] : [],
      ...options,
    });
    const load = new LoadGuest(guest);
    await guest.console.until(/ready/, READY_MS);
    return load;
  }

  /** Has the guest use a part of its memory, in percent; 0: none. */
  async work(percent: number): Promise<void> {
    const before = this.guest.console.tail.match(/(works|rests)/g)?.length ?? 0;
    this.guest.console.write(percent > 0 ? `work ${percent}\n` : 'rest\n');
    await this.guest.console.until(new RegExp(`((works|rests)[\\s\\S]*){${before + 1}}`), ORDER_MS);
  }

  /** Pages used in a second between two times (of performance.now). */
  rate(from: number, to: number): number {
    return ((this.#usedAt(to) - this.#usedAt(from)) * 1000) / (to - from);
  }

  #usedAt(time: number): number {
    const next = this.#told.findIndex(({ at }) => at >= time);
    if (next < 0) return this.#told.at(-1)?.used ?? 0;
    const [a, b] = [this.#told[next - 1], this.#told[next]!];
    if (a === undefined) return 0;
    // While it rests it tells nothing: what comes after a long silence was done in its last second.
    const start = Math.max(a.at, b.at - 1500);
    return time <= start ? a.used : a.used + ((b.used - a.used) * (time - start)) / (b.at - start);
  }
}

/** A moment of a run: what was used of the processor until then, and how long harts have waited for memory, milliseconds. */
export interface Moment {
  readonly at: number;
  readonly spent: number;
  readonly swapIns: number;
}

/** Takes a moment of guests. */
export function moment(loads: readonly LoadGuest[]): Moment {
  const { user, system } = process.cpuUsage();
  let spent = (user + system) / 1000;
  let swapIns = 0;
  for (const { guest } of loads) {
    const { counts } = guest.statistics().memory;
    spent += counts.stalledMs;
    swapIns += counts.swapIns + counts.decompressed;
  }
  return { at: performance.now(), spent, swapIns };
}

/**
 * Pages that guests use for each second of processor time of the whole process (the memory manager's and the translator's
 * included) or of waiting for memory: other work on the machine does not count as a loss. To be asked a second and a half behind
 * the last moment, as guests tell what they have used once a second.
 */
export function speedOf(loads: readonly LoadGuest[], from: Moment, to: Moment): number {
  const used = loads.reduce((sum, load) => sum + load.rate(from.at, to.at), 0) * (to.at - from.at);
  return used / (to.spent - from.spent);
}

/** Starts guests, some at a time. */
export async function startLoads(
  host: Host,
  names: readonly string[],
  size: LoadSize,
  files: BootFiles,
  options: Partial<GuestOptions> = {},
): Promise<LoadGuest[]> {
  const loads: LoadGuest[] = [];
  let next = 0;
  const starter = async (): Promise<void> => {
    while (next < names.length) {
      const place = next++;
      loads[place] = await LoadGuest.start(host, names[place]!, size, files, options);
    }
  };
  await Promise.all([starter(), starter()]);
  return loads;
}

/** Makes a host that has so much memory for guests, MiB, beside what it needs for itself. */
export async function hostWithFrames(
  { host: make, done }: Pick<Surroundings, 'host' | 'done'>,
  framesMiB: number,
  options: Omit<HostOptions, 'machineMemory'> = {},
): Promise<Host> {
  let machine = Math.ceil(framesMiB * 1.1 + 64) * MIB;
  for (;;) {
    const host = await make({ machineMemory: machine, ...options });
    const { machineMemory, overhead } = host.statistics().memory;
    const missing = framesMiB * MIB - (machineMemory - overhead);
    if (Math.abs(missing) < 2 * MIB) return host;
    await done(host);
    machine += Math.ceil(missing / MIB) * MIB;
  }
}
