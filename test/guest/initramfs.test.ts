import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { requireDebian } from '../../scripts/debian.ts';
import {
  EXIT_MARK,
  type GuestImage,
  GuestImageError,
  prepareGuestImage,
  prepareInitramfs,
} from '../../src/guest/index.ts';
import { initScript } from '../../src/guest/init.ts';
import { fakePackages, makeArchive } from './fake-archive.ts';

describe('prepareInitramfs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-initramfs-'));
  const cache = join(folder, 'cache');
  const modules = ['virtio_needy'];
  let image: GuestImage;
  before(async () => {
    requireDebian('xz', 'cpio');
    const source = makeArchive(join(folder, 'archive'), fakePackages());
    image = await prepareGuestImage({ cache, source, modules: ['virtio_needy', 'alone'] });
  });
  after(() => rmSync(folder, { recursive: true }));

  const list = (archive: Uint8Array) => {
    const { status, stdout } = spawnSync('cpio', ['-t'], { input: archive, encoding: 'utf8' });
    assert.equal(status, 0);
    return stdout.trim().split('\n');
  };

  it('holds busybox, the wanted modules with what they need, the script and the files', async () => {
    const files = [{ path: 'etc/motd', data: 'hello' }];
    const { path, size } = await prepareInitramfs(image, { cache, modules, files, script: 'true' });
    const archive = readFileSync(path);
    assert.equal(archive.length, size);
    const names = list(gunzipSync(archive));
    for (const name of ['bin/busybox', 'bin/sh', 'init', 'dev/console', 'etc/motd', 'etc/ballonet/script']) {
      assert.ok(names.includes(name), name);
    }
    assert.deepEqual(
      names.filter((name) => name.endsWith('.ko')),
      ['lib/modules/virtio_base.ko', 'lib/modules/virtio_needy.ko'],
    );
    assert.equal(names.filter((name) => name === 'etc').length, 1);
  });

  it('is found again by its description, and by that alone', async () => {
    const options = { cache, modules, files: [{ path: 'a', data: 'x' }] };
    const first = await prepareInitramfs(image, options);
    const time = statSync(first.path).mtimeMs;
    assert.deepEqual(await prepareInitramfs(image, options), first);
    assert.equal(statSync(first.path).mtimeMs, time);
    const others = [
      { ...options, script: 'true' },
      { ...options, hostname: 'other' },
      { ...options, modules: ['alone'] },
      { ...options, compress: false },
      { ...options, files: [{ path: 'a', data: 'y' }] },
      { ...options, files: [{ path: 'a', data: 'x', mode: 0o755 }] },
      { ...options, files: [{ path: 'b', data: 'x' }] },
    ];
    const paths = await Promise.all(others.map(async (other) => (await prepareInitramfs(image, other)).path));
    assert.equal(new Set([first.path, ...paths]).size, others.length + 1);
    assert.ok(readdirSync(join(cache, 'initramfs')).every((name) => !name.endsWith('.tmp')));
  });

  it('may be left uncompressed', async () => {
    const plain = await prepareInitramfs(image, { cache, modules, compress: false });
    const compressed = await prepareInitramfs(image, { cache, modules });
    assert.deepEqual(readFileSync(plain.path), gunzipSync(readFileSync(compressed.path)));
  });

  it('names a module that the image does not have', async () => {
    await assert.rejects(prepareInitramfs(image, { cache }), (error) => {
      assert.ok(error instanceof GuestImageError && error.code === 'module-missing');
      assert.match(error.message, /no module virtio_mmio; it has virtio_base, virtio_needy, alone/);
      return true;
    });
  });

  it('has an init that a shell understands, with the modules in order', () => {
    const script = initScript('name-1', ['one', 'two']);
    const { status, stderr } = spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.match(script, /for module in one two; do/);
    for (const bad of ['', 'a b', '-a', '$(reboot)', 'a\nb']) assert.throws(() => initScript(bad, []), RangeError);
  });
});

