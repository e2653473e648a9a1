/**
 * `npm run test:soak -- --minutes 60`: one guest does mixed work, and module count, heap and resident memory have to stay
 * level.
 */
import { parseArgs } from 'node:util';
import { soak } from './soak.ts';
import type { Growth, Sample } from './verdict.ts';

const USAGE = `Usage: npm run test:soak -- [options]
  --minutes N   how long it takes (60)
  --sample S    seconds between two samples (a 240th of the time, 5 at least)
  --json        one JSON object instead of tables`;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} ${text}: a number greater than 0 is wanted, such as 60`);
  return value;
}

function printSample({ ms, values }: Sample, round: number): void {
  const figures = Object.entries(values).map(([name, value]) => `${name} ${value.toFixed(0)}`);
  console.log(`${(ms / 60_000).toFixed(1).padStart(6)} min  round ${round}  ${figures.join('  ')}`);
}

function printGrowths(growths: readonly Growth[]): void {
  console.log(`${'value'.padEnd(16)} of which  third quarter  last quarter  fitted rise  allowed`);
  for (const { name, by, before, after, fitted, allowed, grows } of growths) {
    const numbers = [before.toFixed(0).padStart(13), after.toFixed(0).padStart(13), fitted.toFixed(1).padStart(12)];
    console.log(
      `${name.padEnd(16)} ${by.padEnd(8)} ${numbers.join(' ')} ${allowed.toFixed(0).padStart(8)}${grows ? '  GROWS' : ''}`,
    );
  }
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    sample: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
try {
  if (values.help) console.log(USAGE);
  else {
    const ms = positive('minutes', values.minutes) * 60_000;
    const sampleMs = values.sample === undefined ? Math.max(5000, ms / 240) : positive('sample', values.sample) * 1000;
    const result = await soak({ ms, sampleMs, ...(values.json ? {} : { onSample: printSample }) });
    if (values.json) console.log(JSON.stringify(result));
    else {
      printGrowths(result.growths);
      const share = (100 * result.translated).toFixed(1);
      console.log(
        `${result.rounds} rounds, ${(result.instructions / 1e9).toFixed(1)} G instructions, ${share}% translated`,
      );
    }
    if (result.growths.some(({ grows }) => grows)) process.exitCode = 1;
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
