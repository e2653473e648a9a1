import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Host } from '../../src/index.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'ballonet-bad-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, contents: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

/** A flat image with a good header and nothing in it; `size` is what the header says, bytes. */
function kernelImage(size = 4096): Buffer {
  const image = Buffer.alloc(4096);
  image.writeUInt32LE(0x0000006f, 0); // j .
  image.writeBigUInt64LE(0x200000n, 8);
  image.writeBigUInt64LE(BigInt(size), 16);
  image.writeUInt32LE(2, 32);
  image.write('RISCV\0\0\0', 48, 'latin1');
  image.write('RSC\x05', 56, 'latin1');
  return image;
}

describe('options of a host', () => {
  for (const [machineMemory, part] of [
    [0, /machineMemory: 0 is not between/],
    ['-1G', /machineMemory: "-1G" is no size/],
    ['5G', /machineMemory: 5G is not between 16 MiB and 4 GiB/],
    ['plenty', /machineMemory: "plenty" is no size/],
  ] as const) {
    test(`machine memory of ${machineMemory}`, async () => {
      await assert.rejects(Host.create({ machineMemory }), { name: 'OptionError', message: part });
    });
  }

  test('a niceness that no thread has', async () => {
    for (const translatorNiceness of [-1, 0.5, 20]) {
      const message = new RegExp(`^translatorNiceness: ${translatorNiceness} is not a whole number from 0 to 19$`);
      const options = { machineMemory: '32M', translatorNiceness };
      await assert.rejects(Host.create(options), { name: 'OptionError', message });
    }
  });

  test('a swap file that cannot be', async () => {
    const swapFile = join(folder, 'none', 'swap');
    await assert.rejects(Host.create({ machineMemory: '32M', swapFile }), {
      name: 'FileError',
      message: /^swap file .*none\/swap: its folder does not exist/,
    });
    await assert.rejects(Host.create({ machineMemory: '32M', swapFile: '/proc/ballonet-swap' }), { name: 'FileError' });
  });
});

test('a file system too full for the swap', {
  skip: process.getuid?.() !== 0 && 'only root can mount one',
}, async (t) => {
  const small = join(folder, 'small');
  mkdirSync(small);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
  if (mounted.status !== 0) return t.skip('no file system can be mounted here');
  try {
    await assert.rejects(Host.create({ machineMemory: '32M', swapFile: join(small, 'swap') }), {
      name: 'FileError',
      message: /^swap file .*small\/swap: needs 64 MiB and its file system has 1 MiB free; give a smaller/,
    });
    assert.deepEqual(readdirSync(small), []);
  } finally {
    spawnSync('umount', [small]);
  }
});

describe('options of a guest', () => {
  let host: Host;
  before(async () => {
    host = await Host.create({ machineMemory: 64 * MIB, swapSize: 64 * MIB });
  });
  after(() => host.close());

  const kernel = file('kernel', kernelImage());
  const cases: [string, Parameters<Host['start']>[0], RegExp][] = [
    ['no memory', { memory: 0, kernel }, /memory: 0 is too little/],
    ['negative memory', { memory: -4096, kernel }, /memory: "-4096" is no size/],
    [
      'more memory than the host has',
      { memory: '65M', kernel },
      /memory: 65M is more than the machine memory of 64 MiB/,
    ],
    ['neither kernel nor firmware', { memory: '16M' }, /kernel: neither/],
    ['a kernel that is not there', { memory: '16M', kernel: join(folder, 'gone') }, /^kernel .*gone: does not exist/],
    ['a folder as kernel', { memory: '16M', kernel: folder }, /^kernel .*: is a folder/],
    ['a minimum above the memory', { memory: '16M', kernel, minimum: '17M' }, /minimum: 17M is more/],
    ['a maximum above the memory', { memory: '16M', kernel, maximum: '17M' }, /maximum: 17M is not between 1 MiB and/],
    [
      'a minimum above the maximum',
      { memory: '16M', kernel, minimum: '9M', maximum: '8M' },
      /minimum: 9M is more than/,
    ],
    ['a stall limit of nothing', { memory: '16M', kernel, stallLimit: 0 }, /stallLimit: 0 is no part of the time/],
    ['shares that are none', { memory: '16M', kernel, shares: 0 }, /shares: 0 is not/],
    ['a disk that is not there', { memory: '16M', kernel, disks: [{ path: join(folder, 'gone') }] }, /^disk .*gone/],
    ['disks without devices', { memory: '16M', kernel, devices: false, disks: [{ path: kernel }] }, /disks: /],
    ['a name of nothing', { memory: '16M', kernel, name: '' }, /name: /],
  ];
  for (const [what, options, message] of cases) {
    test(what, async () => {
      await assert.rejects(host.start(options), { message });
      assert.equal(host.guests.length, 0);
    });
  }

  test('garbage as kernel', async () => {
    const garbage = file('garbage', Buffer.alloc(100_000, 0x5a));
    await assert.rejects(host.start({ name: 'g', memory: '16M', kernel: garbage }), {
      name: 'GuestError',
      message: /guest g: .*garbage/,
    });
  });

  test('a truncated kernel', async () => {
    const short = file('short', kernelImage().subarray(0, 40));
    await assert.rejects(host.start({ name: 'g', memory: '16M', kernel: short }), {
      name: 'GuestError',
      message: /guest g: .*short/,
    });
  });

  test('an initial file system larger than the memory', async () => {
    const initrd = file('initrd', '');
    truncateSync(initrd, 17 * MIB);
    await assert.rejects(host.start({ name: 'g', memory: '16M', kernel, initrd }), {
      name: 'GuestError',
      message: /guest g: .*initrd/,
    });
  });

  test('guests that end before they start leave nothing behind', async () => {
    const { memory } = host.statistics();
    assert.equal(memory.configured, 0);
    assert.equal(memory.free, memory.machineMemory - memory.overhead);
  });

  test('a closed host starts nothing', async () => {
    const closed = await Host.create({ machineMemory: '32M', swapSize: 0 });
    await closed.close();
    await closed.close();
    await assert.rejects(closed.start({ memory: '16M', kernel }), /closed/);
  });
});
