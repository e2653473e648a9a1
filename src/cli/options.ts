/** Every option of the command, defined once: its flags, its meaning, how its value is read. */
import { InvalidArgumentError, Option } from 'commander';
import { parseShares, parseStallLimit } from '../host/claim.ts';
import { messageOf } from '../host/errors.ts';
import { MAX_GUEST_HARTS } from '../host/options.ts';
import { parseShareDomain } from '../host/share-domain.ts';
import { parseSize } from '../host/size.ts';
import { DIVISORS } from '../memory/decision.ts';
import { DEFAULT_TARGETS, DEFAULT_TAX } from '../policy/policy.ts';
import { TRACES, type Trace } from './traces.ts';

/** An option whose value is read by `parse`; what it throws becomes the command's error. */
function option<T>(flags: string, description: string, parse?: (value: string, previous: T) => T, value?: T): Option {
  const made = new Option(flags, description);
  if (parse !== undefined) {
    made.argParser((text: string, previous: T) => {
      try {
        return parse(text, previous);
      } catch (error) {
        throw new InvalidArgumentError(messageOf(error));
      }
    });
  }
  return value === undefined ? made : made.default(value);
}

const MIB = 2 ** 20;
const size =
  (name: string) =>
  (text: string): number =>
    parseSize(text, name);
const positiveSize =
  (name: string) =>
  (text: string): number => {
    const bytes = parseSize(text, name);
    if (bytes === 0) throw new Error('give more than 0');
    return bytes;
  };
const whole =
  (smallest: number, largest: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < smallest || value > largest || text.trim() === '') {
      throw new Error(`give a whole number from ${smallest} to ${largest}`);
    }
    return value;
  };
const list = (text: string, previous: string[] | undefined): string[] => [...(previous ?? []), text];

/** Configured memory of a guest, bytes. */
export const memory = (value: number): Option =>
  option('--memory <size>', 'configured memory of a guest', positiveSize('memory'), value).default(
    value,
    `${value / MIB}M`,
  );
/** Harts of a guest. */
export const harts = (): Option =>
  option('--harts <number>', 'harts (virtual CPUs) of a guest', whole(1, MAX_GUEST_HARTS), 1);
export const name = (): Option => option('--name <name>', 'name of the guest');
export const shares = (): Option =>
  option('--shares <number>', "weight of the guest's claim to memory; default: 1000", parseShares);
export const minimum = (): Option =>
  option(
    '--minimum <size>',
    'memory that the guest is always left with; default: a quarter of --memory',
    size('minimum'),
  );
export const maximum = (): Option =>
  option('--maximum <size>', 'the most memory that the guest may have; default: --memory', positiveSize('maximum'));
export const stallLimit = (): Option =>
  option(
    '--stall-limit <percent>',
    'part of its time that the guest may wait for memory before it is spared; default: 100',
    parseStallLimit,
  );
export const shareDomain = (): Option =>
  option(
    '--share-domain <name>',
    'page sharing happens inside of a domain only; none, or zero-only: it does not at all',
    parseShareDomain,
  );
/** Machine memory of the host, bytes. */
export const machineMemory = (value?: number): Option => {
  const made = option(
    '--machine-memory <size>',
    'memory of the host that all guests share',
    positiveSize('machine-memory'),
  );
  return value === undefined ? made : made.default(value, `${value / MIB}M`);
};
export const swapFile = (): Option => option('--swap-file <path>', 'file that pages go to as a last resort');
export const swapSize = (): Option =>
  option('--swap-size <size>', 'size of the swap file, 0 for none', size('swap-size'));
/** As a part of the machine memory, 0 to 0.5. */
export const compressed = (): Option =>
  option(
    '--compressed <percent>',
    'part of the machine memory for compressed pages before they go to the swap file, 0 for none; default: 20',
    (text) => whole(0, 50)(text.replace(/%$/, '')) / 100,
  );
export const guests = (value: number, most = 64, what = 'number of guests'): Option =>
  option('--guests <number>', what, whole(1, most), value);
export const rounds = (value: number): Option =>
  option('--rounds <number>', 'times that each guest does its work', whole(1, 1000), value);
export const lines = (value: number): Option =>
  option('--lines <number>', 'lines of text that each guest works on in a round', whole(1, 1_000_000), value);
export const json = (): Option => option('--json', 'prints one JSON object instead of tables');
export const counters = (): Option =>
  option('--counters', "prints at the end what the guest's harts have counted, to standard error");
export const interpret = (): Option =>
  option('--interpret', 'interprets all guest code instead of translating what is hot');
export const trace = (): Option =>
  option<Trace[]>(
    '--trace <what>',
    `prints what becomes of hot code: ${TRACES.join(', ')}; several with commas between`,
    (text, previous) => [
      ...(previous ?? []),
      ...text.split(',').map((word) => {
        const found = TRACES.find((name) => name === word.trim());
        if (found === undefined) throw new Error(`${JSON.stringify(word)} is none of ${TRACES.join(', ')}`);
        return found;
      }),
    ],
  );
export const traceFile = (): Option => option('--trace-file <path>', 'file for the trace; default: standard error');
export const profile = (): Option =>
  option('--profile <path>', 'writes where the time goes by symbol; for flame graphs if the name ends in .folded');
export const symbols = (): Option =>
  option<string[]>(
    '--symbols <path>',
    "names for trace and profile: ELF file, System.map, /proc/kallsyms; the kernel's own are known (more than once for more)",
    list,
  );
export const kernel = (): Option => option('--kernel <path>', "flat Linux image; default: Debian's");
export const initrd = (): Option => option('--initrd <path>', 'initial file system; default: a shell');
export const append = (): Option => option('--append <words>', "the kernel's command line");
export const disk = (): Option =>
  option<string[]>('--disk <path>', 'raw disk image (more than once for more disks)', list);
export const overlay = (): Option =>
  option<string[]>('--overlay <path>', 'file that takes the writes to the disk of the same place in the list', list);
export const firmware = (): Option =>
  option('--firmware <path>', 'firmware, flat or ELF, that starts in M-mode: full virtualization');
export const noDevices = (): Option => option('--no-devices', 'no virtio devices');
export const policy = (): Option =>
  new Option('--policy <targets>', `by what memory is divided among guests; default: ${DEFAULT_TARGETS}`).choices(
    DIVISORS,
  );
export const tax = (): Option =>
  option('--tax <part>', `tax on idle memory, 0 up to but not 1; default: ${DEFAULT_TAX}`, (text) => {
    const value = Number(text);
    if (!(value >= 0 && value < 1) || text.trim() === '') throw new Error('give a number from 0 up to, but not 1');
    return value;
  });
export const record = (): Option =>
  option('--record <path>', 'file for what "ballonet replay" needs: how memory is used');
/** Of commands that ask a running host. */
export const host = (): Option =>
  option('--host <pid>', 'process of the host; default: all of them', whole(1, 2 ** 31 - 1));
/** Of the benchmarks. */
export const runs = (value: number): Option =>
  option('--runs <number>', 'times that each thing is measured', whole(1, 100), value);
