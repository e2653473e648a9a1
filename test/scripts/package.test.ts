import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Assembler, R } from '../engine/assembler.ts';
import { kernelImage } from '../machine/kernel-image.ts';

const root = dirname(dirname(import.meta.dirname));

describe('the npm package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-package-'));
  const installed = join(folder, 'node_modules/ballonet');
  let files: string[];

  function run(command: string, args: readonly string[], cwd = folder): string {
    const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
    assert.equal(status, 0, `${command} ${args.join(' ')}: ${error ?? ''}${stderr}`);
    return stdout;
  }

  before(() => {
    const packed = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder], root)) as unknown;
    // npm 10 prints a list, npm 11 an object by package name.
    const [{ filename, files: list }] = Object.values(packed as object) as [
      { filename: string; files: { path: string }[] },
    ];
    files = list.map(({ path }) => path);
    mkdirSync(installed, { recursive: true });
    run('tar', ['-xf', join(folder, filename), '-C', installed, '--strip-components=1']);
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
    }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('has what it needs and no more', () => {
    for (const path of ['bin/ballonet.mjs', 'scripts/runtime.mjs', 'dist/index.js', 'dist/index.d.ts', 'LICENSE']) {
      assert.ok(files.includes(path), path);
    }
    const unwanted = files.filter((path) =>
      /^(src|test|bench|node_modules|\.)|^scripts\/(?!runtime)|package-lock/.test(path),
    );
    assert.deepEqual(unwanted, []);
  });

  it('exports the library, with types', () => {
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(
      join(folder, 'use.ts'),
      "import { Host } from 'ballonet';\nconst host: typeof Host = Host;\nconsole.log(typeof host);\n",
    );
    assert.equal(run(process.execPath, ['use.ts']), 'function\n');
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--skipLibCheck',
      '--types',
      'node',
      '--lib',
      'esnext,dom',
    ];
    run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options, 'use.ts']);
  });

  it('runs a guest', () => {
    // SRST: system_reset(shutdown, no reason).
    const code = new Assembler().li(R.a7, 0x53525354).li(R.a6, 0).li(R.a0, 0).li(R.a1, 0).i('ecall').finish();
    writeFileSync(join(folder, 'kernel'), kernelImage(code));
    writeFileSync(
      join(folder, 'guest.mjs'),
      `import { Host } from 'ballonet';
      const host = await Host.create({ machineMemory: '64M' });
      const guest = await host.start({ memory: '32M', kernel: 'kernel' });
      console.log((await guest.wait()).reason);
      await host.close();`,
    );
    assert.equal(run(process.execPath, [...process.execArgv, 'guest.mjs']), 'poweroff\n');
  });

  it('brings the command', () => {
    assert.match(run('node', [join(installed, 'bin/ballonet.mjs'), '--help']), /demo[\s\S]*run/);
  });
});
