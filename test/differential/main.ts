/**
 * `npm run test:differential -- --programs N --seed S`: random programs here and on qemu-system-riscv64, final
 * registers, CSRs, traps and memory compared.
 */
import { parseArgs } from 'node:util';
import { TIERS, type Tier } from '../engine/tiers.ts';
import { generateProgram } from './generate/index.ts';
import { compareMachines, compareSignatureSets, type Mismatch, type Outcome, runBatch } from './harness.ts';
import { listProgram } from './listing.ts';
import { minimize } from './minimize.ts';
import { CATEGORIES, type Category, type Program } from './program.ts';
import { type BallonetMachine, ballonet, LEAST_TRANSLATED, translatedShare } from './run-ballonet.ts';
import { QEMU } from './run-qemu.ts';
import { formatWord } from './signature.ts';

const USAGE = `Usage: npm run test:differential -- [options]
  --programs N   programs to run (2000)
  --seed S       seed of the programs (1)
  --only K       only program K, with its listing and every difference
  --category C   only programs of this category (${CATEGORIES.join(', ')})
  --tier T       how they are executed here: ${TIERS.join(', ')}, or all of these in turn (all)
  --minimize     with --only: make the program smaller as long as the machines disagree
  --json         one JSON object instead of a table`;

/** Mismatches that are told about; the first one with its listing. */
const SHOWN = 40;

/** Programs whose share of translated instructions means something. */
const ENOUGH = 20 * CATEGORIES.length;

interface Options {
  programs: number;
  seed: number;
  only: number | undefined;
  category: Category | undefined;
  tiers: readonly Tier[];
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
      tier: { type: 'string', default: 'all' },
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
  const tiers = values.tier === 'all' ? TIERS : TIERS.filter((name) => name === values.tier);
  if (tiers.length === 0) throw new Error(`--tier ${values.tier}: one of ${TIERS.join(', ')}, all is wanted`);
  return {
    programs: wholeNumber('programs', values.programs),
    seed: wholeNumber('seed', values.seed),
    only: values.only === undefined ? undefined : wholeNumber('only', values.only),
    category,
    tiers,
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

/** What a tier has come to. */
interface TierResult {
  machine: BallonetMachine;
  outcome: Outcome;
}

function describe(mismatch: Mismatch, machine: BallonetMachine, options: Options): string {
  const all = options.only !== undefined;
  const lines = [`program ${mismatch.number} of seed ${options.seed} (${mismatch.category}):`];
  if (mismatch.missing !== undefined) lines.push(`  ${mismatch.missing}`);
  const shown = all ? mismatch.differences : mismatch.differences.slice(0, 3);
  for (const { name, expected, actual } of shown) {
    lines.push(`  ${name}: ${QEMU.name} ${formatWord(expected)}, ${machine.name} ${formatWord(actual)}`);
  }
  if (shown.length < mismatch.differences.length) {
    const how = `--only ${mismatch.number} --tier ${machine.tier}`;
    lines.push(`  and ${mismatch.differences.length - shown.length} more; ${how} shows all`);
  }
  return lines.join('\n');
}

function printTable({ machine, outcome }: TierResult, programs: readonly Program[]): void {
  const line = (
    name: string,
    { total, agreed }: { total: number; agreed: number },
    which: readonly Program[],
  ): string => {
    const share = `${(100 * translatedShare(machine, which)).toFixed(1)}%`;
    return `${name.padEnd(14)} ${String(total).padStart(9)} ${String(agreed).padStart(8)} ${share.padStart(11)}`;
  };
  console.log(`${'category'.padEnd(14)}  programs   agreed  translated`);
  for (const [category, counts] of outcome.categories) {
    console.log(
      line(
        category,
        counts,
        programs.filter((program) => program.category === category),
      ),
    );
  }
  console.log(line('all', outcome, programs));
}

function report(result: TierResult, programs: readonly Program[], options: Options): void {
  const { machine, outcome } = result;
  const byNumber = new Map(programs.map((program) => [program.number, program]));
  for (const [index, mismatch] of outcome.mismatches.slice(0, SHOWN).entries()) {
    console.log(describe(mismatch, machine, options));
    if (index === 0) console.log(listProgram(byNumber.get(mismatch.number)!, mismatch).join('\n'));
  }
  if (outcome.mismatches.length > SHOWN) console.log(`... and ${outcome.mismatches.length - SHOWN} more programs`);
  printTable(result, programs);
  console.log(`${outcome.agreed} of ${outcome.total} programs agree with ${QEMU.name}, tier ${machine.tier}`);
}

function toJson({ machine, outcome }: TierResult, programs: readonly Program[]): object {
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
  const translated = translatedShare(machine, programs);
  return { tier: machine.tier, programs: total, agreed, translated, categories, mismatches };
}

/** QEMU is asked for each program once, and each tier compared with what it said. */
async function run(options: Options): Promise<number> {
  const start = performance.now();
  const programs = choosePrograms(options);
  const verbose = { verbose: options.only !== undefined };
  const expected = await runBatch(QEMU, programs, verbose);
  const results: [TierResult, readonly Program[]][] = [];
  for (const tier of options.tiers) {
    const machine = ballonet(tier, options.seed);
    const outcome = compareSignatureSets(
      [QEMU, expected],
      [machine, await runBatch(machine, programs, verbose)],
      programs,
    );
    if (options.minimize && options.only !== undefined && outcome.mismatches.length > 0) {
      const small = [await minimize(QEMU, machine, programs[0]!)];
      results.push([{ machine, outcome: await compareMachines(QEMU, machine, small, verbose) }, small]);
    } else {
      results.push([{ machine, outcome }, programs]);
    }
  }
  const seconds = (performance.now() - start) / 1000;
  if (options.json) {
    const tiers = results.map(([result, its]) => toJson(result, its));
    console.log(JSON.stringify({ seed: options.seed, seconds, tiers }));
  } else {
    for (const [result, its] of results) report(result, its, options);
    console.log(`${seconds.toFixed(1)} s`);
  }
  const isWhole = options.only === undefined && options.category === undefined && programs.length >= ENOUGH;
  for (const [{ machine }] of isWhole ? results : []) {
    const share = translatedShare(machine, programs);
    const least = LEAST_TRANSLATED[machine.tier];
    if (share >= least) continue;
    console.error(
      `tier ${machine.tier}: ${share.toFixed(2)} of all instructions were translated, ${least} at least are wanted`,
    );
    return 1;
  }
  return results.every(([{ outcome }]) => outcome.agreed === outcome.total) ? 0 : 1;
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
