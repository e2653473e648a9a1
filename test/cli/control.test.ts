import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assemble } from '../../bench/assemble.ts';
import { requireDebian } from '../../scripts/debian.ts';
import { askHosts, Control } from '../../src/cli/control.ts';
import { explanationLines } from '../../src/cli/explain.ts';
import { Monitor } from '../../src/cli/monitor.ts';
import { Host } from '../../src/index.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

describe('questions to a running host', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-control-'));
  const sockets = join(folder, 'ballonet');
  let host: Host;
  let control: Control;

  before(async () => {
    requireDebian('binutils');
    const { elf } = assemble('waits', '1:\n  wfi\n  j 1b\n', 0x8000_0000);
    host = await Host.create({ machineMemory: '64M', swapSize: 0 });
    await host.start({ name: 'first', memory: '8M', firmware: elf, devices: false, shares: 300, maximum: '6M' });
    await host.start({ name: 'second', memory: '8M', firmware: elf, devices: false });
    control = await Control.open(host, sockets);
  });

  after(async () => {
    control.close();
    await host.close();
    assert.deepEqual(existsSync(join(sockets, `${process.pid}.sock`)), false);
    rmSync(folder, { recursive: true });
  });

  test('the library explains a guest', async () => {
    const explanation = await host.explain('first');
    assert.equal(explanation.guest, 'first');
    assert.equal(explanation.shares, 300);
    assert.equal(explanation.targetReason, 'maximum');
    assert.equal(explanation.target, 6 * 2 ** 20);
    assert.equal(explanation.balloon.reason, 'no-driver');
    assert.match(
      explanation.text,
      /^guest first has 0 MiB of its 8 MiB and may have 6 MiB, which is its maximum, because 2 guests are configured with 16 MiB on/,
    );
    await assert.rejects(host.explain('third'), /guest third: does not run on this host, which has first, second/);
  });

  test('the monitor has it too', async () => {
    const monitor = new Monitor(host, host.guests[1]!, () => {});
    assert.match(
      await monitor.execute('info policy'),
      /^guest second has .* of its 8 MiB and may have all of it, because/,
    );
    let printed = '';
    await new Promise<void>((resolve) => {
      let answers = 0;
      monitor.feed(
        Buffer.from('info policy\rhelp\r'),
        (text) => (printed += text),
        () => ++answers === 2 && resolve(),
      );
    });
    assert.match(printed, /guest second has [\s\S]*quit +ends the guest/);
  });

  test('another command finds a guest by its name', async () => {
    assert.equal(statSync(sockets).mode & 0o777, 0o700);
    const answers = await askHosts('second', undefined, sockets);
    assert.deepEqual(
      answers.map(({ pid, explanation }) => [pid, explanation.guest]),
      [[process.pid, 'second']],
    );
    assert.equal((await askHosts(undefined, process.pid, sockets)).length, 2);
    assert.equal(explanationLines(answers[0]!.explanation)[0], answers[0]!.explanation.text);
    await assert.rejects(askHosts('third', undefined, sockets), /guest: no running host has one of the name third/);
    await assert.rejects(askHosts('first', 1, sockets), /host: process 1 is no host of yours/);
  });

  test('a socket that was left behind is cleared away', async () => {
    const left = join(sockets, '999999999.sock');
    // Bound and gone, as after a kill.
    const script = `require('node:net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script], { timeout: 10_000 });
    assert.ok(existsSync(left));
    assert.equal((await askHosts(undefined, undefined, sockets)).length, 2);
    assert.ok(!existsSync(left));
    await assert.rejects(askHosts('x', undefined, join(folder, 'none')), /host: no host is running/);
  });

  test('what is no question is answered with an error', async () => {
    for (const [line, message] of [
      ['{', /JSON/],
      ['null', /the only command is "explain"/],
      ['{"command":"dance"}', /the only command is "explain"/],
    ] as const) {
      const socket = connect(join(sockets, `${process.pid}.sock`));
      socket.write(`${line}\n`);
      const answer = (await socket.setEncoding('utf8').toArray()).join('');
      assert.match((JSON.parse(answer) as { error: string }).error, message);
    }
  });

  test('a folder that is none is refused', async () => {
    const path = join(folder, 'file');
    writeFileSync(path, '');
    await assert.rejects(Control.open(host, path), /EEXIST/);
  });

  test('the command says that nobody is there', () => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'explain', 'x'], {
      encoding: 'utf8',
      env: { ...process.env, XDG_RUNTIME_DIR: join(folder, 'nobody') },
      timeout: 60_000,
    });
    assert.equal(stderr, 'ballonet: host: no host is running\n');
    assert.equal(status, 2);
  });
});
