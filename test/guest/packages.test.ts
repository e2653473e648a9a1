import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { GuestImageError, prepareDebianPackages } from '../../src/guest/index.ts';
import { damagePackage, makeArchive } from './fake-archive.ts';

const file = (path: string) => ({ [path]: Buffer.from(path) });
const PACKAGES = [
  { name: 'snake', version: '3', depends: 'libsnake (= 3), libc | other-libc', files: file('usr/bin/snake') },
  { name: 'libsnake', version: '3', depends: 'libc', files: file('usr/lib/libsnake.so') },
  // Libraries may need one another.
  { name: 'libc', version: '2', depends: 'libgcc', files: file('usr/lib/libc.so') },
  { name: 'libgcc', version: '1', depends: 'libc', files: file('usr/lib/libgcc.so') },
  { name: 'apart', version: '1', files: file('usr/bin/apart') },
];

describe('prepareDebianPackages', () => {
  let folder: string;
  let cache: string;
  let source: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ballonet-packages-'));
    cache = join(folder, 'cache');
    source = makeArchive(join(folder, 'archive'), PACKAGES);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('unpacks packages with what they depend on, each once', async () => {
    const { root, packages } = await prepareDebianPackages(['snake'], { cache, source });
    assert.deepEqual(packages, [
      { name: 'snake', version: '3' },
      { name: 'libsnake', version: '3' },
      { name: 'libc', version: '2' },
      { name: 'libgcc', version: '1' },
    ]);
    for (const path of ['usr/bin/snake', 'usr/lib/libsnake.so', 'usr/lib/libc.so', 'usr/lib/libgcc.so']) {
      assert.equal(readFileSync(join(root, path), 'utf8'), path);
    }
  });

  it('asks the archive once, and again if a file was damaged', async () => {
    const { root } = await prepareDebianPackages(['apart'], { cache, source });
    const progress: string[] = [];
    const options = { cache, source, onProgress: (line: string) => progress.push(line) };
    assert.equal((await prepareDebianPackages(['apart'], options)).root, root);
    assert.deepEqual(progress, []);
    truncateSync(join(root, 'usr/bin/apart'), 3);
    assert.equal((await prepareDebianPackages(['apart'], options)).root, root);
    assert.equal(readFileSync(join(root, 'usr/bin/apart'), 'utf8'), 'usr/bin/apart');
    assert.equal(progress.length, 2);
  });

  it('names a package that is not there, or not as it should be', async () => {
    const refused = async (name: string, code: string, pattern: RegExp) =>
      await assert.rejects(prepareDebianPackages([name], { cache, source }), (error) => {
        assert.ok(error instanceof GuestImageError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, pattern);
        return true;
      });
    await refused('lizard', 'package-missing', /package lizard/);
    damagePackage(join(folder, 'archive'), 'apart');
    await refused('apart', 'damaged-download', /apart/);
  });
});
