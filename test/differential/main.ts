/**
 * `npm run test:differential -- --programs N --seed S`: random programs here and on qemu-system-riscv64, final
 * registers, CSRs, traps and memory compared.
 */
import { parseArgs } from 'node:util';
import { generateProgram } from './generate/index.ts';
import { compareMachines, type Mismatch, type Outcome, type TestMachine } from './harness.ts';
import { listProgram } from './listing.ts';
import { minimize } from './minimize.ts';
import { CATEGORIES, type Category, type Program } from './program.ts';
import { BALLONET } from './run-ballonet.ts';
import { QEMU } from './run-qemu.ts';
import { formatWord } from './signature.ts';

const USAGE = `Usage: npm run test:differential -- [options]
  --programs N   programs to run (2000)
  --seed S       seed of the programs (1)
  --only K       only program K, with its listing and every difference
  --category C   only programs of this category (${CATEGORIES.join(', ')})
  --minimize     with --only: make the program smaller as long as the machines disagree
  --json         one JSON object instead of a table`;

/** Mismatches that are told about; the first one with its listing. */
const SHOWN = 40;

interface Options {
  programs: number;
  seed: number;
  only: number | undefined;
  category: Category | undefined;
  minimize: boolean;
  json: boolean;
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`--${name} ${text}: a whole number is wanted, such as 2000`);
  return Number(text);
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      programs: { type: 'string', default: '2000' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      category: { type: 'string' },
      minimize: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const category = CATEGORIES.find((name) => name === values.category);
  if (values.category !== undefined && category === undefined) {
    throw new Error(`--category ${values.category}: one of ${CATEGORIES.join(', ')} is wanted`);
  }
  return {
    programs: wholeNumber('programs', values.programs),
    seed: wholeNumber('seed', values.seed),
    only: values.only === undefined ? undefined : wholeNumber('only', values.only),
    category,
    minimize: values.minimize,
    json: values.json,
  };
}

function choosePrograms(options: Options): Program[] {
  const { only, seed, category } = options;
  if (only !== undefined) return [generateProgram(seed, only)];
  const programs = Array.from({ length: options.programs }, (_, number) => generateProgram(seed, number));
  return category === undefined ? programs : programs.filter((program) => program.category === category);
}

function describe(mismatch: Mismatch, seed: number, all: boolean): string {
  const lines = [`program ${mismatch.number} of seed ${seed} (${mismatch.category}):`];
  if (mismatch.missing !== undefined) lines.push(`  ${mismatch.missing}`);
  const shown = all ? mismatch.differences : mismatch.differences.slice(0, 3);
  for (const { name, expected, actual } of shown) {
    lines.push(`  ${name}: ${QEMU.name} ${formatWord(expected)}, ${BALLONET.name} ${formatWord(actual)}`);
  }
  if (shown.length < mismatch.differences.length) {
    lines.push(`  and ${mismatch.differences.length - shown.length} more; --only ${mismatch.number} shows all`);
  }
  return lines.join('\n');
}

function printTable(outcome: Outcome, seconds: number): void {
  console.log('category        programs   agreed');
  for (const [category, { total, agreed }] of outcome.categories) {
    console.log(`${category.padEnd(14)} ${String(total).padStart(9)} ${String(agreed).padStart(8)}`);
  }
  console.log(`${'all'.padEnd(14)} ${String(outcome.total).padStart(9)} ${String(outcome.agreed).padStart(8)}`);
  console.log(`${outcome.agreed} of ${outcome.total} programs agree with ${QEMU.name}, ${seconds.toFixed(1)} s`);
}

function printJson(outcome: Outcome, options: Options, seconds: number): void {
  const mismatches = outcome.mismatches.map(({ number, category, missing, differences }) => ({
    number,
    category,
    missing,
    differences: differences.map(({ name, expected, actual }) => ({
      name,
      expected: formatWord(expected),
      actual: formatWord(actual),
    })),
  }));
  const { total, agreed } = outcome;
  const categories = Object.fromEntries(outcome.categories);
  console.log(JSON.stringify({ seed: options.seed, programs: total, agreed, seconds, categories, mismatches }));
}

async function run(options: Options): Promise<number> {
  const machines: [TestMachine, TestMachine] = [QEMU, BALLONET];
  const start = performance.now();
  let programs = choosePrograms(options);
  let outcome = await compareMachines(...machines, programs, { verbose: options.only !== undefined });
  if (options.minimize && options.only !== undefined && outcome.mismatches.length > 0) {
    programs = [await minimize(...machines, programs[0]!)];
    outcome = await compareMachines(...machines, programs, { verbose: true });
  }
  const seconds = (performance.now() - start) / 1000;
  if (options.json) {
    printJson(outcome, options, seconds);
  } else {
    const byNumber = new Map(programs.map((program) => [program.number, program]));
    for (const [index, mismatch] of outcome.mismatches.slice(0, SHOWN).entries()) {
      console.log(describe(mismatch, options.seed, options.only !== undefined));
      if (index === 0) console.log(listProgram(byNumber.get(mismatch.number)!, mismatch).join('\n'));
    }
    if (outcome.mismatches.length > SHOWN) console.log(`... and ${outcome.mismatches.length - SHOWN} more programs`);
    printTable(outcome, seconds);
  }
  return outcome.agreed === outcome.total ? 0 : 1;
}

try {
  const options = readOptions();
  if (options === undefined) console.log(USAGE);
  else process.exitCode = await run(options);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  console.error(USAGE);
  process.exitCode = 2;
}
