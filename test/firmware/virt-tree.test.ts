import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalOrder, EXTENSIONS, EXTENSIONS_WITHOUT_SSTC, isaString } from '../../src/firmware/isa-string.ts';
import { type VirtTreeOptions, virtDeviceTree } from '../../src/firmware/virt-tree.ts';
import { decompile, deviceTreeTool, parseSource } from './dtc.ts';

const OPTIONS: VirtTreeOptions = {
  memoryBytes: 5 * 2 ** 30,
  harts: 2,
  extensions: EXTENSIONS,
  bootargs: 'console=ttyS0 quiet',
  initrd: { start: 0x8f00_0000, end: 0x8f12_3456 },
  rngSeed: Uint8Array.from({ length: 32 }, (_, i) => i + 1),
};

const parsed = (options: VirtTreeOptions) => parseSource(decompile(virtDeviceTree(options)).out);

test('dtc has no complaint but one that every RISC-V tree gets', () => {
  const { warnings } = decompile(virtDeviceTree(OPTIONS));
  const others = warnings
    .split('\n')
    .filter((line) => line !== '' && !/cpu@.\/interrupt-controller: Missing #address-cells/.test(line));
  assert.deepEqual(others, []);
});

test('the nodes of the virt machine, with the names that drivers bind to', () => {
  const nodes = parsed(OPTIONS);
  const compatible = (path: string) => nodes.get(path)?.get('compatible');
  assert.equal(compatible('/'), '"riscv-virtio"');
  assert.equal(compatible('/soc'), '"simple-bus"');
  assert.equal(compatible('/soc/clint@2000000'), '"sifive,clint0", "riscv,clint0"');
  assert.equal(compatible('/soc/plic@c000000'), '"sifive,plic-1.0.0", "riscv,plic0"');
  assert.equal(compatible('/soc/serial@10000000'), '"ns16550a"');
  assert.equal(compatible('/soc/rtc@101000'), '"google,goldfish-rtc"');
  assert.equal(compatible('/soc/test@100000'), '"sifive,test1", "sifive,test0", "syscon"');
  assert.equal(compatible('/poweroff'), '"syscon-poweroff"');
  assert.equal(compatible('/reboot'), '"syscon-reboot"');
  for (let slot = 0; slot < 8; slot++) {
    const node = nodes.get(`/soc/virtio_mmio@1000${slot + 1}000`);
    assert.equal(node?.get('compatible'), '"virtio,mmio"');
    assert.equal(node?.get('interrupts'), `<0x0${slot + 1}>`);
  }
  assert.equal(compatible('/cpus/cpu@1'), '"riscv"');
});

test('memory, command line, initrd and seed', () => {
  const nodes = parsed(OPTIONS);
  assert.equal(nodes.get('/memory@80000000')?.get('reg'), '<0x00 0x80000000 0x01 0x40000000>');
  const chosen = nodes.get('/chosen')!;
  assert.equal(chosen.get('bootargs'), '"console=ttyS0 quiet"');
  assert.equal(chosen.get('stdout-path'), '"/soc/serial@10000000"');
  assert.equal(chosen.get('linux,initrd-start'), '<0x00 0x8f000000>');
  assert.equal(chosen.get('linux,initrd-end'), '<0x00 0x8f123456>');
  assert.match(chosen.get('rng-seed')!, /^<0x1020304 0x5060708 .*0x1d1e1f20>$/);
});

test('processors: frequency, isa in all three forms, mmu', () => {
  const nodes = parsed(OPTIONS);
  assert.equal(nodes.get('/cpus')?.get('timebase-frequency'), '<0x989680>');
  const cpu = nodes.get('/cpus/cpu@0')!;
  assert.equal(cpu.get('riscv,isa'), '"rv64imafdc_zicntr_zicsr_zifencei_zihintpause_zba_zbb_zbs_sstc_svadu_svvptc"');
  assert.equal(cpu.get('riscv,isa-base'), '"rv64i"');
  assert.match(
    cpu.get('riscv,isa-extensions')!,
    /^"i", "m", "a", "f", "d", "c", "zicntr", .*"sstc", "svadu", "svvptc"$/,
  );
  assert.equal(cpu.get('mmu-type'), '"riscv,sv48"');
  const full = parsed({ ...OPTIONS, extensions: EXTENSIONS_WITHOUT_SSTC, mmu: 'sv39' }).get('/cpus/cpu@0')!;
  assert.doesNotMatch(full.get('riscv,isa')! + full.get('riscv,isa-extensions')!, /sstc/);
  assert.equal(full.get('mmu-type'), '"riscv,sv39"');
});

test('interrupts: each hart at PLIC and CLINT, devices at the PLIC, power at the test device', () => {
  const nodes = parsed(OPTIONS);
  const phandle = (path: string) => nodes.get(path)!.get('phandle')!.slice(1, -1);
  const [first, second] = [0, 1].map((hart) => phandle(`/cpus/cpu@${hart}/interrupt-controller`));
  assert.equal(
    nodes.get('/soc/plic@c000000')?.get('interrupts-extended'),
    `<${first} 0x0b ${first} 0x09 ${second} 0x0b ${second} 0x09>`,
  );
  assert.equal(
    nodes.get('/soc/clint@2000000')?.get('interrupts-extended'),
    `<${first} 0x03 ${first} 0x07 ${second} 0x03 ${second} 0x07>`,
  );
  for (const path of ['/soc/serial@10000000', '/soc/rtc@101000', '/soc/virtio_mmio@10001000']) {
    assert.equal(nodes.get(path)?.get('interrupt-parent'), `<${phandle('/soc/plic@c000000')}>`);
  }
  assert.equal(nodes.get('/poweroff')?.get('regmap'), `<${phandle('/soc/test@100000')}>`);
  const handles = [...nodes.values()].flatMap((properties) => properties.get('phandle') ?? []);
  assert.equal(new Set(handles).size, handles.length, 'each handle once');
});

test('without devices there are interrupt controllers, console and power only', () => {
  const nodes = parsed({ memoryBytes: 64 * 2 ** 20, harts: 1, extensions: ['i'], devices: false });
  assert.deepEqual([...nodes.keys()].filter((path) => path.split('/').length === 3 && path.startsWith('/soc')).sort(), [
    '/soc/clint@2000000',
    '/soc/plic@c000000',
    '/soc/serial@10000000',
    '/soc/test@100000',
  ]);
  assert.deepEqual([...nodes.get('/chosen')!.keys()], ['stdout-path']);
  assert.ok(nodes.has('/poweroff'));
});

test('fdtget finds what a driver would ask for', () => {
  const blob = virtDeviceTree(OPTIONS);
  const get = (...args: string[]) =>
    deviceTreeTool('fdtget', [...args.slice(0, -2), '-', ...args.slice(-2)], blob).out.trim();
  assert.equal(get('-t', 'u', '/soc/serial@10000000', 'clock-frequency'), '3686400');
  assert.equal(get('-t', 'u', '/soc/plic@c000000', 'riscv,ndev'), '96');
  assert.equal(get('-t', 'x', '/poweroff', 'value'), '5555');
});

test('extensions in canonical order', () => {
  assert.deepEqual(canonicalOrder(['sstc', 'zbb', 'c', 'zicsr', 'd', 'zba', 'i', 'f', 'a', 'm', 'zfh', 'm']), [
    'i',
    'm',
    'a',
    'f',
    'd',
    'c',
    'zicsr',
    'zfh',
    'zba',
    'zbb',
    'sstc',
  ]);
  assert.equal(isaString(['c', 'i']), 'rv64ic');
});
