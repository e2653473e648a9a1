/** The command `ballonet`: its subcommands and their options. */
import { Command, CommanderError } from 'commander';
import { messageOf } from '../host/errors.ts';
import * as option from './options.ts';

// Each subcommand is loaded when it is asked for: a guest starts the sooner the less there is to load.

const MIB = 2 ** 20;

const program = new Command('ballonet')
  .description('Runs real 64-bit Linux guests, more of them than the machine has memory for')
  .exitOverride();

let status = 0;

program
  .command('demo')
  .description('runs Linux guests on less memory than they are configured for, and checks what they compute')
  .addOption(option.guests(6))
  .addOption(option.memory(256 * MIB))
  .addOption(option.machineMemory(1024 * MIB))
  .addOption(option.rounds(2))
  .addOption(option.lines(3000))
  .addOption(option.swapFile())
  .addOption(option.swapSize())
  .addOption(option.compressed())
  .addOption(option.policy())
  .addOption(option.tax())
  .addOption(option.record())
  .addOption(option.json())
  .action(async (options) => {
    const { demo } = await import('./demo/demo.ts');
    status = await demo(options);
  });

program
  .command('run')
  .description('runs one guest; the terminal is its console (Ctrl-A x ends it, Ctrl-A c asks the monitor)')
  .addOption(option.memory(512 * MIB))
  .addOption(option.name())
  .addOption(option.harts())
  .addOption(option.shares())
  .addOption(option.minimum())
  .addOption(option.maximum())
  .addOption(option.stallLimit())
  .addOption(option.shareDomain())
  .addOption(option.machineMemory())
  .addOption(option.kernel())
  .addOption(option.initrd())
  .addOption(option.append())
  .addOption(option.disk())
  .addOption(option.overlay())
  .addOption(option.firmware())
  .addOption(option.noDevices())
  .addOption(option.swapFile())
  .addOption(option.swapSize())
  .addOption(option.compressed())
  .addOption(option.policy())
  .addOption(option.tax())
  .addOption(option.record())
  .addOption(option.interpret())
  .addOption(option.counters())
  .addOption(option.trace())
  .addOption(option.traceFile())
  .addOption(option.profile())
  .addOption(option.symbols())
  .addOption(option.json())
  .action(async (options) => {
    const { run } = await import('./run.ts');
    status = await run(options);
  });

program
  .command('explain')
  .description('says why a guest of a running host has the memory that it has, or why all have theirs')
  .argument('[guest]', 'name of the guest')
  .addOption(option.host())
  .addOption(option.json())
  .action(async (guest: string | undefined, options) => {
    const { explain } = await import('./explain.ts');
    status = await explain(guest, options);
  });

program
  .command('replay')
  .description('says what another policy would have done with the guests of a host that was recorded')
  .argument('<trace>', 'file that --record has made')
  .addOption(option.policy())
  .addOption(option.tax())
  .addOption(option.machineMemory())
  .addOption(option.json())
  .action(async (trace: string, options) => {
    const { replayTrace } = await import('./replay.ts');
    status = replayTrace(trace, options);
  });

/** Does what the command line asks for. Returns the exit status. */
export async function main(): Promise<number> {
  try {
    await program.parseAsync();
  } catch (error) {
    // Commander has printed what it had to say.
    if (error instanceof CommanderError) return error.exitCode;
    process.stderr.write(`ballonet: ${messageOf(error)}\n`);
    return 2;
  }
  return status;
}
