/**
 * Flattened device trees (Devicetree Specification 0.4, chapter 5; blob version 17).
 *
 *     header              10 words
 *     memory reservations pairs of u64, ended by a pair of zeros
 *     structure           tokens, each 4-byte aligned
 *     strings             property names, zero-terminated, each once
 */

/**
 * A property: a string, a list of strings, one cell, cells, a 64-bit number, bytes, or `true` for a property
 * that has no value.
 */
export type PropertyValue = string | readonly string[] | number | readonly number[] | bigint | Uint8Array | true;

export interface DeviceTreeNode {
  /** Name with unit address; empty for the root. */
  readonly name: string;
  readonly properties: Readonly<Record<string, PropertyValue>>;
  readonly children?: readonly DeviceTreeNode[];
}

export interface DeviceTreeOptions {
  /** The hart that boots (`boot_cpuid_phys`). */
  readonly bootHart?: number;
  /** Memory that the guest must not use, guest-physical bytes. */
  readonly reservations?: readonly { readonly base: number; readonly size: number }[];
}

const MAGIC = 0xd00d_feed;
const VERSION = 17;
const LAST_COMPATIBLE_VERSION = 16;
const HEADER_SIZE = 40;
const TOKEN = { BEGIN_NODE: 1, END_NODE: 2, PROP: 3, END: 9 } as const;

const encoder = new TextEncoder();

/** Splits a 64-bit number into two cells, high first. */
export function cells64(value: number): [number, number] {
  return [Math.floor(value / 2 ** 32), value % 2 ** 32];
}

/** Encodes the tree under `root` as a blob. */
export function encodeDeviceTree(root: DeviceTreeNode, options: DeviceTreeOptions = {}): Uint8Array {
  const structure = new Structure();
  structure.node(root);
  structure.word(TOKEN.END);
  const reservations = [...(options.reservations ?? []), { base: 0, size: 0 }];
  const strings = structure.strings;

  const reservationsAt = HEADER_SIZE;
  const structureAt = reservationsAt + 16 * reservations.length;
  const stringsAt = structureAt + structure.length;
  const total = stringsAt + strings.length;

  const blob = new Uint8Array(total);
  const view = new DataView(blob.buffer);
  const header = [
    MAGIC,
    total,
    structureAt,
    stringsAt,
    reservationsAt,
    VERSION,
    LAST_COMPATIBLE_VERSION,
    options.bootHart ?? 0,
    strings.length,
    structure.length,
  ];
  for (const [i, word] of header.entries()) view.setUint32(4 * i, word);
  for (const [i, { base, size }] of reservations.entries()) {
    view.setBigUint64(reservationsAt + 16 * i, BigInt(base));
    view.setBigUint64(reservationsAt + 16 * i + 8, BigInt(size));
  }
  blob.set(structure.bytes, structureAt);
  blob.set(strings, stringsAt);
  return blob;
}

/** The structure block while it grows, and the strings that it names. */
class Structure {
  #bytes: number[] = [];
  #strings: number[] = [];
  #stringOffsets = new Map<string, number>();

  get length(): number {
    return this.#bytes.length;
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  get strings(): Uint8Array {
    return Uint8Array.from(this.#strings);
  }

  word(value: number): void {
    this.#bytes.push((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
  }

  node(node: DeviceTreeNode): void {
    this.word(TOKEN.BEGIN_NODE);
    this.#append(encoder.encode(`${node.name}\0`));
    for (const [name, value] of Object.entries(node.properties)) {
      const bytes = encodeProperty(value);
      this.word(TOKEN.PROP);
      this.word(bytes.length);
      this.word(this.#stringOffset(name));
      this.#append(bytes);
    }
    for (const child of node.children ?? []) this.node(child);
    this.word(TOKEN.END_NODE);
  }

  #append(bytes: Uint8Array): void {
    for (const byte of bytes) this.#bytes.push(byte);
    while (this.#bytes.length % 4 !== 0) this.#bytes.push(0);
  }

  #stringOffset(name: string): number {
    const known = this.#stringOffsets.get(name);
    if (known !== undefined) return known;
    const offset = this.#strings.length;
    this.#strings.push(...encoder.encode(`${name}\0`));
    this.#stringOffsets.set(name, offset);
    return offset;
  }
}

function encodeProperty(value: PropertyValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return encoder.encode(`${value}\0`);
  if (typeof value === 'bigint') {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value);
    return bytes;
  }
  const list = typeof value === 'number' ? [value] : value;
  if (list.every((item) => typeof item === 'string')) return encoder.encode(list.map((item) => `${item}\0`).join(''));
  const bytes = new Uint8Array(4 * list.length);
  const view = new DataView(bytes.buffer);
  for (const [i, cell] of list.entries()) view.setUint32(4 * i, Number(cell));
  return bytes;
}
