import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';

const root = dirname(dirname(import.meta.dirname));

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe('with-runtime', () => {
  /** A clone without dependencies, so that npm has next to nothing to do. */
  let clone: string;
  /** Folder with an `npm` that tells that it was called. */
  let bin: string;

  beforeEach(() => {
    clone = mkdtempSync(join(tmpdir(), 'ballonet-clone-'));
    mkdirSync(join(clone, 'src/cli'), { recursive: true });
    for (const folder of ['scripts', 'bin']) cpSync(join(root, folder), join(clone, folder), { recursive: true });
    writeFileSync(join(clone, 'package.json'), '{ "name": "clone", "version": "1.0.0", "type": "module" }');
    lock('1.0.0');
    // Stands before the real npm in PATH, and tells that it ran.
    bin = join(clone, 'counted');
    mkdirSync(bin);
    npm(`PATH="\${PATH#*:}" exec npm "$@"`);
  });
  afterEach(() => rmSync(clone, { recursive: true, force: true }));

  function npm(action: string): void {
    writeFileSync(join(bin, 'npm'), `#!/bin/sh\necho "$1" >> "${clone}/calls-$$"\n${action}\n`);
    chmodSync(join(bin, 'npm'), 0o755);
  }
  const calls = () => readdirSync(clone).filter((name) => name.startsWith('calls-')).length;

  function lock(version: string): void {
    const packages = { '': { name: 'clone', version } };
    const text = JSON.stringify({ name: 'clone', version, lockfileVersion: 3, requires: true, packages });
    writeFileSync(join(clone, 'package-lock.json'), text);
  }

  function script(text: string): void {
    writeFileSync(join(clone, 'script.ts'), text);
  }

  function start(args: readonly string[], options: { node?: string; onReady?: (child: ChildProcess) => void } = {}) {
    return new Promise<Ended>((resolve, reject) => {
      const child = spawn(options.node ?? process.execPath, args, {
        cwd: clone,
        env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
        if (stdout === 'ready\n') options.onReady?.(child);
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      child.on('error', reject);
      child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
    });
  }
  const run = (...args: string[]) => start(['scripts/with-runtime.mjs', 'script.ts', ...args]);

  it('installs once, and passes arguments and the exit status', async () => {
    script('const args: string[] = process.argv.slice(2); console.log(JSON.stringify(args)); process.exitCode = 7;');
    const first = await run('a', 'b c', '');
    assert.deepEqual([first.status, first.stdout], [7, '["a","b c",""]\n'], first.stderr);
    assert.match(first.stderr, /installing/);
    const second = await run();
    assert.deepEqual([second.status, second.stderr], [7, '']);
    assert.equal(calls(), 1);
  });

  it('installs again when package-lock.json has changed', async () => {
    script('');
    await run();
    lock('1.0.1');
    writeFileSync(join(clone, 'package.json'), '{ "name": "clone", "version": "1.0.1", "type": "module" }');
    assert.equal((await run()).status, 0);
    assert.equal(calls(), 2);
  });

  it('leaves packages alone that node_modules is a link to', async () => {
    const others = join(clone, 'others');
    mkdirSync(others);
    writeFileSync(join(others, 'package'), 'theirs');
    symlinkSync(others, join(clone, 'node_modules'));
    script('console.log("ran");');
    assert.equal((await run()).stdout, 'ran\n');
    assert.equal(calls(), 0);
    assert.ok(existsSync(join(others, 'package')));
  });

  it('installs once when two start at the same time', async () => {
    npm(`sleep 0.5; PATH="\${PATH#*:}" exec npm "$@"`);
    script('console.log("ran");');
    const both = await Promise.all([run(), run(), run()]);
    assert.deepEqual(
      both.map(({ status, stdout }) => [status, stdout]),
      Array(3).fill([0, 'ran\n']),
    );
    assert.equal(calls(), 1);
    assert.ok(!existsSync(join(clone, '.install.lock')));
  });

  it('takes over from an installation that was killed', async () => {
    script('console.log("ran");');
    const { pid } = spawnSync(process.execPath, ['--version']);
    mkdirSync(join(clone, '.install.lock'));
    writeFileSync(join(clone, '.install.lock/owner'), `${pid} ${hostname()}`);
    mkdirSync(join(clone, 'node_modules'));
    assert.equal((await run()).stdout, 'ran\n');
    assert.equal(calls(), 1);
  });

  it('takes over a lock whose process id another process has by now, when it is old', async () => {
    script('console.log("ran");');
    const path = join(clone, '.install.lock');
    mkdirSync(path);
    writeFileSync(join(path, 'owner'), `${process.pid} ${hostname()}`);
    const old = new Date(Date.now() - 20 * 60_000);
    utimesSync(path, old, old);
    assert.equal((await run()).stdout, 'ran\n');
  });

  it('says what npm said when that failed, and tries again the next time', async () => {
    script('console.log("ran");');
    npm('echo "npm error code EUNHAPPY" >&2; exit 1');
    const failed = await run();
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /"npm ci .*" in .* failed with status 1:\nnpm error code EUNHAPPY\n$/);
    assert.equal(failed.stdout, '');
    npm(`PATH="\${PATH#*:}" exec npm "$@"`);
    assert.equal((await run()).stdout, 'ran\n');
  });

  it('passes signals on, and ends by the signal that ended the script', async () => {
    script(`
process.on('SIGTERM', () => { console.log('asked'); process.exit(9); });
console.log('ready'); setTimeout(() => {}, 20000);`);
    const asked = await start(['scripts/with-runtime.mjs', 'script.ts'], {
      onReady: (child) => child.kill('SIGTERM'),
    });
    assert.deepEqual([asked.status, asked.stdout], [9, 'ready\nasked\n']);
    script('process.kill(process.pid, "SIGKILL"); setTimeout(() => {}, 20000);');
    assert.equal((await run()).signal, 'SIGKILL');
  });

  it('names the script that is missing', async () => {
    const { status, stderr } = await start(['scripts/with-runtime.mjs']);
    assert.equal(status, 2);
    assert.match(stderr, /script to run is missing/);
  });

  it('runs the command from src in a clone, and from dist in an installed package', async () => {
    writeFileSync(join(clone, 'src/cli/main.ts'), 'console.log("src", process.argv[2] as string);');
    mkdirSync(join(clone, 'dist/cli'), { recursive: true });
    writeFileSync(join(clone, 'dist/cli/main.js'), 'console.log("dist", process.argv[2]);');
    assert.equal((await start(['bin/ballonet.mjs', 'x'])).stdout, 'src x\n');
    rmSync(join(clone, 'package-lock.json'));
    rmSync(join(clone, 'src'), { recursive: true });
    assert.equal((await start(['bin/ballonet.mjs', 'y'])).stdout, 'dist y\n');
    assert.equal(calls(), 1);
  });

  const old = spawnSync('node', ['--version'], { encoding: 'utf8', env: { ...process.env, PATH: withoutRuntime() } });
  const major = Number(/^v(\d+)/.exec(old.stdout ?? '')?.[1] ?? 99);
  it('on an older Node.js, names the package that is missing', { skip: major >= 26 || major < 20 }, async () => {
    script('');
    const { status, stderr } = await start(['-c', oldNode], { node: 'sh' });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /needs Node\.js 26 or later, this is \d+.*npm package node-\S+, which brings it, is not there/,
    );
  });

  const oldNode = `PATH="${withoutRuntime()}"; exec node scripts/with-runtime.mjs script.ts`;
});

/** PATH without the folders of npm, in which `node` is the one that runs these tests. */
function withoutRuntime(): string {
  return (process.env.PATH ?? '')
    .split(':')
    .filter((folder) => !folder.includes('node_modules'))
    .join(':');
}
