/** `npm run bench -- memory [NAME]`: the experiments about memory, each in a process of its own, in one table. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Argument, Command, Option } from 'commander';
import * as option from '../../src/cli/options.ts';
import { renderTable } from '../../src/cli/table.ts';
import { Host } from '../../src/host/host.ts';
import { GUEST_SLOTS } from '../../src/memory/layout.ts';
import { LEAST_GUESTS } from './density.ts';
import { type Experiment, type Finding, LIMIT_MS, type Outcome, type Surroundings } from './experiment.ts';
import { experiments } from './registry.ts';

interface MemoryOptions {
  readonly json?: boolean;
  readonly check?: boolean;
  readonly guests: number;
}

/** What is printed of one experiment; `error` in place of an outcome. */
interface Result {
  readonly experiment: string;
  readonly seconds: number;
  /** Times that the memory of a live host was checked, and found right. */
  readonly checks: number;
  readonly outcome?: Outcome;
  readonly error?: string;
}

/** Time that a process has to end after its experiment was to be over, milliseconds. */
const GRACE_MS = 20_000;

const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Runs an experiment in this process.
 * @param check whether the memory of its hosts is checked before they are closed
 * @param guests how many it is to have, where it lets one choose
 */
export async function runExperiment(experiment: Experiment, check: boolean, guests = LEAST_GUESTS): Promise<Result> {
  const start = performance.now();
  const hosts = new Set<Host>();
  let checks = 0;
  const done = async (host: Host): Promise<void> => {
    if (!hosts.delete(host)) return;
    try {
      if (check) {
        await host.check();
        checks++;
      }
    } finally {
      await host.close();
    }
  };
  const surroundings: Surroundings = {
    progress: (line) => progress(`${experiment.name}: ${line}`),
    async host(options) {
      const host = await Host.create(options);
      host.onLog = (message) => progress(`${experiment.name}: host: ${message}`);
      hosts.add(host);
      return host;
    },
    done,
    guests,
  };
  const { limitMs = LIMIT_MS } = experiment;
  const limit = new AbortController();
  const tooLong = sleep(limitMs, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`has not ended after ${limitMs / 1000} s`);
  });
  const result = (rest: { outcome: Outcome } | { error: string }): Result => ({
    experiment: experiment.name,
    seconds: (performance.now() - start) / 1000,
    checks,
    ...rest,
  });
  try {
    const outcome = await Promise.race([experiment.run(surroundings), tooLong]);
    for (const host of [...hosts]) await done(host);
    return result({ outcome });
  } catch (error) {
    await Promise.allSettled([...hosts].map((host) => host.close()));
    return result({ error: messageOf(error) });
  } finally {
    limit.abort();
    tooLong.catch(() => {});
  }
}

/** Runs an experiment in a process of its own, so that none finds what another one has left in memory. */
async function runApart({ name, limitMs = LIMIT_MS }: Experiment, check: boolean, guests: number): Promise<Result> {
  const start = performance.now();
  const args = [
    ...process.execArgv,
    fileURLToPath(new URL('../main.ts', import.meta.url)),
    'memory',
    name,
    '--json',
    '--guests',
    String(guests),
  ];
  const child = spawn(process.execPath, check ? [...args, '--check'] : args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), limitMs + GRACE_MS);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearTimeout(timer);
  try {
    return (JSON.parse(text) as { results: Result[] }).results[0]!;
  } catch {
    const seconds = (performance.now() - start) / 1000;
    return { experiment: name, seconds, checks: 0, error: `its process ended with status ${status} and no result` };
  }
}

const verdict = ({ goal, reached }: Finding): string => (goal === undefined ? '' : reached ? 'reached' : 'missed');

/** The table of all findings, and what is to be said below it. */
function render(results: readonly Result[]): string[] {
  const columns = ['experiment', 'what', 'measured', 'beside', 'goal', ''].map((heading) => ({ heading }));
  const rows = results.flatMap(({ experiment, outcome }) =>
    outcome === undefined
      ? [[experiment, 'failed, see below']]
      : outcome.findings.map((finding, i) => [
          i === 0 ? experiment : '',
          finding.what,
          finding.measured,
          finding.beside ?? '',
          finding.goal ?? '',
          verdict(finding),
        ]),
  );
  const lines = renderTable(columns, rows);
  for (const { experiment, seconds, checks, outcome, error } of results) {
    const { shows, published } = experiments.find(({ name }) => name === experiment)!;
    lines.push('', `${experiment}: ${shows} (${seconds.toFixed(0)} s)`);
    for (const { figure, source } of published) lines.push(`  published: ${figure} (${source})`);
    if (error !== undefined) lines.push(`  failed: ${error}`);
    for (const note of outcome?.notes ?? []) lines.push(`  ${note}`);
    if (checks > 0) lines.push(`  memory of ${checks === 1 ? 'the live host' : `${checks} live hosts`} checked: right`);
  }
  return lines;
}

/** The command. */
export function memoryCommand(): Command {
  return new Command('memory')
    .description('memory management: sharing, balloon, swap, policy, beside published figures')
    .addArgument(
      new Argument('[name]', 'one experiment; all of them without').choices(experiments.map(({ name }) => name)),
    )
    .addOption(option.json())
    .addOption(new Option('--check', 'checks every frame, entry and slot of the hosts after each experiment'))
    .addOption(option.guests(LEAST_GUESTS, GUEST_SLOTS, 'guests that density is to start'))
    .action(async (name: string | undefined, { json = false, check = false, guests }: MemoryOptions) => {
      const results: Result[] = [];
      for (const experiment of experiments) {
        if (name === undefined) results.push(await runApart(experiment, check, guests));
        else if (name === experiment.name) results.push(await runExperiment(experiment, check, guests));
      }
      if (json) process.stdout.write(`${JSON.stringify({ bench: 'memory', results })}\n`);
      else process.stdout.write(`${render(results).join('\n')}\n`);
      if (results.some(({ error }) => error !== undefined)) process.exitCode = 1;
    });
}
