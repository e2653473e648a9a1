/** Every instruction of the table, with boundary values in all operands, here and on QEMU. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { COMPRESSED } from '../../src/isa/compressed.ts';
import { INSTRUCTIONS } from '../../src/isa/decode.ts';
import { type Mismatch, runBatch } from './harness.ts';
import { instructionCase } from './instructions/cases.ts';
import { compressedCase } from './instructions/compressed-cases.ts';
import type { Program } from './program.ts';
import { ballonet, translatedShare } from './run-ballonet.ts';
import { QEMU } from './run-qemu.ts';
import { compareSignatures, formatWord, type Signature } from './signature.ts';

/** Traps that a case takes on its way, besides the one that ends it. */
const TRAPS: Record<string, number> = { ecall: 1, ebreak: 1, 'c.ebreak': 1 };

const NAMES = [...INSTRUCTIONS.map(({ name }) => name), ...COMPRESSED.map(({ name }) => name)];

function caseOf(name: string, number: number): Program {
  const instruction = INSTRUCTIONS.find((candidate) => candidate.name === name);
  return instruction === undefined ? compressedCase(name, number) : instructionCase(instruction, number);
}

/** The loops over values make both tiers execute every instruction with all of them. */
const MACHINES = [ballonet('interpreter'), ballonet('translator')];

const signatures: Record<string, Map<number, Signature>> = {};

before(async () => {
  const programs = NAMES.flatMap((name, number) => {
    try {
      return [caseOf(name, number)];
    } catch {
      // The instruction's own test makes the case again and tells what is wrong.
      return [];
    }
  });
  for (const machine of [QEMU, ...MACHINES]) signatures[machine.name] = await runBatch(machine, programs);
});

for (const [number, name] of NAMES.entries()) {
  test(`${name} does what it does on QEMU`, () => {
    caseOf(name, number);
    const expected = signatures[QEMU.name]?.get(number);
    assert.ok(expected, `${QEMU.name} did not come to the end of the case`);
    for (const machine of MACHINES) {
      const actual = signatures[machine.name]?.get(number);
      assert.ok(actual, `${machine.name} did not come to the end of the case`);
      const differences: Mismatch['differences'] = compareSignatures(expected, actual);
      const told = differences.map((d) => `${d.name}: ${formatWord(d.expected)} on QEMU, ${formatWord(d.actual)} here`);
      assert.deepEqual(told, [], machine.name);
      const traps = Number(new Map(actual.words).get('traps'));
      assert.equal(traps, 1 + (TRAPS[name] ?? 0), 'an instruction of the case trapped');
    }
  });
}

test('most of the instructions of the cases are translated', () => {
  const programs = NAMES.map((_, number) => ({ number }));
  const share = translatedShare(MACHINES[1]!, programs);
  assert.ok(share > 0.9, `only ${share.toFixed(2)}`);
});
