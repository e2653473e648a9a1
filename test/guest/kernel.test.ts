import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { checkOwnFile, GuestImageError, isLinuxImage } from '../../src/guest/index.ts';
import { fakeKernel } from './fake-archive.ts';

describe('isLinuxImage', () => {
  it('knows a riscv64 Image by its magic', () => {
    assert.equal(isLinuxImage(fakeKernel()), true);
    assert.equal(isLinuxImage(fakeKernel().subarray(0, 64)), true);
    assert.equal(isLinuxImage(fakeKernel().subarray(0, 63)), false);
    const other = fakeKernel().slice();
    // The same place holds "ARM\x64" in an arm64 Image.
    other.set(Buffer.from('ARM\x64'), 56);
    assert.equal(isLinuxImage(other), false);
  });
});

describe('checkOwnFile', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-own-'));
  after(() => rmSync(folder, { recursive: true }));

  it('accepts a file with something in it', async () => {
    const path = join(folder, 'kernel');
    writeFileSync(path, 'x');
    await checkOwnFile('--kernel', path);
  });

  const cases: [string, string, RegExp][] = [
    ['nothing', join(folder, 'nothing'), /there is no such file/],
    ['a path through a file', join(folder, 'empty', 'x'), /there is no such file/],
    ['a folder', folder, /is not a file/],
    ['an empty file', join(folder, 'empty'), /is empty/],
  ];
  writeFileSync(join(folder, 'empty'), '');
  for (const [name, path, what] of cases) {
    it(`refuses ${name}, naming option and path`, async () => {
      await assert.rejects(checkOwnFile('--initrd', path), (error) => {
        assert.ok(error instanceof GuestImageError && error.code === 'unreadable-file');
        assert.ok(error.message.startsWith(`--initrd ${path}: `), error.message);
        assert.match(error.message, what);
        assert.match(error.message, /--initrd takes the path of a file that can be read$/);
        return true;
      });
    });
  }
});
