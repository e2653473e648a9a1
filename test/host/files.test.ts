import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FileError } from '../../src/host/errors.ts';
import { openFile, readWhole } from '../../src/host/files.ts';
import { openSwapFile, SwapFile } from '../../src/host/swap-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'ballonet-files-'));
after(() => rmSync(folder, { recursive: true }));

const refused = (path: string, part: RegExp) => (error: unknown) =>
  error instanceof FileError && error.path === path && error.message.includes(path) && part.test(error.message);

test('a file is read and written at any place', () => {
  const path = join(folder, 'data');
  writeFileSync(path, 'abcdef');
  const file = openFile('disk', path, 'write');
  file.write(4, Buffer.from('XYZ'));
  const target = Buffer.alloc(5, 1);
  file.read(2, target);
  assert.equal(file.size, 7);
  assert.throws(() => file.read(3, Buffer.alloc(5)), /disk .*data ends before byte 8/);
  file.truncate(8);
  assert.equal(file.size, 8);
  file.close();
  assert.equal(target.toString('latin1'), 'cdXYZ');
  assert.equal(readFileSync(path, 'latin1'), 'abcdXYZ\0');
  assert.deepEqual([...readWhole('disk', path).slice(0, 2)], [97, 98]);
  // A file that does not say how long it is.
  if (existsSync('/proc/version')) {
    assert.equal(Buffer.from(readWhole('kernel', '/proc/version')).toString(), readFileSync('/proc/version', 'utf8'));
  }
});

test('what cannot be opened is named, with what to do', () => {
  const missing = join(folder, 'missing');
  assert.throws(() => openFile('disk', missing, 'write'), refused(missing, /^disk .*does not exist/));
  assert.throws(() => readWhole('kernel', missing), refused(missing, /^kernel .*does not exist/));
  assert.throws(() => openFile('disk', folder, 'read'), refused(folder, /regular file/));
  assert.throws(() => readWhole('kernel', folder), refused(folder, /folder/));
  const below = join(folder, 'none', 'file');
  assert.throws(() => openFile('overlay', below, 'create'), refused(below, /folder does not exist/));
});

test('an unwritable file is refused', { skip: process.getuid?.() === 0 && 'root may write everything' }, () => {
  const path = join(folder, 'readonly');
  writeFileSync(path, '');
  chmodSync(path, 0o400);
  assert.throws(() => openFile('disk', path, 'write'), refused(path, /may not be written/));
});

test('a swap file keeps pages, and leaves no name behind', () => {
  const path = join(folder, 'swap');
  const descriptor = openSwapFile(path, 64 * 4096);
  const swap = new SwapFile(descriptor);
  assert.equal(existsSync(path), false);
  const page = new Uint8Array(new SharedArrayBuffer(4096)).fill(0xa5);
  swap.write(62, [new Uint8Array(4096).fill(1), page]);
  const again = new Uint8Array(4096);
  const before = new Uint8Array(4096);
  swap.read(62, [before, again]);
  assert.deepEqual(before, new Uint8Array(4096).fill(1));
  assert.deepEqual(again, new Uint8Array(4096).fill(0xa5));
  swap.read(5, [again]);
  assert.deepEqual(again, new Uint8Array(4096));
  swap.close();
});

test('a swap file without room or without a place is refused', () => {
  const large = join(folder, 'large');
  assert.throws(() => openSwapFile(large, 2 ** 52), refused(large, /free; give a smaller swap size/));
  assert.equal(existsSync(large), false);
  mkdirSync(join(folder, 'folder'));
  const path = join(folder, 'folder');
  assert.throws(() => openSwapFile(path, 4096), refused(path, /exists/));
  const mine = join(folder, 'mine');
  writeFileSync(mine, 'of value');
  assert.throws(() => openSwapFile(mine, 4096), refused(mine, /contents would be lost/));
  assert.equal(readFileSync(mine, 'latin1'), 'of value');
  const below = join(folder, 'none', 'swap');
  assert.throws(() => openSwapFile(below, 4096), refused(below, /folder does not exist/));
});
