import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assemble } from '../../bench/assemble.ts';
import { requireDebian } from '../../scripts/debian.ts';
import { v8Flags } from '../v8-flags.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command to its end; `input` is typed at once. */
function ballonet(args: readonly string[], input = ''): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...v8Flags, MAIN, ...args], { timeout: 120_000 });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('latin1')));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('latin1')));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
    child.stdin.end(input);
  });
}

describe('options that cannot be', () => {
  for (const [args, status, message] of [
    [['run', '--memory', '0'], 1, /--memory <size>.*'0' is invalid.*give more than 0/],
    [['run', '--memory', '-1M'], 1, /--memory/],
    [['run', '--memory', 'much'], 1, /"much" is no size/],
    [['run', '--machine-memory', '8G'], 2, /machineMemory: .* not between 16 MiB and 4 GiB/],
    [
      ['run', '--memory', '64M', '--machine-memory', '32M', '--kernel', '/dev/null'],
      2,
      /memory: .* more than the machine memory/,
    ],
    [['run', '--kernel', '/no/such/kernel'], 2, /kernel \/no\/such\/kernel: does not exist/],
    [['run', '--firmware', '/no/such/firmware', '--no-devices'], 2, /firmware \/no\/such\/firmware: does not exist/],
    [['run', '--overlay', 'x', '--kernel', MAIN], 2, /overlay: there are 1 of them and 0 disks/],
    [['demo', '--guests', '0'], 1, /--guests <number>.*whole number from 1/],
    [['run', '--shares', 'many'], 1, /--shares <number>.*'many' is invalid.*whole number from 1 to 1000000/],
    [['run', '--stall-limit', '101'], 1, /--stall-limit <percent>.*percentage from 0.1 to 100/],
    [
      ['run', '--memory', '64M', '--minimum', '65M', '--kernel', MAIN],
      2,
      /minimum: .* more than the configured memory/,
    ],
    [['run', '--harts', '9'], 1, /--harts <number>.*'9' is invalid.*whole number from 1 to 8/],
    [['dance'], 1, /unknown command 'dance'/],
  ] as const) {
    test(`ballonet ${args.join(' ')}`, async () => {
      const outcome = await ballonet(args);
      assert.equal(outcome.status, status, outcome.stderr);
      assert.match(outcome.stderr, message);
      assert.equal(outcome.stdout, '');
    });
  }
});

describe('programs on the bare machine', () => {
  before(() => requireDebian('binutils'));

  const program = (value: number): string =>
    assemble(
      `tohost-${value}`,
      `
  la t0, tohost
  li t1, ${value}
  sd t1, 0(t0)
1:
  j 1b
  .section .data
  .balign 64
  .globl tohost
tohost: .dword 0
  .balign 64
  .globl fromhost
fromhost: .dword 0
`,
      0x8000_0000,
    ).elf;

  for (const [value, status] of [
    [1, 0],
    [7, 3],
    [2 * 99 + 1, 99],
  ] as const) {
    test(`${value} in tohost ends with status ${status}`, async () => {
      const outcome = await ballonet(['run', '--firmware', program(value), '--memory', '64M', '--no-devices']);
      assert.equal(outcome.status, status, outcome.stderr);
    });
  }

  test('--json tells the end in one object', async () => {
    const outcome = await ballonet(['run', '--firmware', program(7), '--memory', '64M', '--no-devices', '--json']);
    const told = JSON.parse(outcome.stdout) as { exit: unknown; engine: { instructions: number } };
    assert.deepEqual(told.exit, { reason: 'exit-status', status: 3 });
    assert.ok(told.engine.instructions >= 4);
  });

  test('console output and input, and the end by the test finisher', async () => {
    // Sends each byte back with 1 added, until a full stop.
    const { flat } = assemble(
      'echo',
      `
  li t0, 0x10000000
1:
  lbu t1, 5(t0)
  andi t1, t1, 1
  beqz t1, 1b
  lbu t2, 0(t0)
  addi t3, t2, 1
  sb t3, 0(t0)
  li t4, '.'
  bne t2, t4, 1b
  li t0, 0x100000
  li t1, 0x5555
  sw t1, 0(t0)
2:
  j 2b
`,
      0x8000_0000,
    );
    const outcome = await ballonet(['run', '--firmware', flat, '--memory', '16M', '--no-devices'], 'HAL.');
    assert.equal(outcome.status, 0, outcome.stderr);
    assert.equal(outcome.stdout, 'IBM/');
  });
});

describe('on a terminal', () => {
  before(() => requireDebian('tmux', 'binutils'));

  const socket = `ballonet-test-${process.pid}`;
  const tmux = (...args: string[]): string => spawnSync('tmux', ['-L', socket, ...args], { encoding: 'utf8' }).stdout;
  const screen = async (pattern: RegExp): Promise<string> => {
    for (let i = 0; i < 600; i++) {
      const text = tmux('capture-pane', '-p', '-t', 'test');
      if (pattern.test(text)) return text;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`${pattern} does not come to the screen, which is: ${tmux('capture-pane', '-p', '-t', 'test')}`);
  };

  test('the monitor answers, Ctrl-A x ends, and the terminal is as it was', async (t) => {
    t.after(() => tmux('kill-server'));
    const { flat } = assemble(
      'chatter',
      `
  li t0, 0x10000000
  li t1, '>'
  sb t1, 0(t0)
1:
  lbu t1, 5(t0)
  andi t1, t1, 1
  beqz t1, 1b
  lbu t2, 0(t0)
  sb t2, 0(t0)
  j 1b
`,
      0x8000_0000,
    );
    tmux('new-session', '-d', '-s', 'test', '-x', '100', '-y', '40', 'sh');
    const command = `${[process.execPath, ...v8Flags, MAIN].join(' ')} run --firmware ${flat} --memory 16M --no-devices`;
    tmux(
      'send-keys',
      '-t',
      'test',
      `clear; stty -a | grep -o -e '-*icanon'; ${command}; stty -a | grep -o -e '-*icanon'; echo status-$?`,
      'Enter',
    );
    await screen(/^>/m);
    tmux('send-keys', '-t', 'test', 'typed', 'C-c');
    await screen(/>typed/);
    tmux('send-keys', '-t', 'test', 'C-a', 'c');
    await screen(/\(ballonet\)/);
    tmux('send-keys', '-t', 'test', 'info memory', 'Enter');
    const report = await screen(/host .* free, state/);
    assert.match(report, /configured +16 MiB/);
    tmux('send-keys', '-t', 'test', 'balloon 17', 'Enter');
    await screen(/17M is more than the configured memory/);
    tmux('send-keys', '-t', 'test', 'C-a', 'c');
    tmux('send-keys', '-t', 'test', 'again', 'C-c');
    await screen(/typed[\s\S]*again/);
    tmux('send-keys', '-t', 'test', 'C-a', 'x');
    const end = await screen(/status-\d/);
    // The guest's last line has no end: what follows stands behind it.
    assert.deepEqual(end.match(/-?icanon$/gm), ['icanon', 'icanon']);
  });
});
