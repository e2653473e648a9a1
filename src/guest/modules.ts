// Linux kernel modules: what a module file says about itself, and the order in which modules have to be loaded.

/** What a module's `.modinfo` section says, as far as loading it needs it. */
export interface ModuleInfo {
  /** Name as the kernel has it: with `_` where the file's name may have `-`. */
  readonly name: string;
  /** Names of modules whose symbols it uses. */
  readonly depends: readonly string[];
  /** Names of modules that it works with if they are there (`softdep ... pre:`). */
  readonly softDepends: readonly string[];
}

/** A file that is not a kernel module for a 64-bit little-endian machine. */
export class ModuleFormatError extends Error {
  override readonly name = 'ModuleFormatError';
}

/** The kernel takes `-` and `_` in module names for the same. */
export function normalModuleName(name: string): string {
  return name.replaceAll('-', '_');
}

/** Field offsets of ELF-64 (System V gABI, "ELF Header" and "Section Header"). */
const ELF = { sectionHeaders: 0x28, sectionHeaderSize: 0x3a, sectionCount: 0x3c, nameTable: 0x3e } as const;
const SECTION = { name: 0x00, offset: 0x18, size: 0x20 } as const;

function section(file: Uint8Array, wanted: string): Uint8Array | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || view.getUint8(4) !== 2 || view.getUint8(5) !== 1) {
    throw new ModuleFormatError('not a 64-bit little-endian ELF file');
  }
  const part = (offset: number, length: number): Uint8Array => {
    if (offset + length > file.length) throw new ModuleFormatError('its sections lie outside of the file');
    return file.subarray(offset, offset + length);
  };
  const table = Number(view.getBigUint64(ELF.sectionHeaders, true));
  const size = view.getUint16(ELF.sectionHeaderSize, true);
  const count = view.getUint16(ELF.sectionCount, true);
  const headers = part(table, count * size);
  if (size < SECTION.size + 8) throw new ModuleFormatError('its section headers are too short');
  const contents = (index: number): Uint8Array => {
    if (index >= count) throw new ModuleFormatError('it has no table of section names');
    const header = new DataView(headers.buffer, headers.byteOffset + index * size, size);
    return part(Number(header.getBigUint64(SECTION.offset, true)), Number(header.getBigUint64(SECTION.size, true)));
  };
  const names = contents(view.getUint16(ELF.nameTable, true));
  for (let index = 0; index < count; index++) {
    const start = view.getUint32(table + index * size + SECTION.name, true);
    const end = names.indexOf(0, start);
    if (new TextDecoder().decode(names.subarray(start, end < 0 ? undefined : end)) === wanted) return contents(index);
  }
  return undefined;
}

/**
 * Reads what a module file (not compressed) says about itself.
 * @throws ModuleFormatError
 */
export function readModuleInfo(file: Uint8Array): ModuleInfo {
  const modinfo = section(file, '.modinfo');
  if (modinfo === undefined) throw new ModuleFormatError('it has no .modinfo section');
  const fields = new TextDecoder().decode(modinfo).split('\0');
  const values = (key: string) => fields.filter((f) => f.startsWith(`${key}=`)).map((f) => f.slice(key.length + 1));
  const [name] = values('name');
  if (name === undefined) throw new ModuleFormatError('its .modinfo section has no name');
  return {
    name: normalModuleName(name),
    depends: values('depends').flatMap(splitNames(',')),
    softDepends: values('softdep').flatMap((text) =>
      splitNames(' ')(/pre:([^:]*?)(?:post:.*)?$/.exec(text)?.[1] ?? '').map(cryptoModule),
    ),
  };
}

/** `crypto-NAME` is what every implementation of an algorithm answers to; the portable one is in NAME_generic. */
const cryptoModule = (name: string): string => name.replace(/^crypto_(.*)$/, '$1_generic');

const splitNames = (separator: string) => (text: string) =>
  text
    .split(separator)
    .map((name) => normalModuleName(name.trim()))
    .filter((name) => name !== '');

/**
 * The modules that the wanted ones need, themselves included, in an order in which each comes after what it needs.
 * Names that `find` does not know are left out if `ignore` says so (built into the kernel, or only a soft dependency).
 * @throws whatever `missing` throws for a module that is needed and not there
 */
export function loadOrder(
  wanted: readonly string[],
  find: (name: string) => ModuleInfo | undefined,
  isBuiltIn: (name: string) => boolean,
  missing: (name: string, neededBy: string | undefined) => Error,
): ModuleInfo[] {
  const order = new Map<string, ModuleInfo>();
  const visiting = new Set<string>();
  const visit = (name: string, neededBy: string | undefined, soft: boolean) => {
    // Modules do not need each other in a circle (the kernel could not load them); soft dependencies may.
    if (order.has(name) || visiting.has(name) || isBuiltIn(name)) return;
    const info = find(name);
    if (info === undefined) {
      if (soft) return;
      throw missing(name, neededBy);
    }
    visiting.add(name);
    for (const each of info.softDepends) visit(each, name, true);
    for (const each of info.depends) visit(each, name, false);
    visiting.delete(name);
    order.set(name, info);
  };
  for (const name of wanted) visit(normalModuleName(name), undefined, false);
  return [...order.values()];
}
