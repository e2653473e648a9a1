import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { requireDebian } from '../../scripts/debian.ts';
import { Host } from '../../src/index.ts';
import { BOOT_MS, eventually, linuxFiles, ShellGuest } from './linux-guests.ts';

const MIB = 2 ** 20;

/** Writes 8 MiB that are the same in every guest, without two pages alike. */
const FILL = 'i=0; while [ $i -lt 2048 ]; do printf "%4096d" $((i + 77)); i=$((i + 1)); done > /dev/shm/pages';
const SUM = 'md5sum < /dev/shm/pages | cut -c1-32';

/**
 * MemFree in bytes: the most of several looks, as pages that are being reported as free, up to 64 MiB at a time, are
 * not counted for that moment.
 */
async function mostFree(shell: ShellGuest): Promise<number> {
  let most = 0;
  for (let i = 0; i < 5; i++) {
    most = Math.max(most, await shell.memory('MemFree'));
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return most;
}

describe('two Linux guests on one host', { timeout: 4 * BOOT_MS }, () => {
  let host: Host;
  let first: ShellGuest;
  let second: ShellGuest;

  before(async () => {
    host = await Host.create({ machineMemory: 512 * MIB });
    [first, second] = await Promise.all([
      ShellGuest.start(host, { name: 'first', memory: 192 * MIB }),
      ShellGuest.start(host, { name: 'second', memory: 192 * MIB }),
    ]);
  });
  after(() => host.close());

  test('they boot to a shell with the modules for their devices', async () => {
    for (const shell of [first, second]) {
      assert.equal(shell.guest.state, 'running');
      const modules = await shell.run('lsmod');
      for (const name of ['virtio_mmio', 'virtio_balloon', 'virtio_blk'])
        assert.match(modules, new RegExp(`^${name} `, 'm'));
    }
    assert.equal(host.guests.length, 2);
  });

  test('a balloon takes memory from a guest and gives it back', async () => {
    const { guest } = first;
    await eventually('the balloon driver is there', () => guest.statistics().memory.balloonDriver);
    guest.setBalloon(0);
    await eventually('the balloon is empty', () => guest.statistics().memory.balloon === 0);
    const before = await mostFree(first);
    guest.setBalloon('48M');
    await eventually('the balloon is full', () => guest.statistics().memory.balloon === 48 * MIB);
    assert.ok(before - (await first.memory('MemFree')) > 40 * MIB, 'the guest has that much less');
    const full = guest.statistics().memory;
    assert.equal(full.balloonManual, true);
    assert.ok(full.resident <= full.configured - 48 * MIB, `resident ${full.resident}`);
    guest.setBalloon(0);
    await eventually('the balloon is empty again', () => guest.statistics().memory.balloon === 0);
    await eventually('the guest has it back', async () => (await first.memory('MemFree')) > before - 8 * MIB);
    guest.setBalloon('auto');
    assert.throws(() => guest.setBalloon('1G'), /balloon: 1G is more than the configured memory of guest first/);
  });

  test('identical pages of both are shared until one of them writes', async () => {
    const shared = (): number => first.guest.statistics().memory.shared + second.guest.statistics().memory.shared;
    const [a, b] = await Promise.all([first, second].map((shell) => shell.run(`${FILL}; ${SUM}`)));
    assert.equal(a, b);
    const saved = host.statistics().memory.savings.sharing;
    await eventually(
      'most of the pages are found',
      () => shared() > 16 * MIB * 0.75 && host.statistics().memory.savings.sharing > saved,
      120_000,
    );
    const copies = first.guest.statistics().memory.counts.copies;
    await first.run('printf changed | dd of=/dev/shm/pages conv=notrunc bs=1 seek=1000000 2>/dev/null');
    const changed = await first.run(SUM);
    assert.notEqual(changed, a);
    assert.equal(await second.run(SUM), b, 'the other one does not see the write');
    assert.ok(first.guest.statistics().memory.counts.copies > copies);
    await second.run('printf "%8192d" 5 | dd of=/dev/shm/pages conv=notrunc bs=4096 seek=100 2>/dev/null');
    assert.notEqual(await second.run(SUM), b);
    assert.equal(await first.run(SUM), changed);
    await Promise.all([first, second].map((shell) => shell.run('rm /dev/shm/pages')));
  });

  test('its memory can be read from outside', async () => {
    const { guest } = first;
    const bytes = await guest.readMemory(0x8020_0000, 4096 * 3);
    assert.equal(bytes.length, 4096 * 3);
    assert.ok(bytes.some((byte) => byte !== 0));
    await assert.rejects(
      guest.readMemory(0x8000_0000 + 192 * MIB - 1, 2),
      /guest first: 2 bytes at .* are not in its RAM/,
    );
    await assert.rejects(guest.readMemory(0, 4), /guest first/);
  });

  test('a paused guest stands still and loses no time', async () => {
    const { guest } = first;
    const uptime = async (): Promise<number> => Number.parseFloat(await first.run('cat /proc/uptime'));
    const before = await uptime();
    await guest.pause();
    assert.equal(guest.state, 'paused');
    const { instructions } = guest.statistics().engine;
    await new Promise((resolve) => setTimeout(resolve, 5000));
    assert.equal(guest.statistics().engine.instructions, instructions);
    assert.match(await second.run('echo the other goes on'), /goes on/);
    await guest.resume();
    assert.equal(guest.state, 'running');
    assert.ok((await uptime()) - before < 4);
  });

  test('one that panics ends as such, while the other goes on', async () => {
    second.guest.console.write('echo c > /proc/sysrq-trigger\n');
    const exit = await second.guest.wait();
    assert.equal(exit.reason, 'panic');
    assert.equal(exit.status, 1);
    assert.match(exit.message!, /sysrq triggered crash/);
    assert.deepEqual(
      host.guests.map((guest) => guest.name),
      ['first'],
    );
    assert.match(await first.run('echo still here'), /still here/);
    await assert.rejects(second.guest.readMemory(0x8000_0000, 1), /guest second: has ended/);
  });

  test('one that powers off ends well, and its memory comes back', async () => {
    const free = host.statistics().memory.free;
    const { resident } = first.guest.statistics().memory;
    first.guest.console.write('poweroff -f\n');
    assert.deepEqual(await first.guest.wait(), { reason: 'poweroff', status: 0 });
    await eventually('its frames are free', () => host.statistics().memory.free >= free + resident * 0.9);
    await eventually('all frames are', () => {
      const { memory } = host.statistics();
      return memory.free === memory.machineMemory - memory.overhead;
    });
  });
});

describe('less machine memory than the guests use', { timeout: 4 * BOOT_MS }, () => {
  test('pages are compressed, go to swap and come back unharmed, without balloons', async () => {
    // The pages compress very well, and the pool is small enough that they go on to the file.
    await using host = await Host.create({ machineMemory: 224 * MIB, sharing: false, compressed: 0.005 });
    const shells = await Promise.all(
      ['one', 'two'].map((name) => ShellGuest.start(host, { name, memory: 160 * MIB, devices: false })),
    );
    await Promise.all(
      shells.map(async (shell, i) => {
        // Pages that are not alike, neither inside of a guest nor in both.
        const fill = `awk 'BEGIN { for (n = 0; n < 18000; n++) printf "%4095d\\n", n * 2 + ${i} }'`;
        const sum = 'md5sum | cut -c1-32';
        const outside = await shell.run(`${fill} | ${sum}`);
        await shell.run(`mount -o remount,size=90% /dev/shm; ${fill} > /dev/shm/data`);
        for (let n = 0; n < 2; n++)
          assert.equal(await shell.run(`${sum.replace(' |', ' < /dev/shm/data |')}`), outside);
      }),
    );
    const { counts } = shells[0]!.guest.statistics().memory;
    const other = shells[1]!.guest.statistics().memory.counts;
    const { pagesRead, pagesWritten } = host.statistics().memory.swapIo;
    assert.ok(counts.compressed + other.compressed > 1000, `compressed: ${counts.compressed} and ${other.compressed}`);
    // Most of them come back from the file: the pool is small, and reads bring their neighbours along.
    assert.ok(counts.decompressed + other.decompressed > 0, 'no page was decompressed');
    assert.ok(
      pagesWritten > 1000 && pagesRead > 1000,
      `${pagesWritten} pages went to the file, ${pagesRead} came back`,
    );
    assert.equal(counts.ballooned + counts.reported, 0);
  });
});

describe('full virtualization', { timeout: 4 * BOOT_MS }, () => {
  before(() => requireDebian('opensbi'));

  test('OpenSBI prints its banner, and Linux boots to the same shell with its disks', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ballonet-full-'));
    after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'disk');
    const overlay = join(folder, 'overlay');
    const contents = Buffer.alloc(MIB, 'what the host put there ');
    writeFileSync(path, contents);
    await using host = await Host.create({ machineMemory: 384 * MIB });
    const shell = await ShellGuest.start(host, {
      name: 'full',
      memory: 256 * MIB,
      firmware: '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin',
      append: 'console=ttyS0 panic=-1',
      disks: [{ path, overlay }],
    });
    const { tail } = shell.guest.console;
    assert.match(tail, /OpenSBI v\d[\s\S]*Linux version/);
    assert.doesNotMatch(await shell.run('grep isa /proc/cpuinfo'), /sstc/);
    const outside = createHash('md5').update(contents).digest('hex');
    assert.equal((await shell.run('md5sum < /dev/vda | cut -c1-32')).trim(), outside);
    await shell.run('echo changed | dd of=/dev/vda conv=notrunc 2>/dev/null; sync; echo 3 > /proc/sys/vm/drop_caches');
    assert.match(await shell.run('head -c 8 /dev/vda'), /^changed\n/);
    shell.guest.console.write('poweroff -f\n');
    assert.equal((await shell.guest.wait()).reason, 'poweroff');
    assert.deepEqual(readFileSync(path), contents, 'the image is as it was');
    assert.ok(statSync(overlay).size > 0);
  });
});

describe('ends by the host', { timeout: 4 * BOOT_MS }, () => {
  test('a killed guest is gone at once; the next one takes its place', async () => {
    await using host = await Host.create({ machineMemory: 384 * MIB });
    const files = await linuxFiles();
    const guest = await host.start({ name: 'victim', memory: 256 * MIB, ...files });
    await guest.console.until(/Linux version/, BOOT_MS);
    const start = Date.now();
    assert.deepEqual(await guest.kill(), { reason: 'killed', status: 1 });
    assert.ok(Date.now() - start < 3000);
    assert.equal(guest.state, 'ended');
    const next = await host.start({ name: 'next', memory: 256 * MIB, ...files });
    await next.console.until(/Linux version/, BOOT_MS);
    await host.close();
    assert.equal((await next.wait()).reason, 'killed');
  });
});
