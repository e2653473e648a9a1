/** Extension names, lower case: single letters and multi-letter names such as `zba` and `sstc`. */
export type Extensions = readonly string[];

/** What the processor offers to a paravirtualized guest. */
export const EXTENSIONS: Extensions = [
  'i',
  'm',
  'a',
  'f',
  'd',
  'c',
  'zicntr',
  'zicsr',
  'zifencei',
  'zihintpause',
  'zba',
  'zbb',
  'zbs',
  'sstc',
  'svadu',
  'svvptc',
];

/** What it offers with full virtualization: timers go through the firmware and the ACLINT. */
export const EXTENSIONS_WITHOUT_SSTC: Extensions = EXTENSIONS.filter((name) => name !== 'sstc');

/** Canonical order of the letters (RISC-V unprivileged specification, chapter on extension naming). */
const LETTERS = 'imafdqlcbkjtpvnh';

/**
 * Extensions in canonical order: single letters; then `z` names by the letter of their category and by name; then
 * supervisor (`s`) and other ones by name.
 */
export function canonicalOrder(extensions: Extensions): string[] {
  const rank = (name: string): [number, number, string] => {
    if (name.length === 1) return [0, LETTERS.indexOf(name), name];
    if (name.startsWith('z')) return [1, LETTERS.indexOf(name[1]!), name];
    return [name.startsWith('s') ? 2 : 3, 0, name];
  };
  return [...new Set(extensions)].sort((a, b) => {
    const [classA, letterA, nameA] = rank(a);
    const [classB, letterB, nameB] = rank(b);
    return classA - classB || letterA - letterB || (nameA < nameB ? -1 : 1);
  });
}

/** The value of `riscv,isa`, for example `rv64imac_zicsr_sstc`. */
export function isaString(extensions: Extensions): string {
  const names = canonicalOrder(extensions);
  const letters = names.filter((name) => name.length === 1).join('');
  return ['rv64'.concat(letters), ...names.filter((name) => name.length > 1)].join('_');
}
