import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { KnownResults } from '../../bench/cpu/known-results.ts';
import { chooseLines } from '../../bench/cpu/lines.ts';
import { npmPackages } from '../../bench/cpu/npm.ts';
import { treeEntries } from '../../bench/cpu/tree.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ballonet-bench-files-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a folder as entries of an archive', () => {
  it('has folders before what is in them, links as links, and permissions', async () => {
    mkdirSync(join(folder, 'bin'), { mode: 0o755 });
    writeFileSync(join(folder, 'bin/tool'), 'text', { mode: 0o755 });
    symlinkSync('tool', join(folder, 'bin/link'));
    assert.deepEqual(await treeEntries(folder, 'usr'), [
      { kind: 'directory', path: 'usr/bin', mode: 0o755 },
      { kind: 'symlink', path: 'usr/bin/link', target: 'tool' },
      { kind: 'file', path: 'usr/bin/tool', mode: 0o755, data: Buffer.from('text') },
    ]);
  });
});

describe('npm packages for the guest', () => {
  it('are fetched once, for another processor, without running their scripts', async () => {
    const source = join(folder, 'source');
    mkdirSync(source);
    const scripts = { postinstall: `echo >${join(folder, 'script-ran')}` };
    const manifest = { name: 'ballonet-test-package', version: '1.0.0', cpu: ['riscv64'], os: ['linux'], scripts };
    writeFileSync(join(source, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(source, 'program'), 'for the guest');
    const packed = spawnSync('npm', ['pack', '--pack-destination', folder], { cwd: source, encoding: 'utf8' });
    assert.equal(packed.status, 0, packed.stderr);
    const archive = join(folder, 'ballonet-test-package-1.0.0.tgz');

    const progress: string[] = [];
    const fetch = () => npmPackages([archive], (line) => progress.push(line), join(folder, 'cache'));
    const modules = await fetch();
    assert.equal(readFileSync(join(modules, 'ballonet-test-package/program'), 'utf8'), 'for the guest');
    assert.equal(existsSync(join(folder, 'script-ran')), false);
    rmSync(archive);
    assert.equal(await fetch(), modules);
    assert.equal(progress.length, 1);
  });

  it('come with what npm says if it fails', async () => {
    const missing = join(folder, 'nothing.tgz');
    await assert.rejects(
      npmPackages([missing], () => {}, join(folder, 'cache')),
      /npm install .*nothing\.tgz failed[\s\S]*ENOENT/,
    );
  });
});

describe('results of earlier runs', () => {
  const { lines } = chooseLines(['sort', 'awk']);
  const measured = (name: string, result: string) => ({ name, seconds: 1, outsideSeconds: 1, cpuSeconds: 1, result });
  const results = (files: string, image = 'image') =>
    new KnownResults(lines, new Map([['sort', files]]), image, folder);

  it('are known for the same files and the same image alone', async () => {
    await results('files').keep([measured('sort', 'a b'), measured('awk', 'c')]);
    assert.deepEqual(
      [...(await results('files').read())],
      [
        ['sort', 'a b'],
        ['awk', 'c'],
      ],
    );
    assert.deepEqual([...(await results('other files').read())], [['awk', 'c']]);
    assert.deepEqual([...(await results('files', 'other image').read())], []);
  });
});
