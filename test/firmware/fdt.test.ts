import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type DeviceTreeNode, encodeDeviceTree } from '../../src/firmware/fdt.ts';
import { decompile, deviceTreeTool, parseSource } from './dtc.ts';

const TREE: DeviceTreeNode = {
  name: '',
  properties: { compatible: 'a', '#address-cells': 2, '#size-cells': 1 },
  children: [
    {
      name: 'node@1234',
      properties: {
        reg: [0, 0x1234, 8],
        strings: ['x', 'longer', ''],
        empty: true,
        big: 0x1122_3344_5566_7788n,
        bytes: Uint8Array.of(1, 2, 3),
        word: 0xffff_ffff,
      },
      children: [{ name: 'inner', properties: { compatible: 'again' } }],
    },
  ],
};

test('dtc reads the blob and finds every property', () => {
  const nodes = parseSource(decompile(encodeDeviceTree(TREE)).out);
  assert.deepEqual([...nodes.keys()], ['/', '/node@1234', '/node@1234/inner']);
  assert.deepEqual(Object.fromEntries(nodes.get('/node@1234')!), {
    reg: '<0x00 0x1234 0x08>',
    strings: '"x", "longer", ""',
    empty: '',
    big: '<0x11223344 0x55667788>',
    bytes: '[01 02 03]',
    word: '<0xffffffff>',
  });
  assert.equal(nodes.get('/node@1234/inner')!.get('compatible'), '"again"');
});

test('the same as dtc makes of the same source, reservations and boot hart included', () => {
  const source = `/dts-v1/; /memreserve/ 0x80000000 0x40000;
    / { compatible = "a"; #address-cells = <2>; #size-cells = <1>; };`;
  const root = { ...TREE, children: [] };
  const own = encodeDeviceTree(root, { bootHart: 3, reservations: [{ base: 0x8000_0000, size: 0x4_0000 }] });
  const { out } = deviceTreeTool('dtc', ['-I', 'dts', '-O', 'dts', '-b', '3'], source);
  assert.equal(decompile(own).out, out);
});

test('the header: version 17, offsets inside and aligned', () => {
  const blob = encodeDeviceTree(TREE, { bootHart: 5 });
  const words = Array.from({ length: 10 }, (_, i) => new DataView(blob.buffer).getUint32(4 * i));
  const [magic, total, structure, strings, reservations, version, compatible, boot, stringsSize, structureSize] = words;
  assert.deepEqual([magic, total, version, compatible, boot], [0xd00dfeed, blob.length, 17, 16, 5]);
  assert.equal(structure! % 4, 0);
  assert.equal(reservations! % 8, 0);
  assert.equal(structure! + structureSize!, strings!);
  assert.equal(strings! + stringsSize!, total);
});

test('property: any tree survives dtc', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
  const cells = fc.array(fc.nat(0xffff_ffff), { minLength: 1, maxLength: 5 });
  const tree = fc.dictionary(name, fc.dictionary(name, cells, { maxKeys: 4 }), { minKeys: 1, maxKeys: 5 });
  fc.assert(
    fc.property(tree, (nodes) => {
      const children = Object.entries(nodes).map(([child, properties]) => ({ name: child, properties }));
      const parsed = parseSource(
        deviceTreeTool(
          'dtc',
          ['-q', '-I', 'dtb', '-O', 'dts'],
          encodeDeviceTree({ name: '', properties: {}, children }),
        ).out,
      );
      assert.equal(parsed.size, children.length + 1);
      for (const child of children) {
        for (const [property, value] of Object.entries(child.properties)) {
          const words = value.map((word) => `0x${word.toString(16).padStart(2, '0')}`).join(' ');
          const got = parsed.get(`/${child.name}`)?.get(property);
          // dtc writes cells that look like text as text.
          if (got?.startsWith('<')) assert.equal(got, `<${words}>`);
          else assert.notEqual(got, undefined);
        }
      }
    }),
    { numRuns: 40 },
  );
});
