import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { requireDebian } from '../../scripts/debian.ts';
import { type CpioEntry, CpioPathError, writeCpio } from '../../src/guest/index.ts';

/** Runs the system's cpio on an archive, in an empty folder. */
function cpio(archive: Uint8Array, args: readonly string[], check: (folder: string, output: string) => void): void {
  requireDebian('cpio');
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-cpio-'));
  try {
    const { status, stdout, stderr } = spawnSync('cpio', args, { cwd: folder, input: archive, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stderr, /premature|garbage|malformed/i);
    check(folder, stdout);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const data = (text: string) => new TextEncoder().encode(text);
const name = fc.stringMatching(/^[A-Za-z0-9_+-][A-Za-z0-9._+ -]{0,12}$/).filter((text) => !/^-|^\.\.?$/.test(text));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const files = fc
  .uniqueArray(
    fc.record({ path, data: fc.uint8Array({ maxLength: 40 }), mode: fc.constantFrom(0o600, 0o644, 0o755) }),
    {
      selector: (file) => file.path,
      maxLength: 12,
    },
  )
  // No file below another file.
  .filter((all) => !all.some((a) => all.some((b) => b.path.startsWith(`${a.path}/`))));

describe('writeCpio', () => {
  it('writes what cpio reads: any files', () => {
    fc.assert(
      fc.property(files, (all) => {
        const archive = writeCpio(all.map((file): CpioEntry => ({ kind: 'file', ...file })));
        cpio(archive, ['-id', '--no-absolute-filenames'], (folder) => {
          for (const file of all) {
            assert.deepEqual(new Uint8Array(readFileSync(join(folder, file.path))), file.data);
            assert.equal(lstatSync(join(folder, file.path)).mode & 0o7777, file.mode);
          }
        });
      }),
      { numRuns: 25 },
    );
  });

  it('writes folders, symbolic links and permissions', () => {
    const archive = writeCpio([
      { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
      { kind: 'directory', path: 'tmp', mode: 0o1777 },
      { kind: 'file', path: 'a/b/c', mode: 0o640, data: data('see') },
    ]);
    cpio(archive, ['-idm', '--no-absolute-filenames'], (folder) => {
      assert.equal(readlinkSync(join(folder, 'bin/sh')), 'busybox');
      assert.equal(lstatSync(join(folder, 'tmp')).mode & 0o7777, 0o1777);
      assert.equal(lstatSync(join(folder, 'a/b')).mode & 0o7777, 0o755);
      assert.equal(readFileSync(join(folder, 'a/b/c'), 'utf8'), 'see');
    });
  });

  it('writes devices, the owner root and the time 0', () => {
    const archive = writeCpio([{ kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 }]);
    cpio(archive, ['-tvn'], (_, listing) => {
      assert.match(listing, /^drwxr-xr-x +2 0 +0 +0 Jan +1 +1970 dev$/m);
      assert.match(listing, /^crw------- +1 0 +0 +5, +1 Jan +1 +1970 dev\/console$/m);
    });
  });

  it('gives the same bytes for the same description, and puts folders before what is in them', () => {
    const entries: CpioEntry[] = [
      { kind: 'file', path: 'x/y/z', mode: 0o644, data: data('1') },
      { kind: 'directory', path: 'x/y', mode: 0o700 },
    ];
    assert.deepEqual(writeCpio(entries), writeCpio(entries));
    cpio(writeCpio(entries), ['-tv'], (_, listing) => {
      const lines = listing.trim().split('\n');
      assert.deepEqual(
        lines.map((line) => line.split(' ').at(-1)),
        ['x', 'x/y', 'x/y/z'],
      );
      assert.match(lines[1]!, /^drwx------/);
    });
  });

  it('writes an archive with nothing in it', () => {
    cpio(writeCpio([]), ['-t'], (_, listing) => assert.equal(listing, ''));
  });

  const file = (path: string): CpioEntry => ({ kind: 'file', path, mode: 0o644, data: data('') });
  for (const [bad, what] of [
    [[file('/etc/motd')], /relative/],
    [[file('etc/../motd')], /relative/],
    [[file('')], /relative/],
    [[file('etc/')], /relative/],
    [[file('a\0b')], /NUL/],
    [[file('TRAILER!!!')], /ends an archive/],
    [[file('a'), file('a')], /twice/],
    [[file('a'), file('a/b')], /below a, a file/],
    [[file('a/b'), file('a')], /folder/],
  ] as const) {
    it(`refuses ${JSON.stringify(bad.map((entry) => entry.path))}`, () => {
      assert.throws(
        () => writeCpio(bad),
        (error) => error instanceof CpioPathError && what.test(error.message) && error.path === bad.at(-1)!.path,
      );
    });
  }
});
