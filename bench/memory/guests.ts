/** Guests with Debian's kernel that wait at the shell of busybox. */
import type { BootFiles } from '../../src/cli/images.ts';
import type { Guest } from '../../src/host/guest.ts';
import type { Host } from '../../src/host/host.ts';
import { DEFAULT_APPEND, type GuestOptions } from '../../src/host/options.ts';
import { MIB } from './experiment.ts';

/** Longest time until a guest is at its shell, milliseconds. */
const BOOT_MS = 240_000;
/** What the shell prints before it waits. */
export const PROMPT = /~ # /;
/**
 * What the kernel leaves out as it boots, a third of its instructions, because nothing in these guests uses it: the tests that a random
 * number generator makes of itself; the certificates of modules' signatures; names of enums for tracing; types of modules for BPF.
 */
const LEFT_OUT = ['jent_mod_init', 'load_system_certificate_list', 'trace_eval_init', 'btf_module_init'];
/** Words of the kernel's command line beside the default ones. */
const BOOT_WORDS = `quiet initcall_blacklist=${LEFT_OUT.join(',')}`;
/** Guests that boot at the same time: more would only wait for each other, and need more memory meanwhile. */
const AT_ONCE = 2;

/** Starts guests and waits until all of them are at their shells. `memoryMiB` is the configured memory of each. */
export async function idleGuests(
  host: Host,
  { kernel, initrd }: BootFiles,
  names: readonly string[],
  memoryMiB: number,
  options: Partial<GuestOptions> = {},
): Promise<Guest[]> {
  const guests: Guest[] = [];
  let next = 0;
  const starter = async (): Promise<void> => {
    while (next < names.length) {
      const place = next++;
      const guest = await host.start({
        name: names[place]!,
        memory: memoryMiB * MIB,
        kernel,
        initrd,
        append: `${DEFAULT_APPEND} ${BOOT_WORDS}`,
        ...options,
      });
      guests[place] = guest;
      await guest.console.until(PROMPT, BOOT_MS);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, starter));
  return guests;
}

/** Has a shell compute something. @returns milliseconds until its answer */
export async function answer(guest: Guest, number: number): Promise<number> {
  const start = performance.now();
  guest.console.write(`echo $((${number}+1))nd\n`);
  await guest.console.until(new RegExp(`${number + 1}nd`));
  return performance.now() - start;
}
