import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OptionError } from '../../src/host/errors.ts';
import { formatSize, parseSize } from '../../src/host/size.ts';

test('sizes with and without units', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4096],
    ['256M', 256 * 2 ** 20],
    ['256 MiB', 256 * 2 ** 20],
    ['1g', 2 ** 30],
    ['1.5G', 1.5 * 2 ** 30],
    ['12kb', 12288],
    [8192, 8192],
  ] as const) {
    assert.equal(parseSize(text, 'memory'), bytes);
  }
});

test('what is no size is refused by name', () => {
  for (const text of ['', 'M', '-1', '-1M', '1T', 'lots', '1e9', '0.3', '1 2', Number.NaN, -4096, 0.5, 2 ** 60]) {
    assert.throws(
      () => parseSize(text, 'machineMemory'),
      (error) => error instanceof OptionError && error.option === 'machineMemory' && error.message.includes(`${text}`),
    );
  }
});

test('whole KiB are formatted so that they can be read back, to a tenth of the unit', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 22 }), (kib) => {
      const bytes = kib * 1024;
      const again = Number.parseFloat(formatSize(bytes));
      const unit = bytes >= 2 ** 30 ? 2 ** 30 : bytes >= 2 ** 20 ? 2 ** 20 : bytes >= 2 ** 10 ? 2 ** 10 : 1;
      assert.ok(Math.abs(again * unit - bytes) <= unit / 20);
    }),
  );
});
