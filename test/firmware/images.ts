/** Images made by hand for the loader's tests. */

export const RAM_BASE = 0x8000_0000;

export interface ImageOptions {
  readonly length?: number;
  readonly textOffset?: number;
  readonly imageSize?: number;
  readonly flags?: number;
  /** With an EFI stub, whose headers say how long the file is. */
  readonly efi?: boolean;
}

/** A flat kernel image with a valid header. */
export function linuxImage(options: ImageOptions = {}): Uint8Array {
  const { length = 0x1000, textOffset = 0x20_0000, imageSize = 0x3000, flags = 0, efi = false } = options;
  const bytes = new Uint8Array(length).fill(0x13, 64);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8, BigInt(textOffset), true);
  view.setBigUint64(16, BigInt(imageSize), true);
  view.setUint32(24, flags, true);
  view.setUint32(32, 2, true);
  view.setBigUint64(48, 0x5643_5349_52n, true);
  view.setUint32(56, 0x0543_5352, true);
  if (efi) {
    bytes.set([0x4d, 0x5a]);
    view.setUint32(60, 64, true);
    view.setUint32(64, 0x4550, true);
    view.setUint16(64 + 6, 1, true); // one section
    view.setUint16(64 + 20, 16, true); // optional header
    const section = 64 + 24 + 16;
    view.setUint32(section + 16, length - 512, true); // SizeOfRawData
    view.setUint32(section + 20, 512, true); // PointerToRawData
  }
  return bytes;
}

export interface ElfOptions {
  readonly machine?: number;
  readonly class?: number;
  readonly entry?: number;
  readonly segments?: readonly { readonly gpa: number; readonly bytes: Uint8Array; readonly memorySize?: number }[];
  readonly symbols?: Readonly<Record<string, number>>;
}

/** A 64-bit executable: header, program headers, contents, then symbol table and section headers. */
export function elfFile(options: ElfOptions = {}): Uint8Array {
  const { machine = 243, entry = RAM_BASE, segments = [], symbols } = options;
  let offset = 64 + 56 * segments.length;
  const contents = segments.map((segment) => {
    const at = offset;
    offset += segment.bytes.length;
    return { ...segment, at };
  });
  const names = symbols === undefined ? [] : Object.keys(symbols);
  const strings = new TextEncoder().encode(`\0${names.map((name) => `${name}\0`).join('')}`);
  const stringsAt = offset;
  const symbolsAt = stringsAt + strings.length;
  const sectionsAt = symbolsAt + 24 * (names.length + 1);
  const bytes = new Uint8Array(symbols === undefined ? offset : sectionsAt + 64 * 3);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, options.class ?? 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, machine, true);
  view.setBigUint64(24, BigInt(entry), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  for (const [i, { gpa, bytes: data, memorySize = data.length, at }] of contents.entries()) {
    const header = 64 + 56 * i;
    view.setUint32(header, 1, true);
    view.setBigUint64(header + 8, BigInt(at), true);
    view.setBigUint64(header + 16, 0xffff_ffff_8000_0000n, true); // virtual: not where it is loaded
    view.setBigUint64(header + 24, BigInt(gpa), true);
    view.setBigUint64(header + 32, BigInt(data.length), true);
    view.setBigUint64(header + 40, BigInt(memorySize), true);
    bytes.set(data, at);
  }
  if (symbols === undefined) return bytes;
  view.setBigUint64(40, BigInt(sectionsAt), true);
  view.setUint16(58, 64, true);
  view.setUint16(60, 3, true);
  bytes.set(strings, stringsAt);
  let name = 1;
  for (const [i, symbol] of names.entries()) {
    view.setUint32(symbolsAt + 24 * (i + 1), name, true);
    view.setBigUint64(symbolsAt + 24 * (i + 1) + 8, BigInt(symbols[symbol]!), true);
    name += symbol.length + 1;
  }
  const section = (index: number, type: number, at: number, size: number, link: number) => {
    view.setUint32(sectionsAt + 64 * index + 4, type, true);
    view.setBigUint64(sectionsAt + 64 * index + 24, BigInt(at), true);
    view.setBigUint64(sectionsAt + 64 * index + 32, BigInt(size), true);
    view.setUint32(sectionsAt + 64 * index + 40, link, true);
  };
  section(1, 2, symbolsAt, 24 * (names.length + 1), 2);
  section(2, 3, stringsAt, strings.length, 0);
  return bytes;
}
