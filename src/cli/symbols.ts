/** Names for guest-virtual addresses, from kernels, ELF files, System.map and /proc/kallsyms. */
import { readFileSync } from 'node:fs';
import { isElf, readElfSymbols } from '../firmware/elf.ts';
import { imageInMemory } from '../firmware/image-source.ts';
import { isLinuxImage, type KernelSymbol, readKallsyms } from '../guest/index.ts';
import { FileError, messageOf } from '../host/errors.ts';

/** A named address. */
export interface NamedAddress {
  readonly name: string;
  readonly address: bigint;
  /** Bytes; 0: up to the next symbol, but no more than LONGEST. */
  readonly size: bigint;
  /** Data has names so that code in front of it ends there. */
  readonly code: boolean;
}

/** An address as a symbol and the distance from its start. */
export interface Place {
  readonly name: string;
  readonly offset: bigint;
}

/** A symbol whose size is not known is no longer than this, bytes: behind the last one of a module there is a gap. */
const LONGEST = 0x1_0000n;

export const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Symbols of several files, looked up by address. */
export class SymbolTable {
  readonly #symbols: readonly NamedAddress[];
  readonly #addresses: BigUint64Array;

  constructor(symbols: readonly NamedAddress[]) {
    // Of several names of one address code comes last, and is found; of these the first one given.
    const order = symbols.map((symbol, i) => ({ symbol, i }));
    order.sort(
      (a, b) =>
        Number(a.symbol.address > b.symbol.address) - Number(a.symbol.address < b.symbol.address) ||
        Number(a.symbol.code) - Number(b.symbol.code) ||
        b.i - a.i,
    );
    this.#symbols = order.map(({ symbol }) => symbol);
    this.#addresses = BigUint64Array.from(this.#symbols, ({ address }) => address);
  }

  get length(): number {
    return this.#symbols.length;
  }

  /** The code that an address is in. */
  find(address: bigint): Place | undefined {
    // The first symbol behind the address.
    let low = 0;
    let high = this.#symbols.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = this.#symbols[low - 1];
    if (symbol === undefined || !symbol.code) return undefined;
    const offset = address - symbol.address;
    return offset < (symbol.size === 0n ? LONGEST : symbol.size) ? { name: symbol.name, offset } : undefined;
  }

  /** An address for people: `name+0x12`, or the number. */
  text(address: bigint): string {
    const place = this.find(address);
    if (place === undefined) return hex(address);
    return place.offset === 0n ? place.name : `${place.name}+${hex(place.offset)}`;
  }
}

/**
 * Reads the symbols of a file: an ELF file, a flat Linux image, or lines as of System.map or /proc/kallsyms.
 * @throws FileError, ImageError
 */
export function readSymbols(path: string): NamedAddress[] {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new FileError('symbols', path, `cannot be read (${messageOf(error)}); give a file that can`, {
      cause: error,
    });
  }
  if (isElf(bytes)) return elfSymbols(path, bytes);
  if (isLinuxImage(bytes)) {
    const symbols = readKallsyms(bytes);
    if (symbols !== undefined) return kernelSymbols(symbols);
    const problem = 'is a kernel without a table of symbols that can be found; give its System.map';
    throw new FileError('symbols', path, problem);
  }
  return textSymbols(path, new TextDecoder().decode(bytes));
}

const STT_OBJECT = 1;
const STT_FUNC = 2;

function elfSymbols(path: string, bytes: Uint8Array): NamedAddress[] {
  const symbols = readElfSymbols('symbols', imageInMemory(path, bytes))
    // Names that the tools make for themselves: of kinds of contents, and local labels.
    .filter(({ name, type, value }) => type <= STT_FUNC && value !== 0n && !/^(\$|\.L)/.test(name))
    .map(({ name, value, size, type, executable }) => ({
      name,
      address: value,
      size,
      code: executable && type !== STT_OBJECT,
    }));
  if (symbols.length === 0) {
    throw new FileError('symbols', path, 'has no symbols; give the file as it was before it was stripped');
  }
  return symbols;
}

/** The symbols that a kernel has of itself. */
export const kernelSymbols = (symbols: readonly KernelSymbol[]): NamedAddress[] =>
  symbols.map(({ name, type, address }) => ({ name, address, size: 0n, code: isCodeType(type) }));

const isCodeType = (type: string): boolean => /[TtWw]/.test(type);

/** Lines of an address, a type and a name, and the module in brackets. */
export function textSymbols(path: string, text: string): NamedAddress[] {
  const lines = text.split('\n').filter((line) => line !== '');
  const symbols = lines.map((line, i): NamedAddress => {
    const [, address, type, name, module] = /^([0-9a-f]{1,16}) (\S) (\S+)(?:\s+(\[\S+\]))?$/i.exec(line) ?? [];
    if (address === undefined || type === undefined || name === undefined) {
      const shown = line.length > 60 ? `${line.slice(0, 60)}...` : line;
      throw new FileError(
        'symbols',
        path,
        `line ${i + 1} is no symbol (${JSON.stringify(shown)}); give a System.map, the guest's /proc/kallsyms, a kernel or ELF`,
      );
    }
    const full = module === undefined ? name : `${name} ${module}`;
    return { name: full, address: BigInt(`0x${address}`), size: 0n, code: isCodeType(type) };
  });
  if (symbols.every(({ address }) => address === 0n)) {
    const problem = symbols.length === 0 ? 'is empty' : "has no addresses; read the guest's /proc/kallsyms as root";
    throw new FileError('symbols', path, problem);
  }
  return symbols.filter(({ name }) => !/^(\$|\.L)/.test(name));
}
