// A small Debian archive on disk, made with dpkg-deb, with which fetching packages is tested without a network.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

function run(command: string, args: readonly string[], input?: Uint8Array): Buffer {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

/** A kernel module as far as its .modinfo goes: ELF header, the two sections' contents, and their headers. */
export function fakeModule(modinfo: readonly string[]): Uint8Array {
  const info = Buffer.from(modinfo.map((field) => `${field}\0`).join(''));
  const names = Buffer.from('\0.modinfo\0.shstrtab\0');
  const file = Buffer.alloc(64 + info.length + names.length + 3 * 64);
  const table = 64 + info.length + names.length;
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeBigUInt64LE(BigInt(table), 0x28);
  file.writeUInt16LE(64, 0x3a);
  file.writeUInt16LE(3, 0x3c);
  file.writeUInt16LE(2, 0x3e);
  file.set(info, 64);
  file.set(names, 64 + info.length);
  for (const [index, name, offset, size] of [
    [1, 1, 64, info.length],
    [2, 10, 64 + info.length, names.length],
  ] as const) {
    file.writeUInt32LE(name, table + index * 64);
    file.writeBigUInt64LE(BigInt(offset), table + index * 64 + 0x18);
    file.writeBigUInt64LE(BigInt(size), table + index * 64 + 0x20);
  }
  return file;
}

/** A file with the header of a riscv64 Linux Image and nothing behind it. */
export function fakeKernel(): Uint8Array {
  const image = Buffer.alloc(4096);
  image.write('MZ', 0);
  image.write('RISCV\0\0\0RSC\x05', 0x30, 'latin1');
  return image;
}

export interface FakePackage {
  readonly name: string;
  readonly version?: string;
  readonly depends?: string;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

const VERSION = '6.1.0-fake-riscv64';
const MODULES = `usr/lib/modules/${VERSION}`;

/** The packages that a guest image is made of, with three modules of which two need one another. */
export function fakePackages(): FakePackage[] {
  const compressed = (modinfo: readonly string[]) => run('xz', ['--stdout'], fakeModule(modinfo));
  return [
    { name: 'linux-image-riscv64', depends: `linux-image-${VERSION} (= 1)`, files: {} },
    {
      name: `linux-image-${VERSION}`,
      files: {
        [`boot/vmlinux-${VERSION}`]: fakeKernel(),
        [`${MODULES}/modules.builtin`]: Buffer.from('kernel/drivers/virtio/virtio-ring.ko\n'),
        [`${MODULES}/kernel/a/virtio-needy.ko.xz`]: compressed([
          'name=virtio_needy',
          'depends=virtio_base,virtio_ring',
        ]),
        [`${MODULES}/kernel/b/virtio_base.ko.xz`]: compressed([
          'name=virtio_base',
          'depends=',
          'softdep=pre: not-there',
        ]),
        [`${MODULES}/kernel/c/alone.ko`]: fakeModule(['name=alone', 'depends=']),
        [`${MODULES}/kernel/c/broken.ko`]: fakeModule(['name=broken', 'depends=nowhere']),
      },
    },
    { name: 'busybox-static', files: { 'usr/bin/busybox': Buffer.from('not really busybox') } },
  ];
}

/** Writes the Release file of an archive: what its list is. */
export function releaseArchive(folder: string): void {
  const list = readFileSync(join(folder, 'Packages'));
  writeFileSync(
    join(folder, 'Release'),
    `Codename: trixie\nDate: ${new Date().toUTCString()}\nSHA256:\n ${sha256(list)} ${list.length} Packages\n`,
  );
}

/** Makes an archive of packages in a folder and returns its line for sources.list(5). */
export function makeArchive(folder: string, packages: readonly FakePackage[]): string {
  const records: string[] = [];
  for (const { name, version = '1', depends, files } of packages) {
    const tree = join(folder, 'trees', name);
    const control = [
      `Package: ${name}`,
      `Version: ${version}`,
      'Architecture: riscv64',
      'Maintainer: A <a@example.org>',
    ];
    if (depends) control.push(`Depends: ${depends}`);
    control.push('Description: made for a test');
    for (const [path, data] of Object.entries({ ...files, 'DEBIAN/control': `${control.join('\n')}\n` })) {
      mkdirSync(dirname(join(tree, path)), { recursive: true });
      writeFileSync(join(tree, path), data);
    }
    mkdirSync(join(folder, 'pool'), { recursive: true });
    const file = `pool/${name}_${version}_riscv64.deb`;
    run('dpkg-deb', ['--root-owner-group', '--build', tree, join(folder, file)]);
    const data = readFileSync(join(folder, file));
    records.push([...control, `Filename: ${file}`, `Size: ${data.length}`, `SHA256: ${sha256(data)}`, ''].join('\n'));
  }
  writeFileSync(join(folder, 'Packages'), records.join('\n'));
  releaseArchive(folder);
  return `deb [trusted=yes] file:${folder} ./`;
}

/** Changes one byte in the middle of the package file of an archive whose name begins so. */
export function damagePackage(folder: string, name: string): void {
  const file = readdirSync(join(folder, 'pool')).find((each) => each.startsWith(name));
  const path = join(folder, 'pool', file!);
  const data = readFileSync(path);
  data[data.length >> 1]! ^= 0xff;
  writeFileSync(path, data);
  if (statSync(path).size !== data.length) throw new Error('the size changed');
}
