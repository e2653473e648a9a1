import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveBlock, renderTable } from '../../src/cli/table.ts';

test('columns are as wide as they have to be, figures at the right', () => {
  const lines = renderTable(
    [{ heading: 'guest' }, { heading: 'size', right: true }],
    [['a', '1'], ['longer', '23456'], ['only a name']],
  );
  assert.deepEqual(lines, ['guest         size', 'a                1', 'longer       23456', 'only a name']);
});

test('a live block is drawn over itself and cut to the terminal', () => {
  let written = '';
  const out = { columns: 10, rows: 3, write: (text: string) => (written += text) } as unknown as NodeJS.WriteStream;
  const block = new LiveBlock(out);
  block.draw(['one', 'a line that is too long', 'three']);
  assert.equal(written, '\r\x1b[Jone\na line th\n');
  written = '';
  block.draw(['one']);
  assert.equal(written, '\x1b[2A\r\x1b[Jone\n');
});
