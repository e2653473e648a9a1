export type ImageRole = 'kernel' | 'initrd' | 'firmware' | 'device tree' | 'symbols';

export type ImageProblem = 'truncated' | 'not an image' | 'wrong architecture' | 'does not fit' | 'overlap';

/** A kernel, initrd or firmware that can't be booted. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly role: ImageRole;
  readonly problem: ImageProblem;

  /** `why` says what was wrong and what would be right. */
  constructor(role: ImageRole, image: string, problem: ImageProblem, why: string) {
    super(`${role} ${image}: ${why}`);
    this.role = role;
    this.problem = problem;
  }
}

/** A number of bytes for people. */
export function sizeText(bytes: number): string {
  return bytes >= 1024 * 1024 ? `${(bytes / 1024 / 1024).toFixed(1)} MiB` : `${bytes} bytes`;
}

/** What a file that is not the wanted one seems to be. */
export function describeContents(bytes: Uint8Array): string {
  const starts = (...magic: number[]) => magic.every((byte, i) => bytes[i] === byte);
  if (bytes.length === 0) return 'an empty file';
  if (starts(0x1f, 0x8b)) return 'gzip-compressed';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a)) return 'xz-compressed';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd-compressed';
  if (starts(0x42, 0x5a, 0x68)) return 'bzip2-compressed';
  if (starts(0x7f, 0x45, 0x4c, 0x46)) return 'an ELF file';
  if (starts(0x4d, 0x5a)) return 'an EFI program';
  if (starts(0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e)) return 'an archive (a .deb is one)';
  if (starts(0x23, 0x21)) return 'a script';
  return 'of an unknown kind';
}
