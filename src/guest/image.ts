// The guest image: Debian's kernel with the modules that guests need, and its static busybox, by content in the cache.

import { basename, join } from 'node:path';
import { cacheDirectory, namingCacheErrors } from './cache.ts';
import { digestOf, type Entry, makeOnce } from './entry.ts';
import type { PackageOptions } from './fetch-packages.ts';
import type { ModuleInfo } from './modules.ts';

/** Modules that an image has, with all that they need: virtio's devices, and file systems for a disk. */
export const IMAGE_MODULES: readonly string[] = [
  'virtio_mmio',
  'virtio_balloon',
  'virtio_blk',
  'virtio_rng',
  'virtio_net',
  'ext4',
  'squashfs',
  'overlay',
];

/** Raised when what is in an image folder changes, so that older ones are not taken for it. */
export const FORMAT = 3;

export const ARCHITECTURE = 'riscv64';

/** Debian release that packages come from if no other is asked for. */
export const SUITE = 'trixie';

/** A kernel module in an image. */
export interface ImageModule extends ModuleInfo {
  /** Absolute path of the module, not compressed. */
  readonly path: string;
}

/** A kernel and what initramfs images for it are made of. */
export interface GuestImage {
  /** Folder in the cache that holds it. */
  readonly folder: string;
  /** SHA-256, in hexadecimal, of what the image was made from. */
  readonly digest: string;
  /** Kernel release, as `uname -r` prints it in the guest. */
  readonly kernelVersion: string;
  /** Absolute path of the kernel, a flat Image (Linux Documentation/arch/riscv/boot-image-header.rst). */
  readonly kernelPath: string;
  /** Absolute path of a static busybox for the guest. */
  readonly busyboxPath: string;
  /** Modules in an order in which they can be loaded. */
  readonly modules: readonly ImageModule[];
  /** Debian packages that it comes from. */
  readonly packages: readonly { readonly name: string; readonly version: string }[];
}

export interface GuestImageOptions extends PackageOptions {
  /** Cache folder; by default {@link cacheDirectory}. */
  readonly cache?: string;
  /** Modules (with what they need) to have in the image; by default {@link IMAGE_MODULES}. */
  readonly modules?: readonly string[];
}

/** What the manifest of an image says. */
export interface Manifest {
  readonly kernelVersion: string;
  readonly packages: readonly { readonly name: string; readonly version: string; readonly sha256: string }[];
  readonly modules: readonly ModuleInfo[];
}

/**
 * Finds the guest image in the cache, or makes it: fetches the Debian packages `linux-image-riscv64` (and the kernel
 * package that this one leads to) and `busybox-static`. Made once; after that it takes milliseconds and asks nobody.
 * @throws GuestImageError
 */
export async function prepareGuestImage(options: GuestImageOptions = {}): Promise<GuestImage> {
  const { cache = cacheDirectory(), suite = SUITE, modules = IMAGE_MODULES } = options;
  const request = digestOf({ FORMAT, suite, modules, source: options.source ?? null }).slice(0, 16);
  const pointer = join(cache, 'images', `${suite}-${ARCHITECTURE}-${request}`);
  const entry = await namingCacheErrors(
    cache,
    async () =>
      await makeOnce(pointer, async (work, finished) => {
        // What a start from the cache has no use for is not loaded then.
        const { makeImage } = await import('./make-image.ts');
        return await makeImage(work, finished, modules, options);
      }),
  );
  return imageIn(entry);
}

function imageIn({ folder, manifest }: Entry<Manifest>): GuestImage {
  return {
    folder,
    digest: basename(folder),
    kernelVersion: manifest.kernelVersion,
    kernelPath: join(folder, 'vmlinux'),
    busyboxPath: join(folder, 'busybox'),
    modules: manifest.modules.map((info) => ({ ...info, path: join(folder, 'modules', `${info.name}.ko`) })),
    packages: manifest.packages.map(({ name, version }) => ({ name, version })),
  };
}
