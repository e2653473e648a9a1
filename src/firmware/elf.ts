import { describeContents, ImageError, type ImageRole } from './image-error.ts';
import { bytesOf, type ImageSource } from './image-source.ts';

/** One loadable piece: `bytes` go to `gpa`, and zeros follow up to `memorySize`. */
export interface ElfSegment {
  /** Guest-physical address (p_paddr). */
  readonly gpa: number;
  readonly bytes: Uint8Array;
  /** Bytes in memory (p_memsz). */
  readonly memorySize: number;
}

export interface ElfProgram {
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  /** Values of the symbols that were asked for and found. */
  readonly symbols: ReadonlyMap<string, number>;
}

/** An entry of a symbol table (System V ABI, 4.9). */
export interface ElfSymbol {
  readonly name: string;
  readonly value: bigint;
  /** 0: not known. */
  readonly size: bigint;
  /** STT_OBJECT is 1, STT_FUNC is 2. */
  readonly type: number;
  /** Whether it is defined in a section with instructions. */
  readonly executable: boolean;
}

const EM_RISCV = 243;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const SHF_EXECINSTR = 4;

/** Whether `bytes` begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * Reads a 64-bit little-endian RISC-V executable: what to load where, the entry, and the values of `wanted` symbols.
 * Throws {@link ImageError} if it is something else or cut off.
 */
export function readElf(role: ImageRole, source: ImageSource, wanted: readonly string[] = []): ElfProgram {
  const reader = open(role, source);
  const segments = readSegments(reader, reader.u64(32), reader.u16(54), reader.u16(56));
  if (segments.length === 0) {
    throw new ImageError(role, source.name, 'not an image', 'has nothing to load; pass a linked executable');
  }
  const symbols = new Map<string, number>();
  if (wanted.length > 0) {
    for (const { name, value } of symbolsIn(reader)) if (wanted.includes(name)) symbols.set(name, Number(value));
  }
  return { entry: reader.u64(24), segments, symbols };
}

/**
 * All named symbols of a 64-bit little-endian RISC-V file. None if it is stripped.
 * @throws ImageError if it is something else or cut off
 */
export const readElfSymbols = (role: ImageRole, source: ImageSource): ElfSymbol[] => [...symbolsIn(open(role, source))];

function open(role: ImageRole, source: ImageSource): Reader {
  const { name } = source;
  const bytes = bytesOf(source);
  if (!isElf(bytes)) {
    throw new ImageError(role, name, 'not an image', `is ${describeContents(bytes)}, not an ELF file`);
  }
  const reader = new Reader(role, name, bytes);
  reader.require(0, 64, 'header');
  if (bytes[4] !== 2 || bytes[5] !== 1) {
    throw new ImageError(role, name, 'wrong architecture', 'is not a 64-bit little-endian ELF file');
  }
  const machine = reader.u16(18);
  if (machine !== EM_RISCV) {
    throw new ImageError(role, name, 'wrong architecture', `is for machine ${machine}, not RISC-V (${EM_RISCV})`);
  }
  return reader;
}

function readSegments(reader: Reader, table: number, entrySize: number, count: number): ElfSegment[] {
  reader.require(table, entrySize * count, 'program headers');
  const segments: ElfSegment[] = [];
  for (let i = 0; i < count; i++) {
    const at = table + entrySize * i;
    const memorySize = reader.u64(at + 40);
    if (reader.u32(at) !== PT_LOAD || memorySize === 0) continue;
    const offset = reader.u64(at + 8);
    const fileSize = reader.u64(at + 32);
    reader.require(offset, fileSize, `segment ${i}`);
    segments.push({
      gpa: reader.u64(at + 24),
      bytes: reader.bytes.subarray(offset, offset + fileSize),
      memorySize: Math.max(memorySize, fileSize),
    });
  }
  return segments;
}

/**
 * A file without symbols is complete without them; so is one whose section headers were cut off on purpose (offset
 * 0).
 */
function* symbolsIn(reader: Reader): Generator<ElfSymbol> {
  const table = reader.u64(40);
  const entrySize = reader.u16(58);
  const count = reader.u16(60);
  if (table === 0) return;
  reader.require(table, entrySize * count, 'section headers');
  for (let i = 0; i < count; i++) {
    const section = table + entrySize * i;
    if (reader.u32(section + 4) !== SHT_SYMTAB) continue;
    const link = reader.u32(section + 40);
    if (link >= count) continue;
    const strings = table + entrySize * link;
    const stringsAt = reader.u64(strings + 24);
    const stringsSize = reader.u64(strings + 32);
    const at = reader.u64(section + 24);
    const size = reader.u64(section + 32);
    reader.require(stringsAt, stringsSize, 'symbol names');
    reader.require(at, size, 'symbol table');
    const names = reader.bytes.subarray(stringsAt, stringsAt + stringsSize);
    for (let symbol = at; symbol + 24 <= at + size; symbol += 24) {
      const name = text(names, reader.u32(symbol));
      if (name === '') continue;
      // Indices from 0xff00 on are no sections, 0 is that of symbols which are not defined.
      const index = reader.u16(symbol + 6);
      const executable =
        index > 0 && index < count && (reader.u64(table + entrySize * index + 8) & SHF_EXECINSTR) !== 0;
      const type = reader.bytes[symbol + 4]! & 15;
      yield { name, value: reader.exact(symbol + 8), size: reader.exact(symbol + 16), type, executable };
    }
  }
}

/** The zero-terminated ASCII string at `start`. */
function text(names: Uint8Array, start: number): string {
  let result = '';
  for (let i = start; i < names.length && names[i] !== 0; i++) result += String.fromCharCode(names[i]!);
  return result;
}

/** Little-endian fields; {@link require} has to come before what it covers. */
class Reader {
  readonly bytes: Uint8Array;
  #role: ImageRole;
  #name: string;
  #view: DataView;

  constructor(role: ImageRole, name: string, bytes: Uint8Array) {
    this.bytes = bytes;
    this.#role = role;
    this.#name = name;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Throws unless `[offset, offset + length)` is in the file. */
  require(offset: number, length: number, what: string): void {
    if (offset + length <= this.bytes.length) return;
    throw new ImageError(
      this.#role,
      this.#name,
      'truncated',
      `is cut off: its ${what} ends at byte ${offset + length}, the file has ${this.bytes.length}`,
    );
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  exact(offset: number): bigint {
    return this.#view.getBigUint64(offset, true);
  }

  /** As a number: beyond 2^53 it is not exact, and in no guest's memory either. */
  u64(offset: number): number {
    return Number(this.#view.getBigUint64(offset, true));
  }
}
