import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkMemory } from '../../src/memory/check.ts';
import { setFrameFlag } from '../../src/memory/frames.ts';
import { Guest } from '../../src/memory/guest.ts';
import { PlainContents, zeroPage } from '../../src/memory/hash.ts';
import { vectorContents } from '../../src/memory/hash-simd.ts';
import { HintTable } from '../../src/memory/hints.ts';
import { FRAME_CODE, LOCK_OWNER_MANAGER, PAGE_WORDS } from '../../src/memory/layout.ts';
import { COUNT_MERGED } from '../../src/memory/layout-guest.ts';
import { MachineMemory } from '../../src/memory/machine-memory.ts';
import { Sharing } from '../../src/memory/sharing.ts';
import { type FlushPart, SHOOTDOWN_DATA } from '../../src/memory/shootdown.ts';
import { Transit } from '../../src/memory/transit.ts';
import { TestGuest, TestStore } from './model.ts';
import { pageOf, smallMemory } from './small.ts';

/** Two guests with one identical page each, and the sharing that is to find it. */
function pair(harts: number) {
  const host = smallMemory(8, 64);
  const guests = ['a', 'b'].map((name) => new TestGuest(host, name, 1, harts, new TestStore()));
  for (const guest of guests) {
    guest.dmaWrite(0, 0, pageOf(7));
  }
  const memory = MachineMemory.attach(host.buffer, LOCK_OWNER_MANAGER);
  const transit = new Transit(memory, (error) => assert.fail(error), 100);
  const sharing = new Sharing(memory, transit, Math.random, () => 0);
  const handles = guests.map(({ slot }) => Guest.attach(memory, slot));
  return { host, memory, guests, transit, sharing, scan: () => sharing.scan(handles, 50, 1), handles };
}

for (const harts of [1, 2]) {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    test(`what is written right after a merge is seen by every alias (${harts} harts, guest ${order[0]} first)`, () => {
      const { host, memory, guests, transit, scan, handles } = pair(harts);
      let shots = 0;
      let written = false;
      const shoot = transit.shoot.bind(transit);
      transit.shoot = (part) => {
        shoot(part);
        // After the shootdown, before the merge: every hart maps the page for reading once more.
        if (++shots === 1) {
          for (const guest of guests) {
            for (let hart = 0; hart < harts; hart++) {
              guest.read(hart, 0, 1);
            }
          }
        }
      };
      const unlock = memory.unlock.bind(memory);
      memory.unlock = () => {
        unlock();
        // After the merge, before the frame that is left over is freed.
        if (!written && handles.every((handle) => handle.get(COUNT_MERGED) > 0)) {
          written = true;
          for (const number of order) {
            const guest = guests[number]!;
            guest.write(0, 0, 100 + number, 9, 0);
            for (let hart = 0; hart < harts; hart++) {
              guest.read(hart, 0, 1);
            }
          }
        }
      };
      while (!written) {
        scan();
      }
      for (const guest of guests) {
        guest.verify();
      }
      checkMemory(host);
    });
  }
}

test('a page that is written while it is looked at is not merged', () => {
  const { host, guests, transit, scan } = pair(1);
  const shoot = transit.shoot.bind(transit);
  transit.shoot = (part) => {
    shoot(part);
    guests[0]!.write(0, 0, 5, 1);
  };
  for (let i = 0; i < 10; i++) {
    scan();
  }
  assert.equal(host.freeFrames, 6);
  for (const guest of guests) {
    guest.verify();
  }
  checkMemory(host);
});

for (const [when, shots] of [
  ['never', [SHOOTDOWN_DATA, SHOOTDOWN_DATA]],
  ['before', [SHOOTDOWN_DATA, undefined]],
  ['meanwhile', [SHOOTDOWN_DATA, SHOOTDOWN_DATA, undefined]],
] as const) {
  test(`harts forget code for the sake of what is left over from a merge only: code in it ${when}`, () => {
    const { host, memory, guests, sharing, transit, scan } = pair(1);
    const parts: (FlushPart | undefined)[] = [];
    const shoot = transit.shoot.bind(transit);
    transit.shoot = (part) => {
      parts.push(part);
      const { held } = sharing.merger;
      if (when === 'meanwhile') for (const mfn of held) setFrameFlag(memory, mfn, FRAME_CODE);
      // A frame is not free before the last shootdown.
      assert.equal(host.freeFrames, 6);
      shoot(part);
    };
    if (when === 'before') for (const guest of guests) guest.execute(0, 0);
    for (let i = 0; i < 10 && host.freeFrames === 6; i++) scan();
    assert.equal(host.freeFrames, 7);
    assert.deepEqual(parts, shots);
    assert.deepEqual(sharing.merger.held, []);
    for (const guest of guests) guest.verify();
    checkMemory(host);
  });
}

