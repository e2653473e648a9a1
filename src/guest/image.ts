// The guest image: Debian's kernel with the modules that guests need, and its static busybox, by content in the cache.

import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import xz from 'xz-decompress';
import { AptRoot, debianSourceLine, type PackageRecord } from './apt.ts';
import { cacheDirectory, namingCacheErrors } from './cache.ts';
import { digestOf, type Entry, type Made, makeOnce, readIfThere } from './entry.ts';
import { GuestImageError, OWN_FILES_HINT } from './errors.ts';
import { isLinuxImage } from './kernel.ts';
import { loadOrder, type ModuleInfo, normalModuleName, readModuleInfo } from './modules.ts';

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
const FORMAT = 3;

const ARCHITECTURE = 'riscv64';

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

export interface GuestImageOptions {
  /** Cache folder; by default {@link cacheDirectory}. */
  readonly cache?: string;
  /** Debian release. */
  readonly suite?: string;
  /** Where packages come from, as a line of sources.list(5); by default the machine's own Debian mirror. */
  readonly source?: string;
  /** Modules (with what they need) to have in the image; by default {@link IMAGE_MODULES}. */
  readonly modules?: readonly string[];
  /** Is told, in a line each, what takes time. */
  readonly onProgress?: (line: string) => void;
}

/** What the manifest of an image says. */
interface Manifest {
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
  const { cache = cacheDirectory(), suite = 'trixie', modules = IMAGE_MODULES } = options;
  const request = digestOf({ FORMAT, suite, modules, source: options.source ?? null }).slice(0, 16);
  const pointer = join(cache, 'images', `${suite}-${ARCHITECTURE}-${request}`);
  const entry = await namingCacheErrors(
    cache,
    async () =>
      await makeOnce(pointer, (work, finished) =>
        makeImage(work, finished, options.source, suite, modules, options.onProgress),
      ),
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

/** Fetches the packages and puts the image's files in `finished`. */
async function makeImage(
  work: string,
  finished: string,
  source: string | undefined,
  suite: string,
  wantedModules: readonly string[],
  onProgress: ((line: string) => void) | undefined,
): Promise<Made<Manifest>> {
  const line = source ?? (await debianSourceLine(suite, ARCHITECTURE));
  onProgress?.(`fetching the package lists of Debian ${suite} for ${ARCHITECTURE}`);
  const apt = await AptRoot.create(join(work, 'apt'), ARCHITECTURE, line);
  await apt.update();
  const kernel = await kernelPackage(apt);
  const busybox = await apt.show('busybox-static');
  for (const { name, version } of [kernel, busybox]) onProgress?.(`fetching ${name} ${version}`);
  const root = join(work, 'root');
  await mkdir(root);
  await apt.fetch([kernel, busybox], root);
  onProgress?.('unpacking the kernel and its modules');
  await mkdir(join(finished, 'modules'), { recursive: true });

  const kernelVersion = kernel.name.replace(/^linux-image-/, '');
  const vmlinux = await firstFile(root, [`boot/vmlinux-${kernelVersion}`, `boot/vmlinuz-${kernelVersion}`], kernel);
  const image = await readFile(vmlinux);
  if (!isLinuxImage(image)) {
    const message = `${basename(vmlinux)} of the Debian package ${kernel.name} is no riscv64 Linux Image`;
    throw new GuestImageError('not-a-kernel', `${message}; use another mirror, ${OWN_FILES_HINT}`);
  }
  await copyFile(vmlinux, join(finished, 'vmlinux'));
  const busyboxes = ['usr/bin/busybox', 'bin/busybox'];
  await copyFile(await firstFile(root, busyboxes, busybox), join(finished, 'busybox'));
  const modules = await unpackModules(root, kernelVersion, wantedModules, join(finished, 'modules'));

  const packages = [kernel, busybox].map(({ name, version, sha256 }) => ({ name, version, sha256 }));
  return { digest: digestOf({ FORMAT, packages, modules }), manifest: { kernelVersion, packages, modules } };
}

/** The package with the kernel itself, which `linux-image-riscv64` depends on. */
async function kernelPackage(apt: AptRoot): Promise<PackageRecord> {
  const meta = await apt.show(`linux-image-${ARCHITECTURE}`);
  const name = meta.depends.find((each) => each.startsWith('linux-image-'));
  if (name === undefined) {
    const message = `the Debian package ${meta.name} ${meta.version} leads to no kernel package`;
    throw new GuestImageError('package-missing', `${message}; use another mirror, ${OWN_FILES_HINT}`);
  }
  return await apt.show(name);
}

async function firstFile(root: string, paths: readonly string[], from: PackageRecord): Promise<string> {
  for (const path of paths) {
    if ((await stat(join(root, path)).catch(() => undefined))?.isFile()) return join(root, path);
  }
  const message = `the Debian package ${from.name} ${from.version} has no ${paths.join(' or ')}`;
  throw new GuestImageError('package-missing', `${message}; use another mirror, ${OWN_FILES_HINT}`);
}

/** Decompresses the wanted modules, and what they need, into `target`, and tells in which order they can be loaded. */
async function unpackModules(
  root: string,
  kernelVersion: string,
  wanted: readonly string[],
  target: string,
): Promise<ModuleInfo[]> {
  const places = [`usr/lib/modules/${kernelVersion}`, `lib/modules/${kernelVersion}`].map((path) => join(root, path));
  const stats = await Promise.all(places.map((path) => stat(path).catch(() => undefined)));
  const folder = places[stats.findIndex((each) => each?.isDirectory())];
  const files = new Map<string, string>();
  for (const entry of folder === undefined ? [] : await readdir(folder, { recursive: true, withFileTypes: true })) {
    const name = /^(.*)\.ko(\.xz)?$/.exec(entry.name)?.[1];
    if (name !== undefined) files.set(normalModuleName(name), join(entry.parentPath, entry.name));
  }
  const builtInList = (folder && (await readIfThere(join(folder, 'modules.builtin')))) ?? '';
  const builtIn = new Set(builtInList.split('\n').map((path) => normalModuleName(basename(path, '.ko'))));

  // Which modules are needed is known only from the modules themselves, so they are decompressed one after another.
  const infos = new Map<string, ModuleInfo>();
  const waiting = wanted.map(normalModuleName);
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const file = files.get(name);
    if (file === undefined || infos.has(name)) continue;
    const data = file.endsWith('.xz') ? await decompressXz(file) : await readFile(file);
    await writeFile(join(target, `${name}.ko`), data);
    const info = { ...readModuleInfo(data), name };
    infos.set(name, info);
    waiting.push(...info.depends, ...info.softDepends);
  }
  const order = loadOrder(
    wanted,
    (name) => infos.get(name),
    (name) => builtIn.has(name),
    (name, neededBy) => {
      const needed = neededBy === undefined ? '' : `, which ${neededBy} needs`;
      const message = `the Debian kernel ${kernelVersion} has no module ${name}${needed}`;
      return new GuestImageError('module-missing', `${message}; use another mirror, ${OWN_FILES_HINT}`);
    },
  );
  // What is built into the kernel need not be looked for any more.
  const there = new Set(order.map(({ name }) => name));
  const kept = (names: readonly string[]) => names.filter((name) => there.has(name));
  return order.map(({ name, depends, softDepends }) => ({
    name,
    depends: kept(depends),
    softDepends: kept(softDepends),
  }));
}

async function decompressXz(file: string): Promise<Uint8Array> {
  const compressed = new Blob([await readFile(file)]).stream();
  try {
    return await new Response(new xz.XzReadableStream(compressed)).bytes();
  } catch (error) {
    const message = `the kernel module ${basename(file)} is damaged (${error}); try again, ${OWN_FILES_HINT}`;
    throw new GuestImageError('damaged-download', message, { cause: error });
  }
}
