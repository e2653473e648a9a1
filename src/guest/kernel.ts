// The user's own kernel and initramfs, and how a riscv64 Linux kernel is told from other files.

import { open, stat } from 'node:fs/promises';
import { GuestImageError, systemErrorCode } from './errors.ts';

/**
 * True if a file begins with the header of a riscv64 Linux Image (Linux Documentation/arch/riscv/boot-image-header.rst):
 * 64 bytes, with the magic "RSC\x05" at offset 56.
 */
export function isLinuxImage(file: Uint8Array): boolean {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  return file.length >= 64 && view.getUint32(56, true) === 0x05435352;
}

/**
 * Checks that a file that the user named can be read and has something in it. What is in it is checked where it is
 * loaded into a guest.
 * @param option how the user named it, e.g. `--kernel`
 * @throws GuestImageError `unreadable-file`
 */
export async function checkOwnFile(option: string, path: string): Promise<void> {
  const refuse = (what: string, cause?: unknown) => {
    const right = `${option} takes the path of a file that can be read`;
    return new GuestImageError('unreadable-file', `${option} ${path}: ${what}; ${right}`, { cause });
  };
  try {
    const status = await stat(path);
    if (!status.isFile() && !status.isBlockDevice()) throw refuse('is not a file');
    if (status.isFile() && status.size === 0) throw refuse('is empty');
    await (await open(path, 'r')).close();
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined || error instanceof GuestImageError) throw error;
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: 'there is no such file',
      ENOTDIR: 'there is no such file',
      EACCES: 'may not be read',
    };
    throw refuse(reasons[code] ?? `cannot be read (${code})`, error);
  }
}
