import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GuestReport } from '../../src/cli/demo/guest-report.ts';

const CONSOLE = [
  '[    0.000000] Linux version',
  '@ballonet phase busy 1',
  'half a line of the kernel @ballonet result 1 bytes df6add',
  '@ballonet memory MemTotal=192028 MemFree=75364',
  '@ballonet result 2 bytes 00ff',
  '@ballonet result 2 spoiled',
  '@ballonet phase idle 2',
  '@ballonet done',
  '@ballonet result 3 cut of',
].join('\r\n');

test('lines of results are found however the console is cut into pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(CONSOLE.length), { maxLength: 20 }), (cuts) => {
      const report = new GuestReport();
      const bytes = Buffer.from(CONSOLE);
      let from = 0;
      for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
        report.feed(bytes.subarray(from, to));
        from = to;
      }
      assert.deepEqual(
        [...report.results],
        [
          ['1 bytes', 'df6add'],
          ['2 bytes', '00ff'],
        ],
      );
      assert.deepEqual(report.phase, { name: 'idle', round: 2 });
      assert.equal(report.memory.get('MemFree'), 75364);
      assert.equal(report.done, true);
    }),
  );
});
