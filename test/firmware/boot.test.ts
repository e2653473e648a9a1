import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BootImages, loadBoot, planBoot } from '../../src/firmware/boot.ts';
import { readElf } from '../../src/firmware/elf.ts';
import { ImageError, type ImageProblem, type ImageRole } from '../../src/firmware/image-error.ts';
import { imageInMemory } from '../../src/firmware/image-source.ts';
import { readLinuxImage } from '../../src/firmware/linux-image.ts';
import { ArrayRam } from '../devices/array-ram.ts';
import { elfFile, linuxImage, RAM_BASE } from './images.ts';

const MIB = 1024 * 1024;
const tree = () => new Uint8Array(1000).fill(0xdd);
const source = (bytes: Uint8Array, name = 'test.img') => imageInMemory(name, bytes);
const pattern = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 5 + seed) & 0xff);

function plan(images: Partial<BootImages>, memory = 16 * MIB) {
  return planBoot({ base: RAM_BASE, size: memory }, { deviceTree: tree, ...images });
}

function fails(role: ImageRole, problem: ImageProblem, message: RegExp, action: () => void): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof ImageError, String(error));
    assert.deepEqual([error.role, error.problem], [role, problem]);
    assert.match(error.message, message);
    return true;
  });
}

test('paravirtualized: the kernel at its text offset in S-mode, a1 the device tree', () => {
  const kernel = linuxImage();
  const initrd = pattern(5000);
  const seen: unknown[] = [];
  const boot = plan({
    kernel: source(kernel),
    initrd: source(initrd),
    deviceTree: (at) => {
      seen.push(at);
      return tree();
    },
  });
  assert.deepEqual([boot.mode, boot.pc, boot.a0, boot.a2], ['S', RAM_BASE + 0x20_0000, 0, 0]);
  const ram = new ArrayRam(16 * MIB);
  loadBoot(ram, boot);
  const at = (gpa: number, length: number) => ram.bytes.subarray(gpa - RAM_BASE, gpa - RAM_BASE + length);
  assert.deepEqual(at(boot.pc, kernel.length), kernel);
  assert.deepEqual(at(boot.a1, 1000), tree());
  const { start, end } = seen.at(-1) as { start: number; end: number };
  assert.equal(end - start, initrd.length);
  assert.equal(start % 4096, 0);
  assert.equal(boot.a1 % 8, 0);
  assert.deepEqual(at(start, initrd.length), initrd);
});

test('without an initrd the device tree is told so', () => {
  let last: unknown = 'not called';
  plan({
    kernel: source(linuxImage()),
    deviceTree: (at) => {
      last = at;
      return tree();
    },
  });
  assert.equal(last, undefined);
});

test('full virtualization: raw firmware at the start of RAM in M-mode, a2 tells it the kernel', () => {
  const firmware = pattern(3000, 7);
  const boot = plan({ firmware: source(firmware), kernel: source(linuxImage()), bootHart: 1 });
  assert.deepEqual([boot.mode, boot.pc, boot.a0, boot.htif], ['M', RAM_BASE, 1, undefined]);
  const ram = new ArrayRam(16 * MIB);
  loadBoot(ram, boot);
  assert.deepEqual(ram.bytes.subarray(0, 3000), firmware);
  const words = [0, 1, 2, 3, 4, 5].map((i) => ram.readU64(boot.a2 + 8 * i));
  assert.deepEqual(words, [0x4942_534fn, 2n, 0x8020_0000n, 1n, 0n, 1n]);
  const space = boot.a2 - (boot.a1 + 1000);
  assert.ok(space >= 16 * 1024, 'firmware has room to add to the device tree');
});

test('an ELF firmware goes where its headers say, with tohost and fromhost', () => {
  const text = pattern(100, 3);
  const data = pattern(50, 9);
  const firmware = elfFile({
    entry: RAM_BASE + 4,
    segments: [
      { gpa: RAM_BASE, bytes: text },
      { gpa: RAM_BASE + 0x2000, bytes: data, memorySize: 0x1000 },
    ],
    symbols: { other: 5, tohost: RAM_BASE + 0x1000, fromhost: RAM_BASE + 0x1040 },
  });
  const boot = plan({ firmware: source(firmware) }, 64 * 1024);
  assert.equal(boot.pc, RAM_BASE + 4);
  assert.deepEqual(boot.htif, { tohost: RAM_BASE + 0x1000, fromhost: RAM_BASE + 0x1040 });
  const ram = new ArrayRam(64 * 1024);
  loadBoot(ram, boot);
  assert.deepEqual(ram.bytes.subarray(0, 100), text);
  assert.deepEqual(ram.bytes.subarray(0x2000, 0x2032), data);
  assert.equal(
    plan({ firmware: source(elfFile({ segments: [{ gpa: RAM_BASE, bytes: text }], symbols: { x: 1 } })) }).htif,
    undefined,
  );
});

