import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assemble } from '../../bench/assemble.ts';
import { requireDebian } from '../../scripts/debian.ts';
import { v8Flags } from '../v8-flags.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** Runs `ballonet run` to its end. */
function run(args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...v8Flags, MAIN, 'run', '--memory', '16M', '--no-devices', ...args], {
      timeout: 120_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

describe('what a run tells of its engine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-observe-'));
  after(() => rmSync(folder, { recursive: true }));
  const file = (name: string): string => join(folder, name);
  let elf = '';

  before(() => {
    requireDebian('binutils');
    // Two loops, one of which takes nine tenths of the time, and long enough for its translation to come; then the end, by the test finisher.
    ({ elf } = assemble(
      'observe',
      `
  .globl _start
_start:
  li s0, 60000000
  .type long_loop, @function
long_loop:
  addi s1, s1, 1
  xor s2, s2, s1
  addi s0, s0, -1
  bnez s0, long_loop
  li s0, 1500000
  .type short_loop, @function
short_loop:
  addi s1, s1, 1
  xor s2, s2, s1
  addi s0, s0, -1
  bnez s0, short_loop
end:
  li t0, 0x100000
  li t1, 0x5555
  sw t1, 0(t0)
1:
  j 1b
`,
      0x8000_0000,
    ));
  });

  test('regions and exits with names, to standard error', async () => {
    const { status, stderr, stdout } = await run(['--firmware', elf, '--symbols', elf, '--trace', 'regions,exits']);
    assert.equal(status, 0, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^hart 0: region at long_loop \(0x8[0-9a-f]+\) translated: 1 blocks, 4 instructions$/m);
    assert.doesNotMatch(stderr, /^block /m);
    assert.match(stderr, /^ *\d+ +[0-9.]+% +poll +long_loop \(0x8[0-9a-f]+\) +(c\.)?addi s1/m);
  });

  test('code to a file, time by symbol to another one, in both formats', async () => {
    const { status, stderr } = await run([
      ...['--firmware', elf, '--symbols', elf, '--trace', 'asm', '--trace-file', file('trace')],
      ...['--profile', file('profile')],
    ]);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    const trace = readFileSync(file('trace'), 'utf8');
    assert.match(trace, /^block 0 at long_loop \(0x8[0-9a-f]+\), begins a loop\n( {2}0x8.*\n){4} {2}leads taken to 0/m);
    const profile = readFileSync(file('profile'), 'utf8');
    const shares = new Map(
      [...profile.matchAll(/^ *([0-9.]+)% +[0-9.]+ +\d+ +[0-9.]+% +M +(\S+)$/gm)].map((m) => [m[2], Number(m[1])]),
    );
    assert.ok(shares.get('long_loop')! > 2 * shares.get('short_loop')!, profile);
    const folded = await run(['--firmware', elf, '--symbols', elf, '--profile', file('p.folded')]);
    assert.equal(folded.status, 0, folded.stderr);
    assert.match(readFileSync(file('p.folded'), 'utf8'), /^M;long_loop \d+$/m);
  });

  test('without names there are addresses, and counters are as ever', async () => {
    const { status, stderr } = await run(['--firmware', elf, '--trace', 'regions', '--counters']);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^hart 0: region at 0x8[0-9a-f]+ translated/m);
    assert.match(stderr, /^translated instructions +[1-9]\d{6,8} /m);
  });

  for (const [args, status, problem] of [
    [['--trace', 'everything'], 1, /--trace <what>.*"everything" is none of regions, exits, asm/],
    [['--trace-file', 'x'], 2, /trace-file: there is nothing to write to it; say with --trace/],
    [['--symbols', MAIN], 2, /symbols: are for --trace and --profile/],
    [['--symbols', MAIN, '--trace', 'exits'], 2, /symbols .*main\.ts: line 1 is no symbol/],
    [['--symbols', '/no/such', '--trace', 'exits'], 2, /symbols \/no\/such: cannot be read/],
    [['--profile', '/no/such/folder'], 2, /profile \/no\/such\/folder: its folder does not exist/],
    [['--trace', 'exits', '--trace-file', tmpdir()], 2, /trace file .*: is a folder; give a file/],
  ] as const) {
    test(`ballonet run ${args.join(' ')} is refused`, async () => {
      const outcome = await run(['--firmware', elf, ...args]);
      assert.equal(outcome.status, status, outcome.stderr);
      assert.match(outcome.stderr, problem);
    });
  }
});
