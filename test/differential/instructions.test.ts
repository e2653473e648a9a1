/** Every instruction of the table, with boundary values in all operands, here and on QEMU. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { COMPRESSED } from '../../src/isa/compressed.ts';
import { INSTRUCTIONS } from '../../src/isa/decode.ts';
import { type Mismatch, runBatch } from './harness.ts';
import { instructionCase } from './instructions/cases.ts';
import { compressedCase } from './instructions/compressed-cases.ts';
import type { Program } from './program.ts';
import { BALLONET } from './run-ballonet.ts';
import { QEMU } from './run-qemu.ts';
import { compareSignatures, formatWord, type Signature } from './signature.ts';

/** Traps that a case takes on its way, besides the one that ends it. */
const TRAPS: Record<string, number> = { ecall: 1, ebreak: 1, 'c.ebreak': 1 };

const NAMES = [...INSTRUCTIONS.map(({ name }) => name), ...COMPRESSED.map(({ name }) => name)];

function caseOf(name: string, number: number): Program {
  const instruction = INSTRUCTIONS.find((candidate) => candidate.name === name);
  return instruction === undefined ? compressedCase(name, number) : instructionCase(instruction, number);
}

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
  for (const machine of [QEMU, BALLONET]) signatures[machine.name] = await runBatch(machine, programs);
});

for (const [number, name] of NAMES.entries()) {
  test(`${name} does what it does on QEMU`, () => {
    caseOf(name, number);
    const expected = signatures[QEMU.name]?.get(number);
    const actual = signatures[BALLONET.name]?.get(number);
    assert.ok(expected, `${QEMU.name} did not come to the end of the case`);
    assert.ok(actual, `${BALLONET.name} did not come to the end of the case`);
    const differences: Mismatch['differences'] = compareSignatures(expected, actual);
    const told = differences.map((d) => `${d.name}: ${formatWord(d.expected)} on QEMU, ${formatWord(d.actual)} here`);
    assert.deepEqual(told, []);
    const traps = Number(new Map(actual.words).get('traps'));
    assert.equal(traps, 1 + (TRAPS[name] ?? 0), 'an instruction of the case trapped');
  });
}
