/** What a machine tells about a program when it has ended, and comparing two machines' words. */
import type { CsrName } from './csr.ts';
import {
  CODE,
  CODE_SIZE,
  DATA,
  DATA_SIZE,
  DELEGATED,
  PAGE,
  PAGE_TABLES,
  PAGE_TABLES_SIZE,
  TRAP_WORDS,
} from './layout.ts';

/** First word of every signature. */
export const MAGIC = 0x0062_616c_6c6f_6e65n;

/**
 * CSRs in the signature. A mask leaves only the bits whose value both machines have to agree on:
 * - mie: QEMU keeps the bits of the hypervisor's interrupts writable even without the H extension.
 * - mip: timer and external interrupts depend on time and devices; what programs set by software is compared.
 * - menvcfg: only FIOM; STCE and ADUE say what the machine has, and are 0 while programs run.
 */
export const SIGNATURE_CSRS: readonly { name: CsrName; mask?: bigint }[] = [
  { name: 'mstatus' },
  { name: 'mcause' },
  { name: 'mepc' },
  { name: 'mtval' },
  { name: 'medeleg' },
  { name: 'mideleg' },
  { name: 'mie', mask: 0xaaan },
  { name: 'mip', mask: 0x22an },
  { name: 'mcounteren', mask: 7n },
  { name: 'menvcfg', mask: 1n },
  { name: 'sstatus', mask: ~(3n << 32n) & ((1n << 64n) - 1n) },
  { name: 'stvec' },
  { name: 'scounteren', mask: 7n },
  { name: 'sscratch' },
  { name: 'sepc' },
  { name: 'scause' },
  { name: 'stval' },
  { name: 'satp' },
];

/** Page ranges of which the signature has a hash each page. */
export const HASHED_PAGES: readonly { name: string; address: number; pages: number }[] = [
  { name: 'code', address: CODE, pages: CODE_SIZE / PAGE },
  { name: 'data', address: DATA, pages: DATA_SIZE / PAGE },
  { name: 'page table', address: PAGE_TABLES, pages: PAGE_TABLES_SIZE / PAGE },
];

/** A signature: named words in the order in which they were sent. */
export interface Signature {
  number: number;
  words: readonly (readonly [name: string, value: bigint])[];
}

/** Names of the words behind magic, length and number, up to and with the trap count. */
const FIXED_NAMES: readonly string[] = [
  ...SIGNATURE_CSRS.map(({ name }) => name),
  ...Array.from({ length: 31 }, (_, n) => `x${n + 1}`),
  'fcsr',
  ...Array.from({ length: 32 }, (_, n) => `f${n}`),
  ...HASHED_PAGES.flatMap(({ name, pages }) => Array.from({ length: pages }, (_, n) => `${name} ${n} hash`)),
  'traps',
];

const TRAP_FIELDS = ['cause', 'pc', 'value', 'mstatus'] as const;

/** Takes the UART's bytes apart, up to where they are no whole signatures any more. */
export function* parseSignatures(output: Uint8Array): Generator<Signature> {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  for (let at = 0; output.length - at >= 24 && view.getBigUint64(at, true) === MAGIC; ) {
    const length = Number(view.getBigUint64(at + 8, true));
    if (length < 24 || length % 8 !== 0 || length > output.length - at) return;
    const start = at;
    yield nameWords(Array.from({ length: length / 8 }, (_, index) => view.getBigUint64(start + index * 8, true)));
    at += length;
  }
}

function nameWords(values: readonly bigint[]): Signature {
  const words: [string, bigint][] = [];
  let at = 3;
  for (const name of FIXED_NAMES) words.push([name, values[at++]!]);
  const traps = Number(values[at - 1]);
  for (let trap = 0; trap < traps; trap++) {
    for (let field = 0; field < TRAP_WORDS; field++) words.push([`trap ${trap} ${TRAP_FIELDS[field]}`, values[at++]!]);
  }
  for (let offset = 0; at < values.length; offset += 8) words.push([`data+0x${offset.toString(16)}`, values[at++]!]);
  return { number: Number(values[2]), words };
}

export interface Difference {
  name: string;
  expected: bigint | undefined;
  actual: bigint | undefined;
}

/**
 * Words in which two signatures differ, the most telling first: traps in their order (one trap more or less explains
 * all that follows), then registers, CSRs, memory.
 */
export function compareSignatures(expected: Signature, actual: Signature): Difference[] {
  const theirs = new Map(expected.words);
  const ours = new Map(actual.words);
  const differences: Difference[] = [];
  for (const name of new Set([...theirs.keys(), ...ours.keys()])) {
    const [a, b] = [theirs.get(name), ours.get(name)];
    if (a !== b) differences.push({ name, expected: a, actual: b });
  }
  const rank = ({ name }: Difference): number => {
    if (/^trap \d/.test(name)) return 0;
    if (/^(x|f)\d|^fcsr/.test(name)) return 1;
    return /hash$/.test(name) ? 3 : 2;
  };
  return differences.sort((a, b) => rank(a) - rank(b));
}

/** Text of a word for people; causes of traps that the supervisor took are marked. */
export function formatWord(value: bigint | undefined): string {
  if (value === undefined) return 'nothing';
  const delegated = (value & (DELEGATED * 3n)) === DELEGATED && (value & 0x3fff_ffff_ffff_ff00n) === 0n;
  return delegated ? `supervisor cause ${value & 0xffn}` : `0x${value.toString(16).padStart(16, '0')}`;
}
