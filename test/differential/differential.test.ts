/** A short run of the differential test, and that it would see a difference. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { TIERS } from '../engine/tiers.ts';
import { generateProgram } from './generate/index.ts';
import { compareMachines, compareSignatureSets, runBatch, type TestMachine } from './harness.ts';
import { BATCH, RAM_BASE } from './layout.ts';
import { instructionOffsets, isNop, minimize } from './minimize.ts';
import { CATEGORIES } from './program.ts';
import { BALLONET, ballonet, LEAST_TRANSLATED, translatedShare } from './run-ballonet.ts';
import { QEMU } from './run-qemu.ts';
import { formatWord, type Signature } from './signature.ts';

const SEED = 1000;
const PROGRAMS = 20 * CATEGORIES.length;

const programs = Array.from({ length: PROGRAMS }, (_, number) => generateProgram(SEED, number));

/** What QEMU says of the programs. */
let expected: Map<number, Signature>;
before(async () => {
  expected = await runBatch(QEMU, programs);
});

for (const tier of TIERS) {
  test(`${PROGRAMS} random programs of every category end as on QEMU (${tier})`, async () => {
    const machine = ballonet(tier, SEED);
    const actual = await runBatch(machine, programs);
    const { mismatches, agreed } = compareSignatureSets([QEMU, expected], [machine, actual], programs);
    const told = mismatches.map(({ number, category, missing, differences }) => {
      const [first] = differences;
      const what = first && `${first.name}: ${formatWord(first.expected)} on QEMU, ${formatWord(first.actual)} here`;
      return `program ${number} of seed ${SEED} (${category}): ${missing ?? what}`;
    });
    assert.deepEqual(told, []);
    assert.equal(agreed, PROGRAMS);
    const share = translatedShare(machine, programs);
    assert.ok(share >= LEAST_TRANSLATED[tier], `only ${share.toFixed(2)} of the instructions were translated`);
  });
}

/** Ballonet, but for one thing: every SUB of the programs is an ADD. */
const WRONG: TestMachine = {
  name: 'wrong',
  run: (image, timeout) => {
    const wrong = image.slice();
    const view = new DataView(wrong.buffer);
    for (let at = BATCH - RAM_BASE; at < wrong.length - 4; at += 2) {
      if ((view.getUint32(at, true) & 0xfe00_707f) >>> 0 === 0x4000_0033)
        view.setUint8(at + 3, view.getUint8(at + 3) & ~0x40);
    }
    return BALLONET.run(wrong, timeout);
  },
};

const isSub = (code: Uint8Array, at: number): boolean => (code[at]! & 0x7f) === 0x33 && code[at + 3]! >> 1 === 0x20;

test('a machine that is wrong about one instruction is found out, by a program of few instructions', async () => {
  const integers = programs.filter(({ category }) => category === 'integer');
  const { mismatches } = await compareMachines(BALLONET, WRONG, integers);
  const found = mismatches.find(({ differences }) => differences.some(({ name }) => /^x\d+$/.test(name)));
  assert.ok(found);
  const small = await minimize(BALLONET, WRONG, integers.find(({ number }) => number === found.number)!);
  const left = instructionOffsets(small.code).filter((at) => !isNop(small.code, at));
  assert.ok(left.length <= 3, `${left.length} instructions are left`);
  assert.ok(left.some((at) => isSub(small.code, at)));
});

test('a program that never ends is told apart from those around it', async () => {
  const hanging = { ...programs[1]!, code: Uint8Array.of(0x6f, 0, 0, 0), entry: programs[1]!.codeAddress };
  const batch = [programs[0]!, hanging, programs[2]!];
  const signatures = await runBatch(BALLONET, batch, { timeout: 1000 });
  assert.deepEqual([...signatures.keys()], [0, 2]);
});
