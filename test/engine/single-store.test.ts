import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateFrame } from '../../src/memory/frames.ts';
import { GUEST_RAM_BASE, PAGE_SIZE } from '../../src/memory/layout.ts';
import { R } from './assembler.ts';
import { BareMachine, DATA } from './bare-machine.ts';

const { a0, a1, a2 } = R;
const FIRST = DATA + 0x5000;

/** A machine whose stores to two pages go to frames that no page table has, one by one. */
function machine(threshold?: number) {
  const frames = new Map<number, number>();
  const stored: { gfn: number; offset: number; bytes: number }[] = [];
  const faults: { gfn: number; write: boolean }[] = [];
  let last = { gfn: -1, offset: -1 };
  let again = true;
  const made: BareMachine = new BareMachine({
    ...(threshold === undefined ? {} : { threshold }),
    environment: {
      store: (gfn, offset) => {
        const frame = frames.get(gfn);
        if (frame === undefined) return 0;
        // Each is asked for twice.
        again = !again;
        if (again) return -1;
        last = { gfn, offset };
        return frame * PAGE_SIZE + offset;
      },
      stored: (bytes) => stored.push({ ...last, bytes }),
      nestedFault: (gfn, write) => {
        faults.push({ gfn, write });
        made.faults.fault(gfn, write);
      },
    },
  });
  const { machineMemory } = made;
  machineMemory.lock();
  const gfn = (FIRST - GUEST_RAM_BASE) / PAGE_SIZE;
  for (const page of [gfn, gfn + 1]) frames.set(page, allocateFrame(machineMemory));
  machineMemory.unlock();
  const bytesOf = (page: number) => machineMemory.page(frames.get(page)!);
  return { made, gfn, stored, faults, bytesOf };
}

test('a store of which each is to be seen is told when it was made, with its bytes', () => {
  const { made, gfn, stored, faults, bytesOf } = machine();
  made.execute((a) => {
    a.li(a0, FIRST).li(a1, 0x1122334455667788n);
    a.i('sd', { rs1: a0, rs2: a1, imm: 8 }).i('sb', { rs1: a0, rs2: a1, imm: 3 }).i('sw', { rs1: a0, rs2: a1, imm: 8 });
  });
  made.expectNoTrap();
  assert.deepEqual(stored, [
    { gfn, offset: 8, bytes: 8 },
    { gfn, offset: 3, bytes: 1 },
    { gfn, offset: 8, bytes: 4 },
  ]);
  assert.ok(!faults.some((fault) => fault.gfn === gfn));
  assert.deepEqual([...bytesOf(gfn).subarray(8, 16)], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
});

test('one across two pages is told byte by byte, and neither page is brought in for it', () => {
  const { made, gfn, stored, faults, bytesOf } = machine();
  made.execute((a) => {
    a.li(a0, FIRST + PAGE_SIZE - 3)
      .li(a1, 0x1122334455667788n)
      .i('sd', { rs1: a0, rs2: a1 });
  });
  made.expectNoTrap();
  assert.deepEqual(
    stored.map(({ gfn, offset, bytes }) => [gfn, offset, bytes]),
    Array.from({ length: 8 }, (_, i) => (i < 3 ? [gfn, PAGE_SIZE - 3 + i, 1] : [gfn + 1, i - 3, 1])),
  );
  assert.ok(!faults.some((fault) => fault.gfn === gfn || fault.gfn === gfn + 1));
  assert.deepEqual([...bytesOf(gfn + 1).subarray(0, 5)], [0x55, 0x44, 0x33, 0x22, 0x11]);
});

test('an atomic access is not a store: the page is brought in', () => {
  const { made, gfn, stored, faults } = machine();
  made.execute((a) => {
    a.li(a0, FIRST).li(a1, 5).i('amoadd.d', { rd: a2, rs1: a0, rs2: a1 });
  });
  made.expectNoTrap();
  assert.deepEqual(stored, []);
  assert.deepEqual(
    faults.filter((fault) => fault.gfn === gfn),
    [{ gfn, write: true }],
  );
});

test('translated code leaves such stores to the interpreter', () => {
  const { made, gfn, stored, bytesOf } = machine(20);
  made.execute((a) => {
    a.li(a0, FIRST).li(a1, FIRST + PAGE_SIZE);
    a.i('sd', { rs1: a0, rs2: a0 }).i('addi', { rd: a0, rs1: a0, imm: 8 }).i('bltu', { rs1: a0, rs2: a1, imm: -8 });
  });
  made.expectNoTrap();
  assert.ok(made.hart.field('interpretExits') >= 400n);
  assert.deepEqual(
    stored,
    Array.from({ length: PAGE_SIZE / 8 }, (_, i) => ({ gfn, offset: 8 * i, bytes: 8 })),
  );
  const words = new BigUint64Array(bytesOf(gfn).slice().buffer);
  assert.ok(words.every((word, i) => word === BigInt(FIRST + 8 * i)));
});
