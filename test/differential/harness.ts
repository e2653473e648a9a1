/** Runs programs on two machines and says where they disagree. */
import { assembleMonitor } from './monitor.ts';
import { buildImage, type Category, type Program, serialize } from './program.ts';
import { compareSignatures, type Difference, parseSignatures, type Signature } from './signature.ts';

/** Something that runs an image and gives what came out of its UART. */
export interface TestMachine {
  readonly name: string;
  /** @param timeout milliseconds after which to give up; what was sent until then is the result */
  run(image: Uint8Array, timeout: number): Promise<Uint8Array>;
}

export interface Mismatch {
  number: number;
  category: Category;
  differences: Difference[];
  /** set where one of the machines gave no signature: hung or stopped in this program */
  missing?: string;
}

export interface Outcome {
  total: number;
  agreed: number;
  categories: Map<Category, { total: number; agreed: number }>;
  mismatches: Mismatch[];
}

/** Milliseconds that a batch may take: a start, and a program a few milliseconds, on a machine that is busy otherwise. */
function timeoutFor(programs: number): number {
  return 15_000 + programs * 60;
}

/**
 * Signatures of all programs by their number. A program in which the machine hangs or stops has none; the machine is
 * started again behind it.
 */
export async function runBatch(
  machine: TestMachine,
  programs: readonly Program[],
  options: { verbose?: boolean; timeout?: number } = {},
): Promise<Map<number, Signature>> {
  const monitor = assembleMonitor();
  const signatures = new Map<number, Signature>();
  let rest = programs;
  while (rest.length > 0) {
    const image = buildImage(monitor, serialize(rest, options.verbose ?? false));
    const output = await machine.run(image, options.timeout ?? timeoutFor(rest.length));
    // A program that runs away may send anything: what counts is what comes in order.
    let complete = 0;
    for (const signature of parseSignatures(output)) {
      if (signature.number !== rest[complete]?.number) break;
      signatures.set(signature.number, signature);
      complete += 1;
    }
    rest = rest.slice(complete + 1);
  }
  return signatures;
}

/** Runs the programs on both machines and compares. */
export async function compareMachines(
  expected: TestMachine,
  actual: TestMachine,
  programs: readonly Program[],
  options: { verbose?: boolean; timeout?: number } = {},
): Promise<Outcome> {
  const theirs = await runBatch(expected, programs, options);
  return compareSignatureSets([expected, theirs], [actual, await runBatch(actual, programs, options)], programs);
}

type Told = readonly [machine: TestMachine, signatures: ReadonlyMap<number, Signature>];

/** Compares what two machines have said of the programs. */
export function compareSignatureSets(
  [expected, theirs]: Told,
  [actual, ours]: Told,
  programs: readonly Program[],
): Outcome {
  const outcome: Outcome = { total: programs.length, agreed: 0, categories: new Map(), mismatches: [] };
  for (const { number, category } of programs) {
    const counts = outcome.categories.get(category) ?? { total: 0, agreed: 0 };
    outcome.categories.set(category, counts);
    counts.total += 1;
    const mismatch = compareOne(number, category, [expected.name, theirs.get(number)], [actual.name, ours.get(number)]);
    if (mismatch === undefined) {
      counts.agreed += 1;
      outcome.agreed += 1;
    } else {
      outcome.mismatches.push(mismatch);
    }
  }
  return outcome;
}

type Named = [machine: string, signature: Signature | undefined];

function compareOne(number: number, category: Category, theirs: Named, ours: Named): Mismatch | undefined {
  if (theirs[1] === undefined || ours[1] === undefined) {
    const missing = [theirs, ours].filter(([, signature]) => signature === undefined).map(([machine]) => machine);
    return { number, category, differences: [], missing: `${missing.join(' and ')} did not come to the end of it` };
  }
  const differences = compareSignatures(theirs[1], ours[1]);
  return differences.length === 0 ? undefined : { number, category, differences };
}
