// The initramfs of a guest: busybox, the kernel modules, and an init that runs a script or a shell on the console.

import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDirectory, namingCacheErrors, writeWhole } from './cache.ts';
import { GuestImageError } from './errors.ts';
import type { GuestImage } from './image.ts';
import { EXIT_MARK, initScript } from './init.ts';
import { loadOrder, normalModuleName } from './modules.ts';

export { EXIT_MARK };

/** A file to put into an initramfs besides what is always there. */
export interface GuestFile {
  /** Path in the guest, without a leading slash. */
  readonly path: string;
  readonly data: string | Uint8Array;
  /** Permissions; by default 644. */
  readonly mode?: number;
}

export interface InitramfsOptions {
  /**
   * Shell script that the guest runs as its work, on its console; the guest then prints a line of {@link EXIT_MARK} and
   * the script's exit status, and powers off. Without one the guest runs an interactive shell and powers off after it.
   */
  readonly script?: string;
  /** More files. */
  readonly files?: readonly GuestFile[];
  /** Modules of the image to load, with what they need; by default the virtio devices of {@link DEFAULT_MODULES}. */
  readonly modules?: readonly string[];
  /** The guest's host name. */
  readonly hostname?: string;
  /** Whether to compress it. A guest unpacks it faster if it is not, and needs more memory until it has. */
  readonly compress?: boolean;
  /** Cache folder; by default {@link cacheDirectory}. */
  readonly cache?: string;
}

/** Modules loaded unless others are asked for: the transport first, then the devices. */
export const DEFAULT_MODULES: readonly string[] = ['virtio_mmio', 'virtio_balloon', 'virtio_blk', 'virtio_rng'];

/** An initramfs in the cache. */
export interface Initramfs {
  /** Absolute path. */
  readonly path: string;
  /** Size in bytes. */
  readonly size: number;
}

/**
 * Makes the initramfs of a guest from its description, or finds it in the cache by its contents.
 * @throws GuestImageError if the image does not have a module that is asked for
 * @throws CpioPathError
 */
export async function prepareInitramfs(image: GuestImage, options: InitramfsOptions = {}): Promise<Initramfs> {
  const { cache = cacheDirectory(), compress = true } = options;
  const modules = loadOrder(
    options.modules ?? DEFAULT_MODULES,
    (name) => image.modules.find((module) => module.name === name),
    () => false,
    (name) => {
      const there = image.modules.map((module) => module.name).join(', ');
      return new GuestImageError('module-missing', `the guest image has no module ${name}; it has ${there}`);
    },
  ).map(({ name }) => normalModuleName(name));
  const { script, files = [], hostname = 'guest' } = options;

  const described = createHash('sha256').update(
    JSON.stringify([image.digest, modules, script ?? null, hostname, compress, initScript(hostname, modules)]),
  );
  for (const { path, data, mode } of files) {
    described.update(JSON.stringify([path, mode ?? null, data.length])).update(data);
  }
  const folder = join(cache, 'initramfs');
  const path = join(folder, `${described.digest('hex')}.cpio${compress ? '.gz' : ''}`);
  return await namingCacheErrors(cache, async () => {
    const there = await stat(path).catch(() => undefined);
    if (there?.isFile()) return { path, size: there.size };
    // What a start from the cache has no use for is not loaded then.
    const { buildInitramfs, initramfsEntries } = await import('./build-initramfs.ts');
    const entries = await initramfsEntries(image, modules, hostname, files, script);
    const archive = buildInitramfs(entries, compress);
    await mkdir(folder, { recursive: true });
    await writeWhole(path, archive);
    return { path, size: archive.length };
  });
}
