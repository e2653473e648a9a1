import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MIP } from '../../src/devices/hart-lines.ts';
import { Plic } from '../../src/devices/plic.ts';
import { RecordedHart } from './lines.ts';

const ENABLE = (context: number) => 0x2000 + 0x80 * context;
const THRESHOLD = (context: number) => 0x20_0000 + 0x1000 * context;
const CLAIM = (context: number) => THRESHOLD(context) + 4;

function setUp(harts = 1) {
  const lines = Array.from({ length: harts }, () => new RecordedHart());
  const plic = new Plic(lines);
  return {
    plic,
    hart: lines[0]!,
    harts: lines,
    priority: (irq: number, value: number) => plic.write(4 * irq, 4, value),
    enable: (context: number, ...irqs: number[]) => {
      for (let word = 0; word < 4; word++) {
        const bits = irqs.filter((irq) => irq >>> 5 === word).reduce((sum, irq) => sum | (1 << (irq & 31)), 0);
        plic.write(ENABLE(context) + 4 * word, 4, bits >>> 0);
      }
    },
    claim: (context: number) => plic.read(CLAIM(context), 4),
    complete: (context: number, irq: number) => plic.write(CLAIM(context), 4, irq),
  };
}

test('an enabled source of priority above the threshold reaches its context only', () => {
  const { plic, hart, priority, enable } = setUp();
  plic.line(10).set(true);
  assert.equal(hart.mip, 0, 'neither enabled nor of a priority');
  enable(1, 10);
  assert.equal(hart.mip, 0, 'priority 0 never interrupts');
  priority(10, 1);
  assert.equal(hart.mip, 1 << MIP.SEIP);
  plic.write(THRESHOLD(1), 4, 1);
  assert.equal(hart.mip, 0, 'priority has to be above the threshold');
  plic.write(THRESHOLD(1), 4, 0);
  enable(0, 10);
  assert.equal(hart.mip, (1 << MIP.SEIP) | (1 << MIP.MEIP));
});

test('claim takes the highest priority, the lowest number among equals, and disregards the threshold', () => {
  const { plic, priority, enable, claim } = setUp();
  enable(1, 3, 40, 96, 7);
  for (const [irq, value] of [
    [3, 2],
    [40, 5],
    [96, 5],
    [7, 1],
  ] as const) {
    priority(irq, value);
    plic.line(irq).set(true);
  }
  plic.write(THRESHOLD(1), 4, 7);
  assert.deepEqual([claim(1), claim(1), claim(1), claim(1), claim(1)], [40, 96, 3, 7, 0]);
});

test('level-triggered gateway: no second request before completion, a new one after it while the line is high', () => {
  const { plic, hart, priority, enable, claim, complete } = setUp();
  const line = plic.line(5);
  priority(5, 1);
  enable(1, 5);
  line.set(true);
  assert.equal(claim(1), 5);
  assert.equal(hart.mip, 0);
  line.set(false);
  line.set(true);
  assert.equal(claim(1), 0, 'in service');
  complete(1, 5);
  assert.equal(hart.isPending(MIP.SEIP), true);
  assert.equal(claim(1), 5);
  line.set(false);
  complete(1, 5);
  assert.equal(hart.mip, 0);
});

test('a request stays pending when the line falls before it is claimed', () => {
  const { plic, priority, enable, claim } = setUp();
  priority(33, 1);
  enable(1, 33);
  plic.line(33).set(true);
  plic.line(33).set(false);
  assert.equal(plic.read(0x1004, 4), 2);
  assert.equal(claim(1), 33);
  assert.equal(plic.read(0x1004, 4), 0);
});

test('a completion that the context may not make is ignored', () => {
  const { plic, hart, priority, enable, claim, complete } = setUp();
  priority(5, 1);
  enable(1, 5);
  plic.line(5).set(true);
  claim(1);
  complete(0, 5);
  complete(1, 0);
  complete(1, 97);
  complete(1, 6);
  assert.equal(hart.mip, 0);
  complete(1, 5);
  assert.equal(hart.isPending(MIP.SEIP), true);
});

test('contexts 2h and 2h + 1 belong to hart h; contexts without a hart read as 0', () => {
  const { plic, harts, priority, enable } = setUp(2);
  priority(1, 7);
  enable(2, 1);
  enable(3, 1);
  enable(4, 1);
  plic.line(1).set(true);
  assert.equal(harts[0]!.mip, 0);
  assert.equal(harts[1]!.mip, (1 << MIP.SEIP) | (1 << MIP.MEIP));
  assert.equal(plic.read(ENABLE(4), 4), 0);
  assert.equal(plic.read(CLAIM(4), 4), 0);
});

test('priorities hold 3 bits, source 0 and sources beyond 96 do not exist', () => {
  const { plic } = setUp();
  plic.write(4, 4, 0xff);
  assert.equal(plic.read(4, 4), 7);
  plic.write(0, 4, 7);
  assert.equal(plic.read(0, 4), 0);
  for (let word = 0; word < 4; word++) plic.write(ENABLE(0) + 4 * word, 4, 0xffff_ffff);
  assert.deepEqual(
    [0, 1, 2, 3].map((word) => plic.read(ENABLE(0) + 4 * word, 4)),
    [0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 1],
  );
  assert.throws(() => plic.line(0), /source 0/);
  assert.throws(() => plic.line(97), /source 97/);
});

test('property: the output always equals the definition, and nothing is claimed twice', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('line' as const), irq: fc.integer({ min: 1, max: 96 }), level: fc.boolean() }),
    fc.record({ kind: fc.constant('priority' as const), irq: fc.integer({ min: 1, max: 96 }), value: fc.nat(7) }),
    fc.record({ kind: fc.constant('enable' as const), word: fc.nat(3), value: fc.integer() }),
    fc.record({ kind: fc.constant('threshold' as const), value: fc.nat(7) }),
    fc.record({ kind: fc.constant('claim' as const) }),
    fc.record({ kind: fc.constant('complete' as const), irq: fc.integer({ min: 1, max: 96 }) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const { plic, hart } = setUp();
      const claimed = new Set<number>();
      for (const step of actions) {
        if (step.kind === 'line') plic.line(step.irq).set(step.level);
        else if (step.kind === 'priority') plic.write(4 * step.irq, 4, step.value);
        else if (step.kind === 'enable') plic.write(ENABLE(1) + 4 * step.word, 4, step.value >>> 0);
        else if (step.kind === 'threshold') plic.write(THRESHOLD(1), 4, step.value);
        else if (step.kind === 'claim') {
          const irq = plic.read(CLAIM(1), 4);
          if (irq !== 0) {
            assert.equal(claimed.has(irq), false);
            claimed.add(irq);
          }
        } else {
          const enabled = (plic.read(ENABLE(1) + 4 * (step.irq >>> 5), 4) >>> (step.irq & 31)) & 1;
          plic.write(CLAIM(1), 4, step.irq);
          if (enabled === 1) claimed.delete(step.irq);
        }
        const threshold = plic.read(THRESHOLD(1), 4);
        let expected = false;
        for (let irq = 1; irq <= 96; irq++) {
          const bit = (offset: number) => (plic.read(offset + 4 * (irq >>> 5), 4) >>> (irq & 31)) & 1;
          if (bit(0x1000) && bit(ENABLE(1)) && plic.read(4 * irq, 4) > threshold) expected = true;
          if (bit(0x1000)) assert.equal(claimed.has(irq), false, 'pending while in service');
        }
        assert.equal(hart.isPending(MIP.SEIP), expected);
      }
    }),
    { numRuns: 60 },
  );
});
