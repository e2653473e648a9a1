import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { bytesOf } from '../../src/firmware/image-source.ts';
import { FileError } from '../../src/host/errors.ts';
import { closeImages, imageSources, openImages } from '../../src/host/images.ts';

const folder = mkdtempSync(join(tmpdir(), 'ballonet-images-'));
after(() => rmSync(folder, { recursive: true }));

const file = (name: string, contents: string): string => {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
};
const paths = (given: Partial<Record<'kernel' | 'initrd' | 'firmware', string>>) => ({
  kernel: undefined,
  initrd: undefined,
  firmware: undefined,
  ...given,
});

test('an image is read where it is asked for, from a descriptor that is closed in the end', () => {
  const kernel = file('kernel', 'abcdefgh');
  const opened = openImages(paths({ kernel }));
  const { kernel: source, initrd } = imageSources(opened);
  assert.equal(initrd, undefined);
  assert.deepEqual([source!.name, source!.size], [kernel, 8]);
  assert.equal(Buffer.from(bytesOf(source!, 2, 3)).toString(), 'cde');
  // Behind its end there is nothing to read.
  assert.equal(Buffer.from(bytesOf(source!, 6, 100)).toString(), 'gh');
  assert.equal(bytesOf(source!, 9, 1).length, 0);
  const { descriptor } = opened.kernel as { descriptor: number };
  closeImages(opened);
  assert.throws(() => fstatSync(descriptor), /EBADF/);
});

test('what does not say how long it is, is read at once', { skip: !existsSync('/proc/version') }, () => {
  const opened = openImages(paths({ initrd: '/proc/version' }));
  assert.ok(!('descriptor' in opened.initrd!));
  const { initrd } = imageSources(opened);
  assert.equal(Buffer.from(bytesOf(initrd!)).toString(), readFileSync('/proc/version', 'utf8'));
  closeImages(opened);
});

test('an empty file is an image without contents', () => {
  const opened = openImages(paths({ firmware: file('empty', '') }));
  assert.equal(imageSources(opened).firmware!.size, 0);
  closeImages(opened);
});

test('a file that becomes shorter is named', () => {
  const kernel = file('shorter', 'abcdefgh');
  const opened = openImages(paths({ kernel }));
  truncateSync(kernel, 4);
  assert.throws(() => bytesOf(imageSources(opened).kernel!), /^Error: kernel .*shorter ends before byte 8/);
  closeImages(opened);
});

test('of several images that are opened, none stays open when one is missing', () => {
  const missing = join(folder, 'missing');
  const probe = (): number => {
    const { kernel } = openImages(paths({ kernel: file('there', 'x') }));
    const { descriptor } = kernel as { descriptor: number };
    closeSync(descriptor);
    return descriptor;
  };
  const before = probe();
  assert.throws(
    () => openImages(paths({ kernel: file('there', 'x'), initrd: missing })),
    (error) => error instanceof FileError && error.path === missing && /^initrd .*does not exist/.test(error.message),
  );
  assert.equal(probe(), before);
  assert.throws(() => openImages(paths({ kernel: folder })), /^FileError: kernel .* is a folder; give a file/);
});
