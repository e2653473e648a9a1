import { describeContents, ImageError } from './image-error.ts';
import { bytesOf, type ImageSource } from './image-source.ts';

/**
 * Header of a flat RISC-V kernel image (Linux, Documentation/arch/riscv/boot-image-header.rst), little endian:
 *
 *     +0  u32 code0        executable, "MZ" with an EFI stub
 *     +4  u32 code1
 *     +8  u64 text_offset  distance of the image from a 2 MiB aligned start of RAM
 *     +16 u64 image_size   bytes of memory it takes, .bss included
 *     +24 u64 flags        bit 0: big endian
 *     +32 u32 version      major in the high half word, minor in the low one
 *     +36 u32 reserved
 *     +40 u64 reserved
 *     +48 u64 magic        "RISCV\0\0\0", deprecated
 *     +56 u32 magic2       "RSC\x05"
 *     +60 u32              offset of the PE header with an EFI stub
 */
const HEADER_SIZE = 64;
/** Of the PE header without what is optional, and of an entry of its section table. */
const PE_HEADER_SIZE = 24;
const PE_SECTION_SIZE = 40;
const MAGIC = 0x5643_5349_52n;
const MAGIC2 = 0x0543_5352;
const ALIGNMENT = 2 * 1024 * 1024;

export interface LinuxImage {
  /** Distance from the start of RAM in bytes, a multiple of 2 MiB. */
  readonly textOffset: number;
  /** Bytes of memory that the kernel takes from there, at least the length of the file. */
  readonly imageSize: number;
}

/** Whether `bytes` begin with the header of a kernel image. */
export function isLinuxImage(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER_SIZE) return false;
  const view = dataView(bytes);
  return view.getUint32(56, true) === MAGIC2 || view.getBigUint64(48, true) === MAGIC;
}

/** Checks the header of a flat kernel image; throws {@link ImageError} if it is none, damaged or cut off. */
export function readLinuxImage(source: ImageSource): LinuxImage {
  const { name, size } = source;
  const header = bytesOf(source, 0, HEADER_SIZE);
  if (!isLinuxImage(header)) {
    throw new ImageError(
      'kernel',
      name,
      'not an image',
      `is ${describeContents(header)}, not a flat RISC-V kernel image; pass an uncompressed arch/riscv/boot/Image (Debian: vmlinux of linux-image-riscv64)`,
    );
  }
  const view = dataView(header);
  const textOffset = Number(view.getBigUint64(8, true));
  const imageSize = Number(view.getBigUint64(16, true));
  if ((view.getUint32(24, true) & 1) !== 0) {
    throw new ImageError('kernel', name, 'wrong architecture', 'is a big-endian kernel; pass a little-endian one');
  }
  if (textOffset % ALIGNMENT !== 0) {
    throw new ImageError(
      'kernel',
      name,
      'not an image',
      `is damaged: its text offset 0x${textOffset.toString(16)} is no multiple of 2 MiB`,
    );
  }
  const expected = fileLength(source, header);
  if (expected !== undefined && size < expected) {
    throw new ImageError(
      'kernel',
      name,
      'truncated',
      `is cut off: ${size} bytes of ${expected}; fetch or copy it again`,
    );
  }
  return { textOffset, imageSize: Math.max(imageSize, size) };
}

/**
 * Length that the file has to have. The header tells only the size in memory; with an EFI stub the sections of the PE
 * header say what is in the file. Undefined without one.
 */
function fileLength(source: ImageSource, header: Uint8Array): number | undefined {
  if (header[0] !== 0x4d || header[1] !== 0x5a) return undefined;
  const at = dataView(header).getUint32(60, true);
  if (at + PE_HEADER_SIZE > source.size) return at + PE_HEADER_SIZE;
  const pe = dataView(bytesOf(source, at, PE_HEADER_SIZE));
  if (pe.getUint32(0, true) !== 0x4550) return undefined;
  const sections = pe.getUint16(6, true);
  const tableAt = at + PE_HEADER_SIZE + pe.getUint16(20, true);
  let end = tableAt + PE_SECTION_SIZE * sections;
  if (end > source.size) return end;
  const table = dataView(bytesOf(source, tableAt, PE_SECTION_SIZE * sections));
  for (let i = 0; i < sections; i++) {
    const section = PE_SECTION_SIZE * i;
    end = Math.max(end, table.getUint32(section + 16, true) + table.getUint32(section + 20, true));
  }
  return end;
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
