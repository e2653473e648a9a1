/** Guests whose use of memory is known: they run `programs/load.c`, and take orders at the console. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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
/** Longest time until guests have given back what they are to. */
const LIMIT_MS = 60_000;
/** Longest time until balloons are empty when there is memory for all. */
const EMPTY_MS = 10_000;
/** A host is at rest when so few pages a second have come back from below its guests for some seconds. */
const REST_SWAP_INS = 100;
const REST_S = 3;

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

/** What a guest has said so far: pages used, microseconds that went into this, and those of them that went into the arithmetic. */
interface Told {
  readonly at: number;
  readonly pages: number;
  readonly worked: number;
  readonly arithmetic: number;
}

/** What a guest has done in a time. */
export type Done = Omit<Told, 'at'>;

/** A guest with a load. */
export class LoadGuest {
  readonly guest: Guest;
  readonly #told: Told[] = [];
  /** Orders that it has taken. */
  #answers = 0;
  #rest = '';

  private constructor(guest: Guest) {
    this.guest = guest;
    const decoder = new TextDecoder();
    guest.console.onOutput((bytes) => {
      const lines = (this.#rest + decoder.decode(bytes, { stream: true })).split('\n');
      this.#rest = lines.pop()!;
      for (const line of lines) {
        if (/^(works|rests)\r?$/.test(line)) this.#answers++;
        const match = /used (\d+) in (\d+), (\d+) /.exec(line);
        if (match === null) continue;
        const [pages, worked, arithmetic] = match.slice(1).map(Number) as [number, number, number];
        this.#told.push({ at: performance.now(), pages, worked, arithmetic });
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
  work(percent: number): Promise<void> {
    return this.#order(percent > 0 ? `work ${percent}` : 'rest');
  }

  /** Has the guest use all of its memory once, so that it has all of it and the host has no copies, and then none. */
  touch(): Promise<void> {
    return this.#order('touch');
  }

  async #order(line: string): Promise<void> {
    const answers = this.#answers + 1;
    const deadline = performance.now() + ORDER_MS;
    this.guest.console.write(`${line}\n`);
    while (this.#answers < answers) {
      if (performance.now() > deadline) {
        throw new Error(`guest ${this.guest.name} has not taken the order "${line}" in ${ORDER_MS / 1000} s`);
      }
      await sleep(10);
    }
  }

  /** What was done between two times (of performance.now): between the last reports before each of them. */
  done(from: number, to: number): Done {
    const none = { pages: 0, worked: 0, arithmetic: 0 };
    const [a, b] = [this.#lastBefore(from) ?? none, this.#lastBefore(to) ?? none];
    return { pages: b.pages - a.pages, worked: b.worked - a.worked, arithmetic: b.arithmetic - a.arithmetic };
  }

  #lastBefore(time: number): Told | undefined {
    return this.#told.findLast(({ at }) => at <= time);
  }
}

/** Pages that guests had to wait for as they were in swap, in the compressed pool, or dropped since a disk has them, so far. */
export function swapInsOf(loads: readonly LoadGuest[]): number {
  return loads.reduce((sum, { guest }) => {
    const { counts } = guest.statistics().memory;
    return sum + counts.swapIns + counts.decompressed;
  }, 0);
}

/** A moment of a run: when it was, and processor time until then, milliseconds. */
export interface Moment {
  readonly at: number;
  readonly managerMs: number;
  readonly guestsMs: number;
}

/** Takes a moment of a host. */
export async function moment(host: Host): Promise<Moment> {
  const { processorMs: managerMs } = await host.managerWork();
  const guestsMs = host.guests.reduce((sum, guest) => sum + guest.statistics().engine.processorMs, 0);
  return { at: performance.now(), managerMs, guestsMs };
}

/**
 * How fast guests work: pages used, in the time that their arithmetic takes. It is the part of the guests' time that goes into
 * arithmetic, of which there is the same amount for each page; the rest is what memory costs. Whatever else the machine does
 * takes time from both alike. The memory manager's processor time counts as cost of all guests. NaN if nothing was done.
 */
export function speedOf(loads: readonly LoadGuest[], from: Moment, to: Moment): number {
  let [worked, arithmetic] = [0, 0];
  for (const load of loads) {
    const done = load.done(from.at, to.at);
    worked += done.worked;
    arithmetic += done.arithmetic;
  }
  const [guests, manager] = [to.guestsMs - from.guestsMs, to.managerMs - from.managerMs];
  return ((arithmetic / worked) * guests) / (guests + manager);
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

/** Makes a host, and gives the memory for guests that it has, MiB. */
export async function hostFor(
  { host: make }: Pick<Surroundings, 'host'>,
  framesMiB: number,
  options: Omit<HostOptions, 'machineMemory'> = {},
): Promise<Host> {
  return make({ machineMemory: Math.ceil(framesMiB * 1.1 + 96) * MIB, ...options });
}

/** Limits the memory of a host's guests, MiB, and waits until they have given back what is more. */
export async function limit(host: Host, framesMiB: number): Promise<void> {
  await host.limitMemory(framesMiB * MIB);
  const start = performance.now();
  for (;;) {
    const { machineMemory, overhead, withheld } = host.statistics().memory;
    const left = machineMemory - overhead - withheld - framesMiB * MIB;
    if (left <= 0) return;
    if (performance.now() - start > LIMIT_MS) {
      throw new Error(`${(left / MIB).toFixed(0)} MiB are missing ${LIMIT_MS / 1000} s after the memory was limited`);
    }
    await sleep(50);
  }
}

/** Waits until a host has come to rest. @returns whether it has in the seconds that it was given */
export async function settle(loads: readonly LoadGuest[], seconds: number): Promise<boolean> {
  let before = swapInsOf(loads);
  let calm = 0;
  for (let second = 1; second <= seconds; second++) {
    await sleep(1000);
    const now = swapInsOf(loads);
    calm = now - before <= REST_SWAP_INS ? calm + 1 : 0;
    if (calm >= REST_S) return true;
    before = now;
  }
  return false;
}

/** Has guests have all of their memory, with none of it in balloons or in swap; they rest then. */
export async function fillMemory(host: Host, loads: readonly LoadGuest[]): Promise<void> {
  await host.setPolicy({});
  await host.limitMemory('all');
  await Promise.all(loads.map((load) => load.work(0)));
  const start = performance.now();
  while (host.statistics().memory.savings.balloon > 0 && performance.now() - start < EMPTY_MS) await sleep(100);
  await Promise.all(loads.map((load) => load.touch()));
}
