// node scripts/with-runtime.mjs SCRIPT [ARGUMENT...]: runs a script of this clone on the Node.js that Ballonet needs,
// after installing what is missing.

import { runWithRuntime } from './runtime.mjs';

const [script, ...args] = process.argv.slice(2);
if (script === undefined) {
  process.stderr.write('with-runtime: the script to run is missing\n');
  process.exitCode = 2;
} else {
  await runWithRuntime(script, args);
}
