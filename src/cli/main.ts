/** The command `ballonet`. */
import { prepareGuestThread, warmGuestThread } from '../host/guest-thread.ts';

// The guest's thread loads its modules, and has the engine compiled, while this one loads the rest of the program.
if (process.argv[2] === 'run') {
  prepareGuestThread();
  const { compileEngine } = await import('../machine/compile.ts');
  warmGuestThread(compileEngine());
}
const { main } = await import('./program.ts');
process.exitCode = await main();
