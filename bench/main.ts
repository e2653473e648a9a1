/** `npm run bench -- NAME`: one benchmark for each claim about speed. */
import { Command } from 'commander';
import { bundle } from '../scripts/bundle.ts';
import * as option from '../src/cli/options.ts';
import { boot } from './boot.ts';
import { cpu } from './cpu/cpu.ts';
import { idle } from './idle.ts';
import { interpreter } from './interpreter.ts';
import { memoryCommand } from './memory/memory.ts';
import { type Bench, type BenchOptions, print } from './report.ts';
import { virtualization } from './virtualization.ts';

const program = new Command('bench').description('Measures Ballonet');

function add<Options extends BenchOptions>(name: string, bench: Bench<Options>): void {
  const command = program
    .command(name)
    .description(bench.description)
    .addOption(option.runs(bench.runs ?? 3))
    .addOption(option.json());
  for (const each of bench.options ?? []) command.addOption(each);
  command.action(async (options: Omit<Options, 'progress'> & { json?: boolean }) => {
    // What is measured is the command as it is installed.
    await bundle();
    const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);
    // What commander gives is what the options of the command are made to give.
    print(name, await bench.run({ ...options, progress } as unknown as Options), options.json === true);
  });
}

add('cpu', cpu);
add('interpreter', interpreter);
add('boot', boot);
add('virtualization', virtualization);
add('idle', idle);
program.addCommand(memoryCommand());

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
