// What `npm test` runs: formatter, linter (with the layer rule), type check and the tests.
//
//   npm test                      everything
//   npm test -- test/guest        the tests of these files or folders alone
//
// Node's test runner comes last and its closing lines are the last of the output, so that they can be found.

import { spawnSync } from 'node:child_process';
import { existsSync, globSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { debianPackages, requireDebian } from './debian.ts';

const root = dirname(import.meta.dirname);
const bin = `${root}/node_modules`;

/** Longest time in ms that one test may take, boots of Linux guests on a slow machine included. */
const TEST_TIMEOUT_MS = 300_000;

/** Test files that run at the same time. Guests and QEMU use several threads each. */
const CONCURRENCY = 2;

function step(name: string, script: string, args: readonly string[]): boolean {
  const start = performance.now();
  const { status } = spawnSync(process.execPath, [script, ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stdout.write(`check: ${name}: ${status === 0 ? 'ok' : 'FAILED'} (${seconds} s)\n`);
  return status === 0;
}

function testFiles(wanted: readonly string[]): string[] {
  if (wanted.length === 0) return globSync('test/**/*.test.ts', { cwd: root }).sort();
  return wanted.flatMap((path) => {
    if (!existsSync(`${root}/${path}`)) throw new Error(`check: there is no ${path}`);
    return statSync(`${root}/${path}`).isDirectory() ? globSync(`${path}/**/*.test.ts`, { cwd: root }).sort() : [path];
  });
}

const wanted = process.argv.slice(2);
const failed: string[] = [];
if (wanted.length === 0) {
  const keys = Object.keys(debianPackages) as (keyof typeof debianPackages)[];
  try {
    requireDebian(...keys);
  } catch (error) {
    // The tests that need them fail one by one, with this message; the others can still tell something.
    process.stdout.write(`check: ${error instanceof Error ? error.message : error}\n`);
    failed.push('Debian packages');
  }
  const biome = ['check', '--error-on-warnings', '.'];
  if (!step('format and lint', `${bin}/@biomejs/biome/bin/biome`, biome)) failed.push('format and lint');
  if (!step('types', `${bin}/typescript/bin/tsc`, ['--noEmit'])) failed.push('types');
}

const files = testFiles(wanted);
if (files.length === 0) throw new Error('check: there is no test to run');
const tests = spawnSync(
  process.execPath,
  [
    // The flags of V8 that guests are meant to run with.
    ...process.execArgv,
    '--test',
    `--test-concurrency=${CONCURRENCY}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    ...files,
  ],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
);
if (tests.status !== 0) failed.push('tests');
if (failed.length > 0) {
  process.stderr.write(`check: failed: ${failed.join(', ')}\n`);
  process.exitCode = 1;
}
