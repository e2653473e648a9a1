// Writes an initramfs.

import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { type CpioEntry, writeCpio } from './cpio.ts';
import type { GuestImage } from './image.ts';
import { initScript } from './init.ts';
import type { GuestFile } from './initramfs.ts';

const bytes = (data: string | Uint8Array) => (typeof data === 'string' ? new TextEncoder().encode(data) : data);

/**
 * Writes an archive of exactly the described entries, compressed by gzip.
 * @throws CpioPathError
 */
export function buildInitramfs(entries: readonly CpioEntry[], compress = true): Uint8Array {
  const archive = writeCpio(entries);
  return compress ? gzipSync(archive, { level: 6 }) : archive;
}

/**
 * What a guest finds in its initramfs.
 * @param modules names of modules of the image, in the order in which they are loaded
 * @param files more files
 * @param script what the guest runs, if not a shell
 */
export async function initramfsEntries(
  image: GuestImage,
  modules: readonly string[],
  hostname: string,
  files: readonly GuestFile[],
  script: string | undefined,
): Promise<CpioEntry[]> {
  const entries: CpioEntry[] = [
    ...(await baseEntries(image, modules, hostname)),
    ...files.map(
      (file): CpioEntry => ({ kind: 'file', path: file.path, mode: file.mode ?? 0o644, data: bytes(file.data) }),
    ),
  ];
  if (script !== undefined) {
    entries.push({ kind: 'file', path: 'etc/ballonet/script', mode: 0o755, data: bytes(script) });
  }
  return entries;
}

async function baseEntries(image: GuestImage, modules: readonly string[], hostname: string): Promise<CpioEntry[]> {
  const file = (path: string, text: string, mode = 0o644): CpioEntry => ({
    kind: 'file',
    path,
    mode,
    data: bytes(text),
  });
  const folders = ['dev', 'proc', 'sys', 'run', 'root', 'mnt', 'var', 'sbin', 'usr/bin', 'usr/sbin'];
  return [
    ...folders.map((path): CpioEntry => ({ kind: 'directory', path, mode: 0o755 })),
    { kind: 'directory', path: 'tmp', mode: 0o1777 },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, data: await readFile(image.busyboxPath) },
    { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
    // The kernel opens it for init before devtmpfs is mounted.
    { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'),
    file('etc/group', 'root:x:0:\n'),
    file('etc/hostname', `${hostname}\n`),
    ...(await Promise.all(
      modules.map(async (name): Promise<CpioEntry> => {
        const path = image.modules.find((module) => module.name === name)!.path;
        return { kind: 'file', path: `lib/modules/${name}.ko`, mode: 0o644, data: await readFile(path) };
      }),
    )),
    file('init', initScript(hostname, modules), 0o755),
  ];
}
