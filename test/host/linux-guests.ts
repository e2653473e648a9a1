/** Linux guests for tests: Debian's kernel, and a shell that is given commands. */
import { type GuestFile, type InitramfsOptions, prepareGuestImage, prepareInitramfs } from '../../src/guest/index.ts';
import type { Guest, GuestOptions, Host } from '../../src/index.ts';

/** Time that a boot may take on a slow and busy machine, milliseconds. */
export const BOOT_MS = 240_000;

/** The shell's prompt; it asks the terminal where its cursor is. */
export const PROMPT = /# (?:\S\[6n)?$/;

/** Paths of Debian's kernel and an initial file system with a shell, or a script, as its work, and with more files. */
export async function linuxFiles(
  options: Pick<InitramfsOptions, 'script' | 'files'> = {},
): Promise<{ kernel: string; initrd: string }> {
  const image = await prepareGuestImage();
  const initramfs = await prepareInitramfs(image, options);
  return { kernel: image.kernelPath, initrd: initramfs.path };
}

/** A guest with a shell on its console. */
export class ShellGuest {
  readonly guest: Guest;
  #commands = 0;

  private constructor(guest: Guest) {
    this.guest = guest;
  }

  /** Starts a guest and waits for its shell. */
  static async start(
    host: Host,
    options: Omit<GuestOptions, 'kernel' | 'initrd'>,
    files: readonly GuestFile[] = [],
  ): Promise<ShellGuest> {
    const guest = await host.start({
      append: 'console=ttyS0 quiet panic=-1',
      ...(await linuxFiles({ files })),
      ...options,
    });
    await guest.console.until(PROMPT, BOOT_MS);
    return new ShellGuest(guest);
  }

  /** Runs a command line and returns what it printed. */
  async run(command: string, timeoutMs = BOOT_MS): Promise<string> {
    const number = ++this.#commands;
    // What is echoed of the typed line does not match what it prints.
    this.guest.console.write(`echo begin-$((${number})); ${command}; echo end-$((${number}))\n`);
    const match = await this.guest.console.until(
      new RegExp(`begin-${number}\\r?\\n([\\s\\S]*?)end-${number}\\r?\\n`),
      timeoutMs,
    );
    return match[1]!.replaceAll('\r', '');
  }

  /** A line of /proc/meminfo, bytes. */
  async memory(name: string): Promise<number> {
    const text = await this.run(`grep ^${name}: /proc/meminfo`);
    return Number(/(\d+) kB/.exec(text)?.[1]) * 1024;
  }
}

/** Looks again and again until `condition` holds; fails with `what` after `timeoutMs`. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
