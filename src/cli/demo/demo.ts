/** `ballonet demo`: real guests on less memory than they are configured for, and a check of all that they compute. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Guest, Host } from '../../index.ts';
import { openControl } from '../control.ts';
import { debianFiles } from '../images.ts';
import { type PolicyOptions, policyOptions } from '../policy-options.ts';
import { accountLines, type GuestOutcome, makeAccount, Peaks } from './account.ts';
import { expectedResults } from './expected.ts';
import { GuestReport } from './guest-report.ts';
import { GUEST_SCRIPT } from './guest-script.ts';
import { type LiveGuest, LiveView, liveLines } from './live.ts';
import { diskProblems, type PlannedGuest, planGuests } from './plan.ts';

/** Options of the command, as commander gives them. */
export interface DemoOptions extends PolicyOptions {
  readonly record?: string;
  readonly guests: number;
  /** Configured memory of each guest, bytes. */
  readonly memory: number;
  readonly machineMemory: number;
  readonly rounds: number;
  readonly lines: number;
  readonly swapFile?: string;
  readonly swapSize?: number;
  readonly compressed?: number;
  readonly json?: boolean;
}

/** A guest that runs, with what it reports. */
interface RunningGuest {
  readonly plan: PlannedGuest;
  readonly guest: Guest;
  readonly report: GuestReport;
  readonly start: number;
}

/** Time after which a guest is taken to be stuck, milliseconds. */
const TIME_LIMIT_MS = 20 * 60_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** Time between two looks at the host's figures, milliseconds. */
const OBSERVE_MS = 100;

/** Runs the demonstration and returns the exit status of the command: 0 only when every result is right. */
export async function demo(options: DemoOptions): Promise<number> {
  const files = await debianFiles(GUEST_SCRIPT);
  const folder = mkdtempSync(join(tmpdir(), 'ballonet-demo-'));
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeFolder);
  // The ways to interrupt it lead past the exit handlers unless they are taken.
  const interrupted = (_: NodeJS.Signals, number: number): void => process.exit(128 + number);
  for (const signal of SIGNALS) process.on(signal, interrupted);
  try {
    const plans = planGuests(options, files, folder);
    await using host = await Host.create({
      machineMemory: options.machineMemory,
      ...(options.swapFile === undefined ? {} : { swapFile: options.swapFile }),
      ...(options.swapSize === undefined ? {} : { swapSize: options.swapSize }),
      ...(options.compressed === undefined ? {} : { compressed: options.compressed }),
      ...policyOptions(options),
    });
    const log = (message: string): void => void process.stderr.write(`ballonet: ${message}\n`);
    host.onLog = log;
    using _control = await openControl(host, log);
    const account = await runGuests(host, plans, options);
    process.stdout.write(
      options.json === true ? `${JSON.stringify(account)}\n` : `${accountLines(account).join('\n')}\n`,
    );
    return account.verdict === 'right' ? 0 : 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted);
    process.off('exit', removeFolder);
    removeFolder();
  }
}

async function runGuests(host: Host, plans: readonly PlannedGuest[], options: DemoOptions) {
  const start = Date.now();
  const seconds = (): number => (Date.now() - start) / 1000;
  const peaks = new Peaks();
  const observer = setInterval(() => peaks.observe(host.statistics()), OBSERVE_MS);
  const running: RunningGuest[] = [];
  const live = (): string[] => liveLines(liveGuests(plans, running), host.statistics(), seconds());
  const view = options.json === true ? undefined : new LiveView(process.stdout, live);
  try {
    const outcomes = await Promise.all(
      plans.map(async (plan) => {
        const guest = await host.start(plan.options);
        const report = new GuestReport();
        guest.console.onOutput((bytes) => report.feed(bytes));
        guest.onLog = (message) => process.stderr.write(`ballonet: guest ${plan.name}: ${message}\n`);
        const entry = { plan, guest, report, start: Date.now() };
        running.push(entry);
        return await outcomeOf(entry);
      }),
    );
    const configured = plans.length * options.memory;
    return makeAccount(outcomes, { machineMemory: options.machineMemory, configured }, peaks, seconds());
  } finally {
    clearInterval(observer);
    view?.end();
  }
}

function liveGuests(plans: readonly PlannedGuest[], running: readonly RunningGuest[]): LiveGuest[] {
  return plans.map((plan) => {
    const entry = running.find((each) => each.plan === plan);
    if (entry === undefined) {
      return { name: plan.name, state: 'starting', phase: { name: '', round: 0 }, memory: undefined };
    }
    const { state, memory } = entry.guest.statistics();
    return { name: plan.name, state: memory.blocked ? 'blocked' : state, phase: entry.report.phase, memory };
  });
}

/** Waits for a guest's end and compares what it computed. */
async function outcomeOf({ plan, guest, report, start }: RunningGuest): Promise<GuestOutcome> {
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void guest.kill();
  }, TIME_LIMIT_MS);
  const exit = await guest.wait();
  clearTimeout(timer);
  const expected = expectedResults(plan.work, plan.disk?.contents ?? new Uint8Array());
  const problems: string[] = [];
  let right = 0;
  for (const [name, value] of expected) {
    const got = report.results.get(name);
    if (got === value) right++;
    else problems.push(`result "${name}" is ${got ?? 'missing'}, should be ${value}`);
  }
  if (late) problems.push(`did not end within ${TIME_LIMIT_MS / 60_000} minutes`);
  else if (exit.reason !== 'poweroff')
    problems.push(`ended by ${exit.reason}: ${exit.message ?? `status ${exit.status}`}`);
  if (problems.length > 0) problems.push(`its console ends with ${JSON.stringify(guest.console.tail.slice(-300))}`);
  const { memory, engine } = guest.statistics();
  return {
    name: plan.name,
    kind: plan.work.kind,
    exit,
    right,
    expected: expected.size,
    problems: [...problems, ...(problems.length === 0 ? diskProblems(plan) : [])],
    results: Object.fromEntries(report.results),
    seconds: (Date.now() - start) / 1000,
    instructions: engine.instructions,
    memory,
  };
}
