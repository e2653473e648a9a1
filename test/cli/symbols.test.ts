import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { assemble } from '../../bench/assemble.ts';
import { requireDebian } from '../../scripts/debian.ts';
import { type NamedAddress, readSymbols, SymbolTable, textSymbols } from '../../src/cli/symbols.ts';

const KERNEL = 0xffff_ffff_8000_0000n;
const named = (name: string, address: bigint, size = 0n, code = true): NamedAddress => ({ name, address, size, code });

describe('names of addresses', () => {
  test('up to the next symbol, whatever it is of', () => {
    const table = new SymbolTable([
      named('second', KERNEL + 0x20n),
      named('first', KERNEL + 1n),
      named('data', KERNEL + 0x30n, 0n, false),
    ]);
    assert.equal(table.text(KERNEL), '0xffffffff80000000');
    assert.equal(table.text(KERNEL + 1n), 'first');
    assert.equal(table.text(KERNEL + 0x1fn), 'first+0x1e');
    assert.deepEqual(table.find(KERNEL + 0x2fn), { name: 'second', offset: 15n });
    assert.equal(table.find(KERNEL + 0x30n), undefined);
    assert.equal(table.find(0n), undefined);
    assert.equal(table.find(2n ** 64n - 1n), undefined);
  });

  test('no further than a size, or than code without a size is long', () => {
    const table = new SymbolTable([named('sized', 0x1000n, 6n), named('last', 0x10_0000n)]);
    assert.deepEqual(table.find(0x1005n), { name: 'sized', offset: 5n });
    assert.equal(table.find(0x1006n), undefined);
    assert.equal(table.text(0x10_ffffn), 'last+0xffff');
    assert.equal(table.find(0x11_0000n), undefined);
  });

  test('of several names for an address the first of code', () => {
    const table = new SymbolTable([
      named('section', 16n, 0n, false),
      named('name', 16n),
      named('alias', 16n),
      named('end', 16n, 0n, false),
    ]);
    assert.equal(table.text(16n), 'name');
    assert.equal(new SymbolTable([]).text(16n), '0x10');
  });

  test('as a search one by one finds them', () => {
    const symbol = fc.record({
      name: fc.string({ minLength: 1, maxLength: 3 }),
      address: fc.bigInt({ min: 0n, max: 300n }),
      size: fc.constantFrom(0n, 5n),
      code: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.uniqueArray(symbol, { selector: ({ address }) => address }), (symbols) => {
        const table = new SymbolTable(symbols);
        for (let address = 0n; address < 310n; address += 7n) {
          const below = symbols.filter((each) => each.address <= address);
          const nearest = below.sort((a, b) => Number(b.address - a.address))[0];
          const inside = nearest !== undefined && (nearest.size === 0n || address < nearest.address + nearest.size);
          const wanted = inside && nearest.code ? nearest.name : undefined;
          assert.equal(table.find(address)?.name, wanted);
        }
      }),
    );
  });
});

describe('files of symbols', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-symbols-'));
  after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, contents: string | Uint8Array): string => {
    writeFileSync(join(folder, name), contents);
    return join(folder, name);
  };

  test('System.map and /proc/kallsyms', () => {
    const text = [
      'ffffffff80000000 T _start',
      'ffffffff80000010 t helper',
      'ffffffff80000014 t $x',
      'ffffffff80000020 W __memcpy',
      'ffffffff80000030 D variable',
      'ffffffff02001000 t virtblk_probe\t[virtio_blk]',
      '',
    ].join('\n');
    const table = new SymbolTable(readSymbols(file('System.map', text)));
    assert.equal(table.text(KERNEL + 0x18n), 'helper+0x8');
    assert.equal(table.text(KERNEL + 0x22n), '__memcpy+0x2');
    assert.equal(table.text(KERNEL + 0x32n), '0xffffffff80000032');
    assert.equal(table.text(0xffff_ffff_0200_1004n), 'virtblk_probe [virtio_blk]+0x4');
  });

  for (const [what, text, problem] of [
    [
      'the place holder of a Debian package',
      'ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n',
      /symbols stub: line 1 is no symbol \("ffffffffffffffff B The real.*give a System.map/,
    ],
    ['what an ordinary user reads', '0000000000000000 T _start\n0000000000000000 t x\n', /no addresses; .* as root/],
    ['an empty file', '', /symbols stub: is empty/],
    ['another line', '8000 T f\nhello\n', /line 2 is no symbol/],
  ] as const) {
    test(`${what} is refused`, () => {
      assert.throws(() => textSymbols('stub', text), problem);
    });
  }

  test('a file that is not there, and a kernel without a table', () => {
    assert.throws(() => readSymbols(join(folder, 'none')), /symbols .*none: cannot be read/);
    const image = new Uint8Array(4096);
    new DataView(image.buffer).setUint32(56, 0x05435352, true);
    assert.throws(() => readSymbols(file('kernel', image)), /kernel without a table of symbols/);
  });

  describe('ELF', () => {
    before(() => requireDebian('binutils'));

    test('functions and labels of code, not data; sizes are kept', () => {
      const { elf } = assemble(
        'symbols',
        `
  .globl work
  .type work, @function
work:
  nop
  nop
  .size work, . - work
label:
  nop
  .option norvc
  .balign 64
  .data
  .globl variable
variable: .dword 1
`,
        0x8000_0000,
      );
      const table = new SymbolTable(readSymbols(elf));
      assert.equal(table.text(0x8000_0002n), 'work+0x2');
      assert.match(table.text(0x8000_0008n), /^label/);
      const variable = readSymbols(elf).find(({ name }) => name === 'variable')!;
      assert.equal(table.find(variable.address), undefined);
    });

    test('one that is cut off is refused by name', () => {
      const bytes = new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
      assert.throws(() => readSymbols(file('short.elf', bytes)), /symbols .*short.elf: is cut off/);
    });
  });
});
