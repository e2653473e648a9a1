import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkClock } from '../../bench/cpu/run-guest.ts';
import { GuestRunError, RunReader } from '../../bench/cpu/run-reader.ts';

/** A reader that was fed each text a second after the one before, in which 1.5 s of processors were spent. */
function fed(...texts: string[]): RunReader {
  const reader = new RunReader({ wall: 1000, cpu: 0 });
  texts.forEach((text, i) => {
    reader.feed(text, { wall: 2000 + 1000 * i, cpu: 1.5 * (i + 1) });
  });
  return reader;
}

const BOOTED = '[    0.000000] Linux version 6.12\r\ninit has been reached\r\n';

describe('what the guest of the benchmark prints', () => {
  it('gives times and results, however the output is cut', () => {
    const text = `${BOOTED}bench: start sort\r\nbench: line sort 1.250000 0123abcd\r\nbench: start awk\r\nbench: line awk 0.500000 1 two\r\nbench: end\r\n`;
    for (const size of [1, 7, text.length]) {
      const reader = new RunReader({ wall: 0, cpu: 0 });
      for (let at = 0; at < text.length; at += size) reader.feed(text.slice(at, at + size), { wall: 500, cpu: 0.25 });
      assert.equal(reader.stage, 'end');
      assert.deepEqual(reader.boot, { seconds: 0.5, cpuSeconds: 0.25 });
      assert.deepEqual(
        reader.measured.map(({ name, seconds, result }) => [name, seconds, result]),
        [
          ['sort', 1.25, '0123abcd'],
          ['awk', 0.5, '1 two'],
        ],
      );
    }
  });

  it('tells what the guest is at and since when', () => {
    assert.equal(fed('OpenSBI\n').stage, 'boot');
    assert.equal(fed('OpenSBI\n').since.wall, 1000);
    assert.equal(fed(BOOTED).stage, 'preparation');
    const reader = fed(BOOTED, 'bench: start sort\n');
    assert.deepEqual(reader.stage, { line: 'sort' });
    assert.equal(reader.since.wall, 3000);
    const [measured] = fed(BOOTED, 'bench: start sort\n', 'bench: line sort 0.9 x\n').measured;
    assert.deepEqual(measured, { name: 'sort', seconds: 0.9, outsideSeconds: 1, cpuSeconds: 1.5, result: 'x' });
  });

  it('takes a line that the kernel wrote into the middle of', () => {
    const reader = fed(BOOTED, '[ 9.1] random: crng init donebench: start sort\n');
    assert.deepEqual(reader.stage, { line: 'sort' });
  });

  it('keeps the failure of a line and what comes after it', () => {
    const reader = fed(BOOTED, 'bench: start sort\n', 'bench: failed sort 139\nSegmentation fault\n');
    assert.equal(reader.failed, 'line sort failed with exit status 139');
    assert.match(reader.tail, /Segmentation fault\n$/);
  });

  for (const [what, text] of Object.entries({
    'a line that was not started': 'bench: line sort 1.0 x\n',
    'the outcome of another line': 'bench: start sort\nbench: line awk 1.0 x\n',
    'no time': 'bench: start sort\nbench: line sort x\n',
    'no result': 'bench: start sort\nbench: line sort 1.0\n',
    'a start in a line': 'bench: start sort\nbench: start awk\n',
    'an end in a line': 'bench: start sort\nbench: end\n',
  })) {
    it(`refuses ${what}`, () => assert.throws(() => fed(BOOTED, text), GuestRunError));
  }
});

describe("the guest's clock", () => {
  const measured = (seconds: number, outsideSeconds: number) => ({
    name: 'sort',
    seconds,
    outsideSeconds,
    cpuSeconds: seconds,
    result: 'x',
  });
  it('may be behind by what the result takes', () => {
    checkClock(measured(1, 1.8));
    checkClock(measured(10, 10.1));
    checkClock(measured(10, 10));
  });
  it('may not run slow or fast', () => {
    assert.throws(() => checkClock(measured(5, 10)), /sort took 5\.00 s by the guest's clock and 10\.00 s/);
    assert.throws(() => checkClock(measured(12, 10)), GuestRunError);
  });
});
