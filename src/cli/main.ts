/** The command `ballonet`. */
import { prepareGuestThread } from '../host/guest-thread.ts';

// The guest's thread loads its modules while this one loads the rest of the program.
if (process.argv[2] === 'run') prepareGuestThread();
const { main } = await import('./program.ts');
process.exitCode = await main();
