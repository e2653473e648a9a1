// What can go wrong on the way to a guest's kernel and initramfs.

/** What kind of failure a {@link GuestImageError} is. */
export type GuestImageErrorCode =
  | 'tool-missing'
  | 'no-mirror'
  | 'no-network'
  | 'bad-signature'
  | 'damaged-download'
  | 'package-missing'
  | 'module-missing'
  | 'not-a-kernel'
  | 'disk'
  | 'apt-failed'
  | 'unreadable-file';

/** What to do instead, where getting Debian's packages failed. */
export const OWN_FILES_HINT = 'or pass your own kernel and initramfs: --kernel FILE --initrd FILE';

/** No guest image could be prepared. The message says what was wrong, with which file or package, and what to do. */
export class GuestImageError extends Error {
  override readonly name = 'GuestImageError';
  readonly code: GuestImageErrorCode;

  constructor(code: GuestImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The code of a system error (`ENOENT` and so on), or undefined if it is none. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
