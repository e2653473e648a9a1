// Builds what the npm package ships: dist/, the JavaScript and type declarations of src/. npm runs it before it packs.

import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.ts';

const root = dirname(import.meta.dirname);
await bundle();
const compiler = fileURLToPath(import.meta.resolve('typescript/package.json')).replace(/package\.json$/, 'bin/tsc');
const { status } = spawnSync(process.execPath, [compiler, '--project', 'tsconfig.build.json'], {
  cwd: root,
  stdio: ['ignore', 2, 2],
});
process.exitCode = status ?? 1;
