import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EXIT_MARK, readKallsyms } from '../../src/guest/index.ts';
import { Host } from '../../src/index.ts';
import { linuxFiles } from '../host/linux-guests.ts';

const BASE = 0xffff_ffff_8000_0000n;

interface Symbol {
  readonly offset: number;
  readonly name: string;
}

interface Layout {
  /** Offsets and base in front of the names, as before Linux 6.4. */
  readonly addressesFirst: boolean;
  /** What the base has in the image. */
  readonly base: bigint;
  /** Bytes in front of the table. */
  readonly before: number;
}

/** Writes a table as the kernel's build does; each name with its type in front. */
function writeTable(symbols: readonly Symbol[], { addressesFirst, base, before }: Layout): Uint8Array {
  // Tokens: characters, and some longer ones where no character is used.
  const tokens = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i));
  for (const [i, text] of ['sys', 'lock', 'init', '_read'].entries()) tokens[200 + i] = text;
  tokens[0] = 'module_';
  const bytes: number[] = Array.from({ length: before }, (_, i) => (i * 7) & 0xff);
  const align = (to: number): void => {
    while (bytes.length % to !== 0) bytes.push(0);
  };
  const u32 = (value: number): unknown => bytes.push(...new Uint8Array(Uint32Array.of(value).buffer));
  const addresses = (): void => {
    align(8);
    for (const { offset } of symbols) u32(offset);
    align(8);
    bytes.push(...new Uint8Array(BigUint64Array.of(base).buffer));
  };
  if (addressesFirst) addresses();
  align(8);
  u32(symbols.length);
  align(8);
  const first = bytes.length;
  const markers: number[] = [];
  for (const [i, { name }] of symbols.entries()) {
    if (i % 256 === 0) markers.push(bytes.length - first);
    const text: number[] = [];
    for (let at = 0; at < name.length; ) {
      const token = [200, 201, 202, 203, 0].find((t) => name.startsWith(tokens[t]!, at)) ?? name.charCodeAt(at);
      text.push(token);
      at += tokens[token]!.length;
    }
    if (text.length > 127) bytes.push((text.length & 0x7f) | 0x80, text.length >> 7);
    else bytes.push(text.length);
    bytes.push(...text);
  }
  align(8);
  for (const marker of markers) u32(marker);
  align(8);
  const start = bytes.length;
  const offsets: number[] = [];
  for (const token of tokens) {
    offsets.push(bytes.length - start);
    for (const character of token) bytes.push(character.charCodeAt(0));
    bytes.push(0);
  }
  align(8);
  for (const offset of offsets) bytes.push(offset & 0xff, offset >> 8);
  if (!addressesFirst) addresses();
  bytes.push(...new Uint8Array(64).fill(0x55));
  return Uint8Array.from(bytes);
}

describe('the table of symbols of a kernel', () => {
  const name = fc
    .tuple(
      fc.constantFrom('T', 't', 'D', 'b'),
      fc.array(fc.constantFrom('sys', 'lock', 'init', '_read', 'module_', 'a', 'Z', '0', '.', '_'), {
        minLength: 1,
        maxLength: 150,
      }),
    )
    .map(([type, parts]) => type + parts.join(''));
  const gaps = fc.nat({ max: 5000 });

  test('both orders of its parts, names of all lengths', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, gaps), { minLength: 257, maxLength: 900 }),
        fc.record({
          addressesFirst: fc.boolean(),
          base: fc.constantFrom(0n, BASE, 0xffff_ffe0_0000_0000n),
          before: fc.nat({ max: 300 }),
        }),
        (named, layout) => {
          let offset = 0;
          const symbols = named.map(([text, gap]) => {
            offset += gap;
            return { name: text, offset };
          });
          const read = readKallsyms(writeTable(symbols, layout));
          assert.deepEqual(
            read,
            symbols.map((symbol) => ({
              type: symbol.name[0],
              name: symbol.name.slice(1),
              address: (layout.base || BASE) + BigInt(symbol.offset),
            })),
          );
        },
      ),
      { numRuns: 30 },
    );
  });

  test('with nothing in front of the number of names', () => {
    const symbols = Array.from({ length: 300 }, (_, i) => ({ name: `Tf${i}`, offset: i }));
    const table = writeTable(symbols, { addressesFirst: false, base: BASE, before: 0 });
    assert.equal(readKallsyms(table)?.length, 300);
  });

  test('an image without one has none', () => {
    assert.equal(readKallsyms(new Uint8Array(0)), undefined);
    assert.equal(readKallsyms(new Uint8Array(100_000)), undefined);
    // Its parts alone, cut off in front of the addresses.
    const symbols = Array.from({ length: 300 }, (_, i) => ({ name: `Tf${i}`, offset: i }));
    const table = writeTable(symbols, { addressesFirst: false, base: BASE, before: 64 });
    assert.equal(readKallsyms(table)?.length, 300);
    assert.equal(readKallsyms(table.subarray(0, table.length - 64 - 8 - 300 * 4)), undefined);
  });

  test("Debian's kernel has the symbols at the addresses that it tells its processes", async () => {
    const files = await linuxFiles({ script: "awk 'NF == 3 && NR % 151 == 1' /proc/kallsyms\n" });
    await using host = await Host.create({ machineMemory: '384M', swapSize: 0 });
    const guest = await host.start({ memory: '192M', append: 'console=ttyS0 quiet panic=-1', ...files });
    let output = '';
    guest.console.onOutput((bytes) => (output += new TextDecoder('latin1').decode(bytes)));
    const exit = await guest.wait();
    assert.equal(exit.reason, 'poweroff', output);
    assert.match(output, new RegExp(`${EXIT_MARK}0`));
    const told = output.match(/^[0-9a-f]{16} \S \S+/gm) ?? [];
    assert.ok(told.length > 500, `only ${told.length} symbols`);
    const table = readKallsyms(readFileSync(files.kernel)) ?? [];
    const lines = new Set(table.map(({ address, type, name }) => `${address.toString(16)} ${type} ${name}`));
    assert.deepEqual(
      told.filter((line) => !lines.has(line)),
      [],
    );
  });
});
