/** Which kernel and initial file system a guest of the command gets. */
// Not by the index, of which a start has use for a small part.
import { prepareGuestImage } from '../guest/image.ts';
import { prepareInitramfs } from '../guest/initramfs.ts';

/** Paths of what a guest boots. */
export interface BootFiles {
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * Debian's kernel and an initial file system, made on first use.
 * @param script what the guest does; a shell on its console without one
 * @throws GuestImageError
 */
export async function debianFiles(script?: string): Promise<BootFiles> {
  const image = await prepareGuestImage({ onProgress: (line) => process.stderr.write(`ballonet: ${line}\n`) });
  const initramfs = await prepareInitramfs(image, script === undefined ? {} : { script });
  return { kernel: image.kernelPath, initrd: initramfs.path };
}
