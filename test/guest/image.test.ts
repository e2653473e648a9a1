import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { requireDebian } from '../../scripts/debian.ts';
import type { PackageRecord } from '../../src/guest/apt.ts';
import { parseStanzas } from '../../src/guest/apt-sources.ts';
import {
  GuestImageError,
  type GuestImageErrorCode,
  type GuestImageOptions,
  prepareGuestImage,
} from '../../src/guest/index.ts';
import { damagePackage, type FakePackage, fakePackages, makeArchive, releaseArchive } from './fake-archive.ts';

const modules = ['virtio_needy', 'alone'];

describe('prepareGuestImage', () => {
  let folder: string;
  let packages: FakePackage[];
  let source: string;
  let cache: string;
  let options: GuestImageOptions;
  const path = process.env.PATH;

  before(() => {
    requireDebian('xz');
    packages = fakePackages();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ballonet-image-'));
    cache = join(folder, 'cache');
    source = makeArchive(join(folder, 'archive'), packages);
    options = { cache, source, modules };
  });
  afterEach(() => {
    process.env.PATH = path;
    rmSync(folder, { recursive: true, force: true });
  });
  after(() => {
    process.env.PATH = path;
  });

  const archive = () => join(folder, 'archive');
  const other = (packages: readonly FakePackage[]) => {
    rmSync(archive(), { recursive: true });
    return { ...options, source: makeArchive(archive(), packages) };
  };
  const changed = (name: string, files: Readonly<Record<string, Uint8Array>>) =>
    packages.map((each) => (each.name.startsWith(name) ? { ...each, files: { ...each.files, ...files } } : each));

  async function refused(code: GuestImageErrorCode, pattern: RegExp, wanted: GuestImageOptions = options) {
    await assert.rejects(prepareGuestImage(wanted), (error) => {
      assert.ok(error instanceof GuestImageError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, pattern);
      if (code !== 'disk') assert.match(error.message, /--kernel FILE --initrd FILE/);
      return true;
    });
    // Nothing half-finished stays behind.
    if (existsSync(join(cache, 'images'))) assert.deepEqual(readdirSync(join(cache, 'images')), []);
  }

  it('fetches the kernel that the metapackage leads to, busybox, and modules in the order of their needs', async () => {
    const progress: string[] = [];
    const image = await prepareGuestImage({ ...options, onProgress: (line) => progress.push(line) });
    assert.equal(image.kernelVersion, '6.1.0-fake-riscv64');
    assert.deepEqual(readFileSync(image.kernelPath).subarray(0x30, 0x35).toString(), 'RISCV');
    assert.equal(readFileSync(image.busyboxPath, 'utf8'), 'not really busybox');
    assert.deepEqual(
      image.modules.map(({ name }) => name),
      ['virtio_base', 'virtio_needy', 'alone'],
    );
    for (const module of image.modules) assert.equal(readFileSync(module.path).subarray(1, 4).toString(), 'ELF');
    assert.deepEqual(image.packages, [
      { name: 'linux-image-6.1.0-fake-riscv64', version: '1' },
      { name: 'busybox-static', version: '1' },
    ]);
    assert.ok(progress.some((line) => line.includes('busybox-static')));
    assert.equal(readdirSync(join(cache, 'images')).length, 2, 'the image and what points to it');
  });

  it('asks nobody the second time', async () => {
    const first = await prepareGuestImage(options);
    rmSync(archive(), { recursive: true });
    process.env.PATH = folder;
    assert.deepEqual(await prepareGuestImage(options), first);
  });

  it('makes a damaged entry again', async () => {
    const { kernelPath, folder: entry } = await prepareGuestImage(options);
    const whole = readFileSync(kernelPath);
    truncateSync(kernelPath, 100);
    await prepareGuestImage(options);
    assert.deepEqual(readFileSync(kernelPath), whole);
    rmSync(join(entry, 'manifest.json'));
    await prepareGuestImage(options);
    assert.ok(existsSync(join(entry, 'manifest.json')));
    writeFileSync(join(entry, 'manifest.json'), '{');
    assert.equal((await prepareGuestImage(options)).folder, entry);
  });

  it('is not misled by what a killed build left', async () => {
    const progress: string[] = [];
    const left = fork(join(import.meta.dirname, 'build-image.ts'), [JSON.stringify(options), 'stop']);
    await new Promise((resolve) => left.once('message', resolve));
    left.kill('SIGKILL');
    await new Promise((resolve) => left.once('exit', resolve));
    const before = readdirSync(join(cache, 'images'));
    assert.ok(
      before.some((name) => name.endsWith('.lock')) && before.some((name) => name.endsWith('.work')),
      `${before}`,
    );
    const image = await prepareGuestImage({ ...options, onProgress: (line) => progress.push(line) });
    assert.equal(image.modules.length, 3);
    assert.ok(progress.length > 0);
    assert.equal(readdirSync(join(cache, 'images')).length, 2);
  });

  it('builds once when several ask at the same time, in one process and in others', async () => {
    const built: string[] = [];
    const children = [1, 2].map(
      () =>
        new Promise<string>((resolve, reject) => {
          const child = fork(join(import.meta.dirname, 'build-image.ts'), [JSON.stringify(options), 'go']);
          let result = '';
          child.on('message', (message: { progress?: string; folder?: string }) => {
            if (message.progress?.startsWith('unpacking')) built.push(message.progress);
            result = message.folder ?? result;
          });
          child.on('exit', (code) => (code === 0 ? resolve(result) : reject(new Error(`status ${code}`))));
        }),
    );
    const here = [1, 2].map(() =>
      prepareGuestImage({ ...options, onProgress: (line) => line.startsWith('unpacking') && built.push(line) }),
    );
    const folders = new Set([
      ...(await Promise.all(children)),
      ...(await Promise.all(here)).map((image) => image.folder),
    ]);
    assert.equal(folders.size, 1);
    assert.equal(built.length, 1);
  });

  it('names a damaged download', async () => {
    damagePackage(archive(), 'linux-image-6');
    await refused('damaged-download', /linux-image-6\.1\.0-fake-riscv64=1/);
  });

  it('names a package list that is not what was promised', async () => {
    const list = join(archive(), 'Packages');
    writeFileSync(list, readFileSync(list, 'utf8').replace('busybox', 'busybux'));
    await refused('damaged-download', /package lists/);
  });

  describe('while the mirror is being updated', () => {
    /** What the archive's list says of its packages, before it is damaged. */
    function knownPackages(): PackageRecord[] {
      return parseStanzas(readFileSync(join(archive(), 'Packages'), 'utf8')).map((fields) => {
        const field = (key: string) => fields.get(key) ?? '';
        const depends = field('depends').split(' ', 1).filter(Boolean);
        const [name, version, sha256, path] = ['package', 'version', 'sha256', 'filename'].map(field);
        return { name: name!, version: version!, sha256: sha256!, path: path!, depends };
      });
    }
    const damageList = () => writeFileSync(join(archive(), 'Packages'), 'Package: other\n');

    it('takes known packages if the list is not what was promised', async () => {
      const known = knownPackages();
      damageList();
      const progress: string[] = [];
      const image = await prepareGuestImage({ ...options, known, onProgress: (line) => progress.push(line) });
      assert.equal(readFileSync(image.busyboxPath, 'utf8'), 'not really busybox');
      assert.equal(image.kernelVersion, '6.1.0-fake-riscv64');
      assert.ok(progress.some((line) => /known packages/.test(line)));
    });

    it('takes known packages if a file is not there yet', async () => {
      const known = knownPackages();
      const older = join(folder, 'older');
      cpSync(join(archive(), 'pool'), older, { recursive: true });
      // Busybox is there in its next version, the kernel is not.
      const newer = packages.map((each) => (each.name === 'busybox-static' ? { ...each, version: '2' } : each));
      const { source } = other(newer);
      cpSync(older, join(archive(), 'pool'), { recursive: true });
      const list = join(archive(), 'Packages');
      writeFileSync(list, readFileSync(list, 'utf8').replaceAll('pool/linux-image-6', 'pool/linux-image-7'));
      releaseArchive(archive());
      assert.equal(source, options.source);
      await refused('package-missing', /linux-image-6/, { ...options, known: [] });
      const image = await prepareGuestImage({ ...options, known });
      assert.equal(readFileSync(image.busyboxPath, 'utf8'), 'not really busybox');
    });

    it('checks known packages, too', async () => {
      const known = knownPackages();
      damageList();
      damagePackage(archive(), 'busybox');
      await refused('damaged-download', /package lists.*Known packages did not help: .*busybox-static/s, {
        ...options,
        known,
      });
    });

    it('says that a package is not among the known ones', async () => {
      const known = knownPackages().filter(({ name }) => name !== 'busybox-static');
      damageList();
      await refused('damaged-download', /Known packages did not help: there is no busybox-static/, {
        ...options,
        known,
      });
    });
  });

  it('names a missing package', async () => {
    await refused('package-missing', /busybox-static/, other(packages.filter(({ name }) => name !== 'busybox-static')));
    const alone = packages.map((each) => ({ ...each, depends: 'base-files' }));
    await refused('package-missing', /linux-image-riscv64 1 leads to no kernel package/, other(alone));
  });

  it('names a package without the file it should have', async () => {
    const without = packages.map((each) => (each.name === 'busybox-static' ? { ...each, files: {} } : each));
    await refused('package-missing', /busybox-static 1 has no usr\/bin\/busybox/, other(without));
  });

  it('names a kernel that is none', async () => {
    const kernel = { 'boot/vmlinux-6.1.0-fake-riscv64': Buffer.from('#!/bin/sh\n'.repeat(20)) };
    await refused('not-a-kernel', /vmlinux-6\.1\.0-fake-riscv64/, other(changed('linux-image-6', kernel)));
  });

  it('names a module that is damaged', async () => {
    const path = 'usr/lib/modules/6.1.0-fake-riscv64/kernel/b/virtio_base.ko.xz';
    const whole = packages.find(({ name }) => name.startsWith('linux-image-6'))!.files[path]!;
    for (const damaged of [whole.subarray(0, whole.length - 20), whole.subarray(0, 0), Buffer.from('no xz')]) {
      const wanted = other(changed('linux-image-6', { [path]: damaged }));
      await refused('damaged-download', /virtio_base\.ko\.xz is damaged/, wanted);
    }
  });

  it('names a module that is not there, and who needs it', async () => {
    await refused('module-missing', /no module missing;/, { ...options, modules: ['alone', 'missing'] });
    await refused('module-missing', /no module nowhere, which broken needs;/, { ...options, modules: ['broken'] });
  });

  it('names a repository without a signature', async () => {
    const unsigned = source.replace('trusted=yes', 'signed-by=/usr/share/keyrings/debian-archive-keyring.gpg');
    await refused('bad-signature', /package lists/, { ...options, source: unsigned });
  });

  it('says so when the mirror cannot be reached', async () => {
    const nobody = { ...options, source: 'deb http://127.0.0.1:9/debian trixie main' };
    await refused('no-network', /cannot be reached/, nobody);
  });

  it('says so when there is no apt', async () => {
    process.env.PATH = folder;
    await refused('tool-missing', /no apt-get on this machine/);
  });

  it('says so when the cache cannot be written', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await refused('disk', /cache folder .*file\/x cannot be written \(ENOTDIR\); set XDG_CACHE_HOME/, {
      ...options,
      cache: join(file, 'x'),
    });
    if (process.getuid?.() === 0) return;
    mkdirSync(cache);
    chmodSync(cache, 0o555);
    await refused('disk', /cannot be written \(EACCES\)/);
    chmodSync(cache, 0o755);
  });
});
