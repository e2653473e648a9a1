/**
 * Bare-metal programs in the manner of the public RISC-V suites: ELF files that start in M-mode and report by tohost.
 * They check what can't be compared with QEMU 7.2: exact A/D faults, locked PMP entries, the host-target interface.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { requireDebian } from '../../scripts/debian.ts';
import { runFirmware } from '../differential/run-ballonet.ts';

const SOURCES = join(import.meta.dirname, 'programs');
const CLI = join(import.meta.dirname, '../../src/cli/main.ts');
const TIMEOUT = 20_000;

let folder: string;

before(() => {
  requireDebian('binutils');
  folder = mkdtempSync(join(tmpdir(), 'ballonet-suites-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function tool(name: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(`riscv64-linux-gnu-${name}`, args, { cwd: SOURCES, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

/** Assembles and links a program. @returns the path of the ELF file */
function build(name: string): string {
  const object = join(folder, `${name}.o`);
  const elf = join(folder, `${name}.elf`);
  tool('as', ['-march=rv64gc', '-I.', `${name}.S`, '-o', object]);
  tool('ld', ['-T', 'link.ld', '--no-relax', '-nostdlib', object, '-o', elf]);
  return elf;
}

function runProgram(name: string): { text: string; exit: unknown } {
  const { output, exit } = runFirmware(new Uint8Array(readFileSync(build(name))), TIMEOUT);
  return { text: new TextDecoder().decode(output), exit };
}

for (const name of ['illegal', 'misaligned', 'pmp', 'sv39']) {
  test(`${name}.S passes; the exit status would be the number of the check that failed`, () => {
    assert.deepEqual(runProgram(name), { text: '', exit: { kind: 'status', status: 0 } });
  });
}

test('characters that a program writes to tohost come out of the console', () => {
  assert.deepEqual(runProgram('simple'), { text: 'hello, host\n', exit: { kind: 'status', status: 0 } });
});

test('the number of a check that failed is the exit status', () => {
  assert.deepEqual(runProgram('failing'), { text: '', exit: { kind: 'status', status: 7 } });
});

test('ballonet run --firmware ends by itself with the exit status and the output', () => {
  for (const [name, status, output] of [
    ['simple', 0, 'hello, host\n'],
    ['failing', 7, ''],
  ] as const) {
    const args = [CLI, 'run', '--firmware', build(name), '--memory', '64M', '--no-devices'];
    const run = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: TIMEOUT, input: '' });
    assert.equal(run.status, status, run.stderr);
    assert.equal(run.stdout, output);
  }
});
