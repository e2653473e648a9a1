/** `npm run bench -- NAME`: one benchmark for each claim about speed. */
import { Command } from 'commander';
import * as option from '../src/cli/options.ts';
import { boot } from './boot.ts';
import { interpreter } from './interpreter.ts';
import { type Bench, print } from './report.ts';
import { virtualization } from './virtualization.ts';

const BENCHES: Record<string, Bench> = { interpreter, boot, virtualization };

const program = new Command('bench').description('Measures Ballonet');
for (const [name, bench] of Object.entries(BENCHES)) {
  program
    .command(name)
    .description(bench.description)
    .addOption(option.runs(3))
    .addOption(option.json())
    .action(async (options: { runs: number; json?: boolean }) => {
      const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);
      print(name, await bench.run({ runs: options.runs, progress }), options.json === true);
    });
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
