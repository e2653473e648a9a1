import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { v8Flags } from '../v8-flags.ts';

const root = join(import.meta.dirname, '../..');

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...v8Flags, join(root, 'bench/main.ts'), 'cpu', ...args], { encoding: 'utf8' });
}

interface Output {
  readonly lines: readonly {
    readonly name: string;
    readonly ratio: { readonly median: number };
    readonly seconds: Readonly<Record<string, { readonly median: number }>>;
    readonly cpuSeconds: Readonly<Record<string, { readonly median: number }>>;
  }[];
  readonly groups: readonly { name: string }[];
}

describe('npm run bench -- cpu', () => {
  it('measures the same work here and on QEMU, with the same results', () => {
    const { status, stdout, stderr } = bench('--lines', 'boot,pipes', '--runs', '1', '--json');
    assert.equal(status, 0, stderr);
    const output = JSON.parse(stdout) as Output;
    assert.deepEqual(
      output.lines.map(({ name }) => name),
      ['boot', 'pipes'],
    );
    for (const { ratio, seconds, cpuSeconds } of output.lines) {
      assert.ok(Math.abs(ratio.median - seconds.ballonet!.median / seconds.qemu!.median) < 1e-9);
      assert.ok(seconds.qemu!.median > 0.05);
      for (const machine of ['ballonet', 'qemu']) assert.ok(cpuSeconds[machine]!.median > 0.05);
    }
    assert.deepEqual(
      output.groups.map(({ name }) => name),
      ['boot', 'system'],
    );
  });

  it('names the machine and the line that takes too long', () => {
    const { status, stderr } = bench('--lines', 'boot', '--only', 'qemu', '--runs', '1', '--limit', '0.3');
    assert.equal(status, 1);
    assert.match(stderr, /QEMU: the boot has not ended after 0\.3 s/);
  });

  it('refuses what it does not know', () => {
    assert.match(bench('--lines', 'sort,fast').stderr, /there is no line or group "fast"/);
    assert.match(bench('--only', 'kvm').stderr, /Allowed choices are ballonet, qemu/);
    assert.match(bench('--limit', 'soon').stderr, /"soon" is not a number of seconds/);
  });
});
