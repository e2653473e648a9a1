import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';

const helper = join(import.meta.dirname, '../../scripts/debian.ts');

describe('requireDebian', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ballonet-debian-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function program(name: string, text: string): void {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
  }

  /** Asks for two packages as a user, in a PATH that holds only the programs made here. */
  function ask(user: number): { status: number | null; stderr: string } {
    const code = `process.getuid = () => ${user};
      const { requireDebian } = await import(${JSON.stringify(helper)});
      try { requireDebian('qemu', 'dtc'); } catch (error) { console.error(error.name + ': ' + error.message); process.exit(1); }`;
    const env = { ...process.env, PATH: folder };
    return spawnSync(process.execPath, ['--input-type=module', '-e', code], { env, encoding: 'utf8' });
  }
  const make = (name: string) =>
    `PATH=/usr/bin:/bin; printf '#!/bin/sh\\n' > ${folder}/${name}; chmod +x ${folder}/${name}`;
  const log = () => readFileSync(join(folder, 'log'), 'utf8');

  it('costs nothing when they are there', () => {
    for (const name of ['qemu-system-riscv64', 'dtc']) program(name, 'exit 0');
    program('apt-get', `echo called >> ${folder}/log`);
    assert.deepEqual([ask(0).status, ask(1000).status], [0, 0]);
    assert.throws(log);
  });

  it('tells a user what to run', () => {
    program('dtc', 'exit 0');
    const { status, stderr } = ask(1000);
    assert.equal(status, 1);
    assert.match(stderr, /^DebianPackagesMissing: .*qemu-system-misc.*run: sudo apt-get install qemu-system-misc$/m);
    assert.doesNotMatch(stderr, /device-tree-compiler/);
  });

  it('installs them for root, after an update if that is what it takes', () => {
    program(
      'apt-get',
      `echo "$@" >> ${folder}/log\ncase "$*" in *update*) PATH=/usr/bin:/bin; touch ${folder}/updated;; esac
[ -e ${folder}/updated ] || exit 100\n${make('qemu-system-riscv64')}\n${make('dtc')}`,
    );
    const { status, stderr } = ask(0);
    assert.equal(status, 0, stderr);
    const lines = log().trim().split('\n');
    assert.equal(lines.length, 3);
    assert.match(lines[2]!, /-y .*install .*qemu-system-misc device-tree-compiler$/);
  });

  it('says so when installing did not bring them', () => {
    program('apt-get', 'echo "E: Unable to correct problems" >&2; exit 100');
    const { status, stderr } = ask(0);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /DebianPackagesMissing: "apt-get install .*" did not bring qemu-system-riscv64, dtc:\nE: Unable/,
    );
  });
});
