/** Linux on several harts. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireDebian } from '../../scripts/debian.ts';
import type { GuestFile } from '../../src/guest/index.ts';
import { Host } from '../../src/index.ts';
import { BOOT_MS, ShellGuest } from './linux-guests.ts';

const MIB = 2 ** 20;
/** The parts of the stress program, each of which says how it went. */
const PARTS = ['atomics', 'fences', 'queues', 'remapping', 'protecting', 'forks', 'coding'];

let stress: GuestFile;

/** Compiles the stress program. */
before(() => {
  requireDebian('gcc');
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-smp-'));
  const source = fileURLToPath(new URL('programs/stress.c', import.meta.url));
  const target = join(folder, 'stress');
  const options = ['-O2', '-Wall', '-Wextra', '-Werror', '-static', '-pthread', '-s'];
  execFileSync('riscv64-linux-gnu-gcc', [...options, '-o', target, source]);
  stress = { path: 'bin/stress', data: readFileSync(target), mode: 0o755 };
  rmSync(folder, { recursive: true });
});

/** Runs the stress program in a guest and checks what every part of it says. */
async function runStress(shell: ShellGuest, threads: number, rounds: number): Promise<void> {
  const output = await shell.run(`stress ${threads} ${rounds}; echo status $?`);
  const expected = [...PARTS.map((part) => `${part}: ok`), 'stress: all right', 'status 0', ''].join('\n');
  assert.equal(output, expected);
}

/** Lines of the kernel's log that say that something went wrong. */
const complaints = (shell: ShellGuest): Promise<string> =>
  shell.run("dmesg | grep -E 'BUG|WARNING|Oops|stall|lockup|hung' || true");

describe('a Linux guest with four harts', { timeout: 4 * BOOT_MS }, () => {
  let host: Host;
  let shell: ShellGuest;

  before(async () => {
    host = await Host.create({ machineMemory: 384 * MIB });
    shell = await ShellGuest.start(host, { name: 'smp', memory: 192 * MIB, harts: 4 }, [stress]);
  });
  after(() => host.close());

  test('the kernel has them all', async () => {
    assert.equal(await shell.run('nproc'), '4\n');
    assert.match(await shell.run('cat /sys/devices/system/cpu/online'), /^0-3$/m);
  });

  test('locks, atomics, page tables and code that threads on all harts change', () => runStress(shell, 4, 60));

  test('processes on all harts', async () => {
    const loop = 'for n in 1 2 3 4 5 6; do (for i in $(seq 15); do echo $n-$i | cat | sed s/-/+/; done) & done; wait';
    const lines = (await shell.run(`{ ${loop}; } | sort | md5sum`)).slice(0, 32);
    const expected = [1, 2, 3, 4, 5, 6].flatMap((n) => Array.from({ length: 15 }, (_, i) => `${n}+${i + 1}\n`));
    const outside = execFileSync('sh', ['-c', 'LC_ALL=C sort | md5sum'], {
      input: expected.join(''),
      encoding: 'utf8',
    });
    assert.equal(lines, outside.slice(0, 32));
  });

  test('harts are taken away and come back', async () => {
    const online = (hart: number, to: number): Promise<string> =>
      shell.run(`echo ${to} > /sys/devices/system/cpu/cpu${hart}/online; nproc`);
    assert.equal(await online(2, 0), '3\n');
    assert.equal(await online(3, 0), '2\n');
    assert.match(await shell.run('taskset -p 4 $$ 2>/dev/null || echo refused'), /refused/);
    assert.equal(await online(2, 1), '3\n');
    assert.equal(await online(3, 1), '4\n');
    await runStress(shell, 4, 10);
  });

  test('a paused guest loses no time on any hart', async () => {
    const seconds = async (): Promise<number> => Number.parseFloat(await shell.run('cat /proc/uptime'));
    const before = await seconds();
    await shell.guest.pause();
    const { instructions } = shell.guest.statistics().engine;
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.equal(shell.guest.statistics().engine.instructions, instructions);
    await shell.guest.resume();
    assert.ok((await seconds()) - before < 2.5);
    assert.equal(await complaints(shell), '');
  });

  test('it powers off from a hart behind the first one, and its memory comes back', async () => {
    shell.guest.console.write('taskset 8 poweroff -f\n');
    assert.deepEqual(await shell.guest.wait(), { reason: 'poweroff', status: 0 });
    const { memory } = host.statistics();
    assert.equal(memory.free, memory.machineMemory - memory.overhead);
  });
});

describe('several harts and less machine memory than their guests use', { timeout: 4 * BOOT_MS }, () => {
  for (const [where, compressed, count] of [
    ['the swap file', 0, 'swapIns'],
    ['compressed memory', 0.2, 'decompressed'],
  ] as const) {
    test(`pages are shared, go to ${where} and come back while their harts change their page tables`, async () => {
      await using host = await Host.create({ machineMemory: 160 * MIB, compressed });
      const shells = await Promise.all(
        ['one', 'two'].map((name) =>
          ShellGuest.start(host, { name, memory: 160 * MIB, harts: 2, devices: false }, [stress]),
        ),
      );
      await Promise.all(
        shells.map(async (shell, i) => {
          const fill = `awk 'BEGIN { for (n = 0; n < 15000; n++) printf "%4095d\\n", n * 2 + ${i} }'`;
          await shell.run('mount -o remount,size=90% /dev/shm');
          const sums = await shell.run(`${fill} > /dev/shm/data & ${fill} | md5sum; wait; md5sum < /dev/shm/data`);
          const [outside, inside] = sums.match(/[0-9a-f]{32}/g)!;
          assert.equal(inside, outside);
          await runStress(shell, 3, 20);
          assert.equal((await shell.run('md5sum < /dev/shm/data')).slice(0, 32), outside);
          assert.equal(await complaints(shell), '');
        }),
      );
      const counts = shells.map((shell) => shell.guest.statistics().memory.counts);
      const back = counts.reduce((sum, its) => sum + its[count], 0);
      assert.ok(back > 500, `pages came back: ${JSON.stringify(counts)}`);
    });
  }
});

describe('several harts, fully virtualized', { timeout: 4 * BOOT_MS }, () => {
  before(() => requireDebian('opensbi'));

  test('OpenSBI has them all, and Linux runs on them', async () => {
    await using host = await Host.create({ machineMemory: 384 * MIB });
    const shell = await ShellGuest.start(
      host,
      {
        name: 'full',
        memory: 192 * MIB,
        harts: 3,
        firmware: '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin',
      },
      [stress],
    );
    assert.match(shell.guest.console.tail, /Platform HART Count +: 3\r?\n/);
    assert.equal(await shell.run('nproc'), '3\n');
    await runStress(shell, 3, 20);
    assert.equal(await complaints(shell), '');
  });
});
