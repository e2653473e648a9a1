// Makes a guest image from Debian's packages.

import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import xz from 'xz-decompress';
import type { PackageArchive, PackageRecord } from './apt.ts';
import { digestOf, type Made, readIfThere } from './entry.ts';
import { GuestImageError, OWN_FILES_HINT } from './errors.ts';
import { fetchPackages, type PackageOptions } from './fetch-packages.ts';
import { ARCHITECTURE, FORMAT, type Manifest } from './image.ts';
import { isLinuxImage } from './kernel.ts';
import { loadOrder, type ModuleInfo, normalModuleName, readModuleInfo } from './modules.ts';

/** Fetches the packages and puts the image's files in `finished`. */
export async function makeImage(
  work: string,
  finished: string,
  wantedModules: readonly string[],
  options: PackageOptions,
): Promise<Made<Manifest>> {
  const root = join(work, 'root');
  const choose = async (archive: PackageArchive): Promise<[PackageRecord, PackageRecord]> => [
    await kernelPackage(archive),
    await archive.show('busybox-static'),
  ];
  const [kernel, busybox] = await fetchPackages(work, root, options, choose);
  options.onProgress?.('unpacking the kernel and its modules');
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
export async function kernelPackage(archive: PackageArchive): Promise<PackageRecord> {
  const meta = await archive.show(`linux-image-${ARCHITECTURE}`);
  const name = meta.depends.find((each) => each.startsWith('linux-image-'));
  if (name === undefined) {
    const message = `the Debian package ${meta.name} ${meta.version} leads to no kernel package`;
    throw new GuestImageError('package-missing', `${message}; use another mirror, ${OWN_FILES_HINT}`);
  }
  return await archive.show(name);
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
  const builtInList = (folder && readIfThere(join(folder, 'modules.builtin'))) ?? '';
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