/** Boots Debian's kernel with an initramfs on QEMU; `type` gets each console output and what to type with it. */
function boot(
  image: GuestImage,
  initramfs: string,
  type?: (output: string, send: (text: string) => void) => void,
): Promise<string> {
  requireDebian('qemu');
  const devices = ['-device', 'virtio-balloon-device', '-device', 'virtio-rng-device'];
  const guest = ['-kernel', image.kernelPath, '-initrd', initramfs, '-append', 'console=ttyS0 quiet'];
  const machine = ['-machine', 'virt', '-m', '256M', '-nographic', '-no-reboot'];
  return new Promise((resolve, reject) => {
    const qemu = spawn('qemu-system-riscv64', [...machine, ...guest, ...devices], { timeout: 120_000 });
    let output = '';
    qemu.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString().replaceAll('\r', '');
      type?.(output, (text) => qemu.stdin.write(text));
    });
    qemu.on('error', reject);
    qemu.on('close', (status) =>
      status === 0 ? resolve(output) : reject(new Error(`QEMU ended with ${status}:\n${output.slice(-2000)}`)),
    );
  });
}

/** More than the FIFO of the serial port holds. */
const LAST_WORDS = 'the last words of a script that ends at once';

/** A program for Linux out of assembler text, linked statically; returns the ELF file. */
function assembleProcess(name: string, source: string): Uint8Array {
  requireDebian('binutils');
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-process-'));
  try {
    const [object, program] = [join(folder, `${name}.o`), join(folder, name)];
    for (const [tool, input, ...args] of [
      ['as', source, '-o', object],
      ['ld', '', '--no-relax', '-o', program, object],
    ] as const) {
      const { status, stderr } = spawnSync(`riscv64-linux-gnu-${tool}`, args, { input, encoding: 'utf8' });
      assert.equal(status, 0, stderr);
    }
    return readFileSync(program);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the Debian image', () => {
  let image: GuestImage;
  before(async () => {
    image = await prepareGuestImage();
  });

  it('boots on QEMU, loads the modules and runs a script to its exit status', async () => {
    const script = `
echo "release $(uname -r)"; lsmod | cut -d' ' -f1; tty; cat /root/extra; ls -1 -d /proc/1 /sys/class /dev/null /dev/pts
echo "name $(hostname)"; exit 3`;
    const files = [{ path: 'root/extra', data: 'an extra file\n' }];
    const { path } = await prepareInitramfs(image, { script, files, hostname: 'tested' });
    const output = await boot(image, path);
    for (const line of [
      `release ${image.kernelVersion}`,
      'name tested',
      'virtio_mmio',
      'virtio_balloon',
      'virtio_blk',
      'virtio_rng',
      '/dev/ttyS0',
      'an extra file',
      '/dev/pts',
      `${EXIT_MARK}3`,
    ]) {
      assert.ok(output.split('\n').includes(line), `"${line}" in\n${output.slice(-2000)}`);
    }
  });

  it('loses nothing of what a script prints last, though the port sleeps and its waker has to wait', async () => {
    // A process of real-time priority is not interrupted by the thread that wakes the port.
    const source = `
      .globl _start
_start: li a7, 119 # sched_setscheduler
      li a0, 0
      li a1, 1 # SCHED_FIFO
      la a2, priority
      ecall
      li a7, 101 # nanosleep
      la a0, pause
      li a1, 0
      ecall
      li a7, 64 # write
      li a0, 1
      la a1, text
      li a2, ${LAST_WORDS.length + 1}
      ecall
      li a7, 93 # exit
      li a0, 0
      ecall
      .data
pause: .dword 1, 500000000
priority: .word 50
text: .ascii "${LAST_WORDS}\\n"`;
    const { path } = await prepareInitramfs(image, {
      script: 'exec /root/last',
      files: [{ path: 'root/last', data: assembleProcess('last', source), mode: 0o755 }],
    });
    const output = await boot(image, path);
    assert.ok(output.includes(`${LAST_WORDS}\n${EXIT_MARK}0\n`), output.slice(-500));
  });

  it('gives a shell with job control, and loads the other modules', async () => {
    const { path } = await prepareInitramfs(image, {
      modules: ['virtio_mmio', 'virtio_net', 'ext4', 'squashfs', 'overlay'],
    });
    let typed = 0;
    const lines = ['sleep 100 & jobs; cut -d" " -f1 /proc/modules | sort | xargs\n', 'exit\n'];
    const output = await boot(image, path, (text, send) => {
      // Types the next line at each new prompt.
      if (typed < lines.length && text.split('~ # ').length - 1 > typed) send(lines[typed++]!);
    });
    assert.match(output, /^\[1\]\+ +Running +sleep 100$/m);
    assert.match(
      output,
      /^crc16 crc32c_generic ext4 failover jbd2 mbcache net_failover overlay squashfs virtio_mmio virtio_net$/m,
    );
    assert.doesNotMatch(output, /can't access tty|could not be loaded/);
  });
});