test('a hart that does not answer keeps its pages, and is reported', () => {
  const { host, guests, scan } = pair(1);
  const errors: Error[] = [];
  const memory = MachineMemory.attach(host.buffer, LOCK_OWNER_MANAGER);
  const late = new Sharing(memory, new Transit(memory, (error) => errors.push(error), 2), Math.random, () => 0);
  const handles = guests.map(({ slot }) => Guest.attach(memory, slot));
  guests[0]!.harts[0]!.control.unpark();
  for (let i = 0; i < 5; i++) {
    late.scan(handles, 50, 1);
  }
  assert.ok(errors.length > 0);
  assert.match(errors[0]!.message, /hart 0 of guest a/);
  assert.equal(host.freeFrames, 6);
  guests[0]!.harts[0]!.control.park();
  for (let i = 0; i < 10 && host.freeFrames === 6; i++) {
    scan();
  }
  assert.equal(host.freeFrames, 7);
  checkMemory(host);
});

const wasmMemory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
const words = new Int32Array(wasmMemory.buffer);
for (const [how, contents] of [
  ['in JavaScript', new PlainContents(words)],
  ['with vectors', vectorContents(wasmMemory)],
] as const) {
  test(`the hash sees every bit and its place, and the salt, and knows a page of zeros: ${how}`, () => {
    words.fill(0);
    const hash = (mfn: number, salt = 0): string => {
      contents.hash(mfn, salt);
      return `${contents.low},${contents.high}`;
    };
    const zeros = hash(1);
    assert.ok(contents.zero && zeroPage(words, PAGE_WORDS));
    assert.notEqual(hash(1, 1), zeros);
    // Half of the bits change with one of the page, in either word.
    const changed = [0, 0];
    const seen = new Set([zeros]);
    for (let bit = 0; bit < PAGE_WORDS * 32; bit += 7) {
      words[2 * PAGE_WORDS + (bit >> 5)] = 1 << (bit & 31);
      assert.ok(!contents.same(1, 2) && !contents.same(2, 1) && !zeroPage(words, 2 * PAGE_WORDS), `bit ${bit}`);
      const one = hash(2);
      assert.ok(!contents.zero && !seen.has(one), `bit ${bit}`);
      seen.add(one);
      for (const [i, word] of [contents.low, contents.high].entries()) {
        changed[i]! += bits(word ^ Number(zeros.split(',')[i]));
      }
      words[2 * PAGE_WORDS + (bit >> 5)] = 0;
    }
    for (const all of changed) assert.ok(Math.abs(all / (seen.size - 1) - 16) < 0.5, `${all / (seen.size - 1)} bits`);
    assert.ok(contents.same(1, 2));
    // Words that change places, too.
    for (let i = 0; i < PAGE_WORDS; i++) words[PAGE_WORDS + i] = i;
    const straight = hash(1);
    for (const distance of [1, 2, 4, 16, 256]) {
      const other = PAGE_WORDS + 300;
      [words[other], words[other + distance]] = [words[other + distance]!, words[other]!];
      assert.notEqual(hash(1), straight, `${distance} words`);
      [words[other], words[other + distance]] = [words[other + distance]!, words[other]!];
    }
    assert.equal(hash(1), straight);
  });
}

const bits = (word: number): number => {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
};

test('hints are found by both halves of the hash, and the newest ones stay', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ low: fc.integer(), high: fc.integer(), slot: fc.nat(511), gfn: fc.nat(0xfffff) }), {
        maxLength: 40,
      }),
      (hints) => {
        const table = new HintTable(4096);
        for (const { low, high, slot, gfn } of hints) {
          table.putPage(low, high, slot, gfn);
          const entry = table.find(low, high);
          assert.deepEqual([table.isFrame(entry), table.slot(entry), table.number(entry)], [false, slot, gfn]);
        }
        for (const { low, high } of hints.slice(-4)) {
          assert.ok(table.find(low, high) >= 0);
        }
      },
    ),
  );
  const table = new HintTable(64);
  table.putFrame(3, 4, 0xabcde, 77, 511);
  const entry = table.find(3, 4);
  assert.deepEqual([table.isFrame(entry), table.number(entry), table.generation(entry)], [true, 0xabcde, 77]);
  assert.equal(table.domain(entry), 511);
  assert.equal(table.find(3, 5), -1);
});