test('an ELF kernel starts at its entry', () => {
  const kernel = elfFile({
    entry: RAM_BASE + 0x40_0010,
    segments: [{ gpa: RAM_BASE + 0x40_0000, bytes: pattern(64) }],
  });
  assert.equal(plan({ kernel: source(kernel) }).pc, RAM_BASE + 0x40_0010);
});

test('kernels that are none, or damaged', () => {
  const notKernel: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /kernel test.img: is an empty file/],
    [pattern(100_000), /of an unknown kind.*pass an uncompressed/],
    [Uint8Array.of(0x1f, 0x8b, 8, 0, ...pattern(100)), /gzip-compressed/],
    [Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, ...pattern(100)), /xz-compressed/],
    [linuxImage().subarray(0, 40), /not a flat RISC-V kernel image/],
  ];
  for (const [bytes, message] of notKernel) {
    fails('kernel', 'not an image', message, () => plan({ kernel: source(bytes) }));
  }
  fails('kernel', 'not an image', /text offset 0x1234/, () =>
    plan({ kernel: source(linuxImage({ textOffset: 0x1234 })) }),
  );
  fails('kernel', 'wrong architecture', /big-endian/, () => plan({ kernel: source(linuxImage({ flags: 1 })) }));
  const efi = linuxImage({ efi: true, length: 0x2000 });
  assert.equal(readLinuxImage(source(efi)).imageSize, 0x3000);
  for (const length of [0x1fff, 0x1000, 300, 120, 70]) {
    fails('kernel', 'truncated', /cut off: \d+ bytes of/, () => plan({ kernel: source(efi.subarray(0, length)) }));
  }
});

test('what does not fit, or would overlap', () => {
  const kernel = source(linuxImage());
  fails('initrd', 'does not fit', /initrd big: needs 20\.0 MiB.*give the guest more memory/, () =>
    plan({ kernel, initrd: source(new Uint8Array(20 * MIB), 'big') }),
  );
  fails('initrd', 'overlap', /would overlap the kernel/, () =>
    plan({ kernel, initrd: source(new Uint8Array(14 * MIB)) }),
  );
  fails('kernel', 'does not fit', /needs 40\.0 MiB at 0x80200000/, () =>
    plan({ kernel: source(linuxImage({ imageSize: 40 * MIB })) }),
  );
  fails('kernel', 'does not fit', /the guest's memory is 1\.0 MiB/, () => plan({ kernel }, MIB));
  fails('kernel', 'overlap', /would overlap the firmware/, () =>
    plan({ kernel, firmware: source(new Uint8Array(3 * MIB)) }),
  );
  fails('device tree', 'overlap', /would overlap the kernel/, () =>
    plan({ kernel: source(linuxImage({ imageSize: 14 * MIB })) }),
  );
  fails('firmware', 'does not fit', /test.img: has a segment at 0x1000, .* begins at 0x80000000; link it/, () =>
    plan({ firmware: source(elfFile({ segments: [{ gpa: 0x1000, bytes: pattern(8) }] })) }),
  );
  fails('firmware', 'truncated', /empty/, () => plan({ firmware: source(new Uint8Array(0)) }));
  assert.throws(() => plan({}), /nothing to boot/);
});

test('ELF files for other machines, without contents, cut off anywhere', () => {
  const read = (bytes: Uint8Array) => readElf('firmware', source(bytes), ['tohost']);
  fails('firmware', 'not an image', /not an ELF file/, () => read(pattern(100)));
  fails('firmware', 'wrong architecture', /machine 62, not RISC-V/, () => read(elfFile({ machine: 62 })));
  fails('firmware', 'wrong architecture', /64-bit little-endian/, () => read(elfFile({ class: 1 })));
  fails('firmware', 'not an image', /nothing to load/, () => read(elfFile()));
  const whole = elfFile({ segments: [{ gpa: RAM_BASE, bytes: pattern(64) }], symbols: { tohost: 0x8000_1000 } });
  assert.equal(read(whole).symbols.get('tohost'), 0x8000_1000);
  for (let length = 4; length < whole.length; length++) {
    fails('firmware', 'truncated', /cut off: its .* ends at byte/, () => read(whole.subarray(0, length)));
  }
});

test('property: garbage gives a named error or a plan inside of RAM, nothing else', () => {
  const spoil = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 12 });
  const whole = [
    linuxImage({ efi: true, length: 0x1000 }),
    elfFile({ segments: [{ gpa: RAM_BASE, bytes: pattern(64) }], symbols: { tohost: 0x8000_1000 } }),
  ];
  fc.assert(
    fc.property(fc.nat(1), spoil, fc.nat(0x1000), fc.boolean(), (which, changes, length, asFirmware) => {
      const bytes = whole[which]!.slice(0, length < 0x400 ? length : undefined);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      try {
        const { loads } = plan(asFirmware ? { firmware: source(bytes) } : { kernel: source(bytes) });
        for (const { gpa, memorySize, image } of loads) {
          assert.ok(gpa >= RAM_BASE && gpa + memorySize <= RAM_BASE + 16 * MIB && image.size <= memorySize);
        }
      } catch (error) {
        assert.ok(error instanceof ImageError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});
